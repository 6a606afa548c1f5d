"""Show a demo as it happens, and its table at the end."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from aegis.cli.demo.play import Ending
from aegis.cli.output import console


def table_of(endings: Sequence[Ending]) -> Table:
    table = Table(title="What was broken, and how it ended", show_lines=True)
    for column in ("story", "fault", "detected after", "cause", "action", "who allowed it", "verified after", "result"):
        table.add_column(column, overflow="fold")
    for one in endings:
        mark = "[green]as it must[/green]" if one.ok else f"[red]must be {one.expected}[/red]"
        table.add_row(
            one.story, f"{one.fault}\n{one.target}",
            _seconds(one.detected_after_s), one.cause or "-", one.action or "-",
            one.decision or "-", _seconds(one.verified_after_s), f"{one.result}\n{mark}",
        )  # fmt: skip
    return table


def print_problems(endings: Sequence[Ending]) -> None:
    for one in endings:
        for problem in one.problems:
            console.print(f"[red]{one.story}[/red]: {problem}", highlight=False, markup=True)


def document_of(endings: Sequence[Ending], *, seed: int) -> dict[str, Any]:
    """Return the one JSON document of a demo."""
    audits = {one.story: one.audit for one in endings}
    ok = all(not audit.get("problems", ["none"]) for audit in audits.values())
    stories = [{key: value for key, value in asdict(one).items() if key != "audit"} for one in endings]
    return {"seed": seed, "stories": stories, "audit": {"ok": ok, "stories": audits}}


def _seconds(value: float | None) -> str:
    return f"{value:.0f} s" if value is not None else "-"

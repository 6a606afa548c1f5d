"""Show a demo as it happens, and its table at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from aegis.cli.demo.play import FAILED, QUIET, UNTOUCHED, Ending
from aegis.cli.output import console

_WIDE = 120
"""A table that goes to a file or a pipe is looked at in some window later."""
_MEANS = {
    "kept": "it helped, did no harm next door, and stays",
    "held": "it helped, and stays for as long as it is needed",
    "released": "it helped, and was given back when it was needed no more",
    "undone": "it did not help or did harm, and was taken back",
    "escalated": "a person was called",
    "refused": "a guardrail of the Executor said no",
    "expired": "a guardrail said not now, until the order's time was over",
    "denied": "policy or a person said no",
    "observed": "rehearsed, decided and recorded only",
    UNTOUCHED: "nothing was written to the cluster",
    QUIET: "nothing was ordered",
    FAILED: "the story could not be played to its end",
}
_STORY = (
    "story", "fault", "target", "detected_after_s", "verified_after_s", "cause", "action", "decision", "result",
    "expected", "ok",
)  # fmt: skip


def print_table(endings: Sequence[Ending]) -> None:
    console.print(table_of(endings), width=min(console.width, _WIDE))
    for result in dict.fromkeys(one.result for one in endings):
        if result in _MEANS:
            console.print(f"[bold]{result}[/bold]: {_MEANS[result]}", highlight=False)
    console.print(f"audit: {_told_of(chains_of(endings))}")


def _told_of(chains: Mapping[str, dict[str, Any]]) -> str:
    """Say what held of the audit chains, and no more than that."""
    if not chains:
        return "there is no trail to verify"
    entries, checkpoints, countersigned = (
        sum(chain[each] for chain in chains.values()) for each in ("entries", "checkpoints", "countersigned")
    )
    counted = f"{entries} entries in {len(chains)} chains"
    if broken := [story for story, chain in chains.items() if chain["problems"]]:
        return f"{counted}, and that of {', '.join(broken)} does not hold"
    return (
        f"{counted}, verified with the public keys alone; "
        f"the Executor has countersigned {countersigned} of {checkpoints} checkpoints"
    )


def table_of(endings: Sequence[Ending]) -> Table:
    table = Table(title="What was broken, and how it ended", show_lines=True)
    for column in ("story", "fault", "detected after", "cause", "action", "who allowed it", "verified after", "result"):
        table.add_column(column, overflow="fold")
    for one in endings:
        mark = "[green]as it must[/green]" if one.ok else f"[red]must be {one.expected}[/red]"
        table.add_row(
            one.story, f"{one.fault}\n{one.target or ''}",
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
    chains = chains_of(endings)
    ok = bool(chains) and all(not chain["problems"] for chain in chains.values())
    stories = [{key: getattr(one, key) for key in _STORY} for one in endings]
    return {"seed": seed, "stories": stories, "audit": {"ok": ok, "chains": dict(chains)}}


def chains_of(endings: Sequence[Ending]) -> Mapping[str, dict[str, Any]]:
    """Return what was found of each audit chain, by story: the cases of a story are in one chain."""
    return {one.story.partition("/")[0]: one.audit for one in endings if one.audit}


def _seconds(value: float | None) -> str:
    return f"{value:.0f} s" if value is not None else "-"

"""The command `aegis replay`: recordings of clusters through the same pipeline, and how right it was."""

import reprlib
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from aegis.ai_engine.replay import ReplayReport
from aegis.ai_engine.replay import replay as replay_recording
from aegis.ai_engine.scoring import Label, Score, score
from aegis.cli.files import read_text
from aegis.cli.output import Format, Output, console, errors, print_json, print_rows
from aegis.kit.errors import InvalidError
from aegis.kit.mistakes import mistake_of


def replay(
    path: Annotated[Path, typer.Argument(help="A recording (.jsonl.gz), or a folder with labels.json and runs/.")],
    metrics: Annotated[bool, typer.Option(help="Use the recorded metrics, or objects and events alone.")] = True,
    output: Output = Format.TABLE,
) -> None:
    """Say what Aegis would have found in recordings, when, and what it would have done about it.

    With labels, says how many of the runs that was right for, how many it stayed silent in, and how many it would
    have harmed.
    """
    labels = _labels(path)
    files = _files(path, labels)
    rows, scores = [], []
    for file in files:
        errors.print(f"[dim]{file.name}[/dim]")
        report = replay_recording(file, with_metrics=metrics)
        label = labels.get(file.name)
        scored = score(report, label) if label is not None else None
        if scored is not None:
            scores.append(scored)
        rows.append(_row(file, report, scored))
    counts = Counter(one.verdict for one in scores)
    if output is Format.JSON:
        print_json({"runs": rows, "right": counts["right"], "silent": counts["silent"], "harmful": counts["harmful"]})
        return
    columns = ("run", "verdict", "seen_after_s", "cause", "would_do", "why")
    print_rows(rows, columns=columns if scores else columns[:1] + columns[3:], output=output, empty="no recordings")
    if scores:
        console.print(
            f"{len(scores)} runs: {counts['right']} right, {counts['silent']} silent, {counts['harmful']} harmful"
        )


def _labels(path: Path) -> dict[str, Label]:
    file = path / "labels.json"
    if not file.is_file():
        return {}
    try:
        labels = TypeAdapter(list[Label]).validate_json(read_text(file, "path"))
    except ValidationError as error:
        first = mistake_of(error.errors()[0])
        got = "" if first.value is None else f" (got {reprlib.repr(first.value)})"
        raise InvalidError(
            f"{file}: {first.field} {first.message}{got}", field=first.field or "path", value=first.value,
            hint="docs/guides/real-cluster.md says what a label holds.",
        ) from error  # fmt: skip
    return {Path(label.file).name: label for label in labels}


def _files(path: Path, labels: dict[str, Label]) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.glob("runs/*.jsonl.gz")) or sorted(path.glob("*.jsonl.gz"))
    if not files:
        raise InvalidError(
            f"there is no recording at {path}", field="path", value=str(path), hint="Recordings end in .jsonl.gz."
        )
    return [file for file in files if not labels or file.name in labels]


def _row(file: Path, report: ReplayReport, scored: Score | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": file.name.removesuffix(".jsonl.gz"),
        "cause": [f"{one.after:.0f} s {one.cause} of {one.kind}/{one.name}" for one in report.diagnoses],
        "would_do": [f"{one.after:.0f} s {one.action} {one.kind}/{one.name}" for one in report.proposals],
        "findings": [asdict(one) for one in report.findings],
    }
    if scored is not None:
        after = scored.after_fault
        row |= {
            "verdict": scored.verdict,
            "seen_after_s": None if after is None else round(after, 1),
            "why": scored.reason,
        }
    return row

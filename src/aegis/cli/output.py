"""What people look at, and what machines read: tables, or JSON with `--output json`."""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="`table` for people, `json` for machines.")]

_WIDE = 240
"""What a line may take where nobody's terminal limits it: a file, a pipe."""
_READABLE = 24
"""A column of prose that is narrower than this is no use."""


def _console(*, stderr: bool = False) -> Console:
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=_WIDE)


console = _console()
errors = _console(stderr=True)


def say(text: str) -> None:
    """Print a line for people, to the letter: names and reasons may hold what Rich takes for markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_rows(rows: Sequence[dict[str, Any]], *, columns: Sequence[str], output: Format, empty: str) -> None:
    """Print rows: the named columns for people, everything for machines."""
    if output is Format.JSON:
        print_json(list(rows))
        return
    if not rows:
        console.print(empty)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    # Only the last column, which says why, is broken into lines, where that leaves it some room: ids get copied.
    others = sum(max(map(len, column)) + 2 for column in zip(*(row[:-1] for row in cells), strict=True))
    keep_whole = others + _READABLE <= console.width
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.upper().replace("_", " "), no_wrap=keep_whole and column != columns[-1], overflow="fold"
        )
    for row in cells:
        table.add_row(*map(escape, row))
    console.print(table)


def print_one(row: dict[str, Any], *, fields: Sequence[str], output: Format) -> None:
    """Print one thing: the named fields for people, everything for machines."""
    if output is Format.JSON:
        print_json(row)
        return
    width = max(len(field) for field in fields)
    for field in fields:
        value = row.get(field)
        if value not in (None, "", [], {}):
            shown = _cell(value).replace("\n", "\n" + " " * (width + 2))
            console.print(f"[bold]{field.replace('_', ' '):<{width}}[/bold]  {escape(shown)}", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "\n".join(_cell(item) for item in value)
    if isinstance(value, dict):
        return "  ".join(f"{key}={_cell(item)}" for key, item in value.items())
    return str(value)

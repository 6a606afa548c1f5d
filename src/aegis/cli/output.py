"""What people look at, and what machines read: tables, or JSON with `--output json`."""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="`table` for people, `json` for machines.")]

console = Console()
errors = Console(stderr=True)


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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
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
            console.print(f"[bold]{field.replace('_', ' '):<{width}}[/bold]  {_cell(value)}", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "\n".join(_cell(item) for item in value)
    if isinstance(value, dict):
        return "  ".join(f"{key}={_cell(item)}" for key, item in value.items())
    return str(value)

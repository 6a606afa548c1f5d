"""The commands of `aegis notifications`."""

from typing import Annotated

import typer

from aegis.cli import api
from aegis.cli.output import Format, Output, print_rows

app = typer.Typer(help="What people were told.", no_args_is_help=True)


@app.command("list")
def list_(limit: Annotated[int, typer.Option(min=1, max=500)] = 50, output: Output = Format.TABLE) -> None:
    """Show notifications, newest first."""
    found = api.get("/api/v1/notifications", limit=limit)["notifications"]
    print_rows(
        found, columns=("at", "severity", "kind", "title", "detail"), output=output, empty="nobody was told anything"
    )

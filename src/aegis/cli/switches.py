"""`aegis pause`, `aegis resume`."""

from typing import Annotated

import typer

from aegis.cli.api import connect
from aegis.cli.output import console


def pause(reason: Annotated[str, typer.Argument(help="Why; whoever wonders tonight will read it.")]) -> None:
    """Stop all new actions, everywhere. What has to be undone is still undone."""
    connect().post("/api/v1/pause", {"reason": reason})
    console.print("paused; `aegis resume` goes on")


def resume(reason: Annotated[str, typer.Argument(help="Why it is all right again.")] = "resumed") -> None:
    """Let Aegis act again. A new installation waits for the first of these."""
    connect().post("/api/v1/resume", {"reason": reason})
    console.print("resumed: Aegis acts where `aegis.dev/mode` lets it")

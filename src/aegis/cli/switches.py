"""`aegis pause`, `aegis resume`."""

from typing import Annotated

import typer

from aegis.cli import api
from aegis.cli.output import say


def pause(reason: Annotated[str, typer.Argument(help="Why; whoever wonders tonight will read it.")]) -> None:
    """Stop all new actions, everywhere. What has to be undone is still undone."""
    api.post("/api/v1/pause", {"reason": reason})
    say("paused; `aegis resume` goes on")


def resume(reason: Annotated[str, typer.Argument(help="Why it is all right again.")] = "resumed") -> None:
    """Let Aegis act again. A new installation waits for the first of these."""
    api.post("/api/v1/resume", {"reason": reason})
    say("resumed: Aegis acts where `aegis.dev/mode` lets it")

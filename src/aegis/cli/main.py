"""`aegis`: the commands, and how their errors are told."""

import sys
from importlib import import_module
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from aegis import __version__
from aegis.cli.output import errors
from aegis.kit.errors import AegisError

_COMMANDS = {
    "demo": "demo.command:demo",
    "up": "up:up",
    "doctor": "doctor:doctor",
    "replay": "replay:replay",
    "rbac": "rbac:rbac",
    "status": "status:status",
    "pause": "switches:pause",
    "resume": "switches:resume",
    "login": "login:login",
    "logout": "login:logout",
    "incidents": "incidents:app",
    "remediations": "remediations:app",
    "policies": "policies:app",
    "audit": "audit:app",
    "people": "people:app",
    "approver-keys": "approver_keys:app",
    "notifications": "notifications:app",
    "simulate": "simulate:simulate",
}
"""Where each command is. A module is imported when its command is asked for: all of them take seconds."""
_HIDDEN = frozenset({"simulate"})


class _Commands(TyperGroup):
    """The commands; an error that we raise on purpose is told in our words, with what to do about it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the library's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AegisError as error:
            errors.print(f"[bold red]error:[/bold red] {escape(error.message)}", highlight=False, soft_wrap=True)
            if error.hint:
                errors.print(f"[bold]hint:[/bold] {escape(error.hint)}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="aegis",
    cls=_Commands,
    help="Self-healing for Kubernetes that undoes its own mistakes and proves what it did.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _load(name: str) -> Any:
    module, _, attribute = _COMMANDS[name].partition(":")
    found = getattr(import_module(f"aegis.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name, hidden=name in _HIDDEN)(found)
    return typer.main.get_command(alone)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"aegis {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Say which version."),
) -> None:
    pass


def run() -> None:
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()

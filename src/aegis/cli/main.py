"""`aegis`: the commands, and how their errors are told."""

import sys
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from aegis import __version__
from aegis.cli import (
    approver_keys,
    audit,
    doctor,
    incidents,
    login,
    notifications,
    people,
    policies,
    rbac,
    remediations,
    replay,
    simulate,
    status,
    switches,
    up,
)
from aegis.cli.demo.command import demo
from aegis.cli.output import errors
from aegis.kit.errors import AegisError


class _Commands(TyperGroup):
    """The commands; an error that we raise on purpose is told in our words, with what to do about it."""

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

app.command("demo")(demo)
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("replay")(replay.replay)
app.command("rbac")(rbac.rbac)
app.command("status")(status.status)
app.command("pause")(switches.pause)
app.command("resume")(switches.resume)
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("simulate", hidden=True)(simulate.simulate)
app.add_typer(incidents.app, name="incidents")
app.add_typer(remediations.app, name="remediations")
app.add_typer(policies.app, name="policies")
app.add_typer(audit.app, name="audit")
app.add_typer(people.app, name="people")
app.add_typer(approver_keys.app, name="approver-keys")
app.add_typer(notifications.app, name="notifications")


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

"""The commands of `aegis people`."""

from typing import Annotated

import typer

from aegis.cli import api
from aegis.cli.output import Format, Output, print_rows, say
from aegis.kit.errors import NotFoundError

app = typer.Typer(help="Who may do what.", no_args_is_help=True)

Role = Annotated[str, typer.Option(help="viewer, operator, approver or admin.")]
Namespaces = Annotated[list[str] | None, typer.Option("--namespace", help="Where; a pattern such as shop-*.")]


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """Show people and their roles."""
    found = api.get("/api/v1/people")
    print_rows(found, columns=("name", "grants", "disabled"), output=output, empty="nobody")


@app.command()
def add(
    name: str,
    role: Role,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
    namespace: Namespaces = None,
) -> None:
    """Add a person with one role."""
    grant = {"role": role, "namespaces": namespace or ["*"]}
    api.post("/api/v1/people", {"name": name, "password": password, "grants": [grant]})
    say(f"{name} is {role} in {', '.join(grant['namespaces'])}")


@app.command()
def grant(name: str, role: Role, namespace: Namespaces = None) -> None:
    """Give a person one more role. Ends their sessions: they log in again."""
    known = next((person for person in api.get("/api/v1/people") if person["name"] == name), None)
    if known is None:
        raise NotFoundError(f"there is no person {name}", hint="`aegis people list` shows them; `aegis people add`.")
    added = {"role": role, "namespaces": namespace or ["*"]}
    api.patch(f"/api/v1/people/{name}", {"grants": [*known["grants"], added]})
    say(f"{name} is {role} in {', '.join(added['namespaces'])} now, too, and has to log in again")

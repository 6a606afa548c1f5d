"""`aegis login`, `aegis logout`."""

from typing import Annotated

import typer

from aegis.cli.api import Api, forget, log_in, remember, remembered
from aegis.cli.output import say
from aegis.cli.settings import CliSettings
from aegis.kit.errors import AegisError


def login(
    url: Annotated[str, typer.Argument(help="The Backend's address, such as http://127.0.0.1:3000.")],
    name: Annotated[str, typer.Option(prompt=True, help="Who you are.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, help="Asked for if not given.")],
) -> None:
    """Start a session and remember it."""
    session = log_in(url.rstrip("/"), name, password)
    remember(session, CliSettings().home)
    say(f"{name} is logged in to {url}")


def logout() -> None:
    """End the remembered session."""
    home = CliSettings().home
    session = remembered(home)
    if session is not None:
        try:
            with Api(session) as api:
                api.delete("/api/v1/sessions/current")
        except AegisError as error:
            say(f"the Backend did not answer ({error}); the session is forgotten here")
    forget(home)

"""How one service asks another, with the key that it was given."""

from typing import Any

import httpx

from aegis.kit.errors import ForbiddenError, TemporaryError, UnauthenticatedError
from aegis.kit.http import ask


async def ask_with_key(
    http: httpx.AsyncClient, method: str, path: str, *, whom: str, hint: str, **options: Any
) -> httpx.Response:
    """Ask as `kit.http.ask` does; not being let in is a TemporaryError that names `whom`, with this hint.

    It says nothing of what was asked or told: our key is wrong, or not known yet. Until it is, all of it waits.
    """
    try:
        return await ask(http, method, path, **options)
    except (UnauthenticatedError, ForbiddenError) as error:
        raise TemporaryError(f"{whom} does not let us in: {error.message}", hint=hint) from error

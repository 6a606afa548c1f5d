"""Who may ask the AI Engine what: each caller has a key of its own, of which only the hash is known here."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Header

from aegis.kit.errors import ForbiddenError, UnauthenticatedError
from aegis.kit.tokens import bearer_token, token_hash

_HINT = "Send `Authorization: Bearer <key>`; AEGIS_CALLER_KEYS has the hashes of those that are known."


class Access:
    """The API's dependencies are its methods. Where no caller is known, nobody gets in."""

    def __init__(self, caller_keys: Mapping[str, str]) -> None:
        self._names = {hashed: name for name, hashed in caller_keys.items()}
        self.caller: Any = Depends(self._caller)

    def only(self, name: str) -> Any:
        """Return a dependency that only this caller passes."""

        async def check(caller: Annotated[str, Depends(self._caller)]) -> str:
            if caller != name:
                raise ForbiddenError(f"{caller} may not call this; it is for {name}", hint=_HINT)
            return caller

        return Depends(check)

    async def _caller(self, authorization: Annotated[str, Header()] = "") -> str:
        name = self._names.get(token_hash(bearer_token(authorization, hint=_HINT)))
        if name is None:
            raise UnauthenticatedError("the key is not known", hint=_HINT)
        return name

"""From a credential to a principal, and from a principal to yes or no."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from aegis.backend.identity import repository
from aegis.backend.identity.credentials import CHECKER
from aegis.backend.identity.roles import Grant, Permission, Principal
from aegis.backend.ports import BackendPorts
from aegis.kit.errors import ForbiddenError, TooManyError, UnauthenticatedError
from aegis.kit.tokens import bearer_token, token_hash

SERVICE_KEY_PREFIX = "aegis-service."
LOGIN_WINDOW = timedelta(minutes=1)
LOGINS_PER_WINDOW = 10


class Access:
    """Says who sends a request. The API's dependencies are its methods."""

    def __init__(self, ports: BackendPorts) -> None:
        self._ports = ports
        self.principal: Any = Depends(self._principal)

    def service(self, *names: str) -> Any:
        """Return a dependency that only these services pass."""

        async def check(principal: Annotated[Principal, Depends(self._principal)]) -> Principal:
            if not (principal.is_service and principal.name in names):
                raise ForbiddenError(f"{principal.actor} may not call this; it is for {' and '.join(names)}")
            return principal

        return Depends(check)

    def person(self) -> Any:
        """Return a dependency that only people pass."""

        async def check(principal: Annotated[Principal, Depends(self._principal)]) -> Principal:
            if principal.is_service:
                raise ForbiddenError(f"{principal.actor} is a service, and this is for people")
            return principal

        return Depends(check)

    def anywhere(self, permission: Permission) -> Any:
        """Return a dependency that whoever holds the permission in any namespace passes."""

        async def check(principal: Annotated[Principal, Depends(self._principal)]) -> Principal:
            if not principal.may_anywhere(permission):
                raise ForbiddenError(_refusal(principal, permission, None), hint=_HINT)
            return principal

        return Depends(check)

    def everywhere(self, permission: Permission) -> Any:
        """Return a dependency that only those pass who hold the permission in all namespaces."""

        async def check(principal: Annotated[Principal, Depends(self._principal)]) -> Principal:
            require(principal, permission, None)
            return principal

        return Depends(check)

    async def limit_logins(self, request: Request, name: str) -> None:
        """Raise TooManyError after ten tries a minute from one address or for one name."""
        address = request.client.host if request.client else "unknown"
        for key in (f"login:address:{address}", f"login:name:{name}"):
            if await self._ports.counters.increment(key, window=LOGIN_WINDOW) > LOGINS_PER_WINDOW:
                raise TooManyError("too many tries to log in", hint="Wait a minute.")

    async def check_password(self, password: str, hashed: str) -> bool:
        return await CHECKER.matches(password, hashed)

    async def _principal(self, authorization: Annotated[str, Header()] = "") -> Principal:
        token = bearer_token(authorization, hint="Send `Authorization: Bearer <token>`; `aegis login` gets one.")
        if token.startswith(SERVICE_KEY_PREFIX):
            return await self._service_principal(token)
        return await self._person_principal(token)

    async def _service_principal(self, token: str) -> Principal:
        service = token.removeprefix(SERVICE_KEY_PREFIX).partition(".")[0]
        async with self._ports.database.transaction() as tx:
            hashes = await repository.live_key_hashes(tx, service)
        for hashed in hashes:
            if await CHECKER.matches(token, hashed):
                return Principal(actor=f"service:{service}")
        raise UnauthenticatedError("the service key is not known, or was revoked")

    async def _person_principal(self, token: str) -> Principal:
        async with self._ports.database.transaction() as tx:
            person = await repository.find_session(tx, token_hash(token), now=self._ports.clock.now())
        if person is None:
            raise UnauthenticatedError("the session is not known, or has ended", hint="`aegis login` starts a new one.")
        grants = tuple(Grant.model_validate(grant) for grant in person.grants)
        return Principal(actor=f"person:{person.name}", grants=grants)


_HINT = "An admin grants roles: `aegis people grant`."


def require(principal: Principal, permission: Permission, namespace: str | None) -> None:
    """Raise ForbiddenError unless the principal may do this there (`None`: in every namespace)."""
    if not principal.may(permission, namespace):
        raise ForbiddenError(_refusal(principal, permission, namespace), hint=_HINT)


def _refusal(principal: Principal, permission: Permission, namespace: str | None) -> str:
    where = f"in namespace {namespace}" if namespace is not None else "here"
    return f"{principal.actor} may not {permission.value} {where}"

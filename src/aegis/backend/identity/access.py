"""From a credential to a principal, and from a principal to yes or no."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from aegis.backend.identity import repository
from aegis.backend.identity.credentials import KNOWN_KEYS
from aegis.backend.identity.refusals import Refusals
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.ports import BackendPorts
from aegis.kit.errors import ForbiddenError, TooManyError, UnauthenticatedError
from aegis.kit.http import part
from aegis.kit.tokens import bearer_token, token_hash

SERVICE_KEY_PREFIX = "aegis-service."
WINDOW = timedelta(minutes=1)
TRIES_PER_WINDOW = 10
"""To log in from one address or with one name; and with keys of one service that this process has never seen."""


class Access:
    """Says who sends a request."""

    def __init__(self, ports: BackendPorts, refusals: Refusals) -> None:
        self.ports = ports
        self._refusals = refusals

    async def limit_logins(self, request: Request, name: str) -> None:
        """Raise TooManyError after ten tries a minute from one address or for one name."""
        for key in (f"login:address:{_address_of(request)}", f"login:name:{name}"):
            if await self._is_one_too_many(key):
                self.count_refusal(request, f"person:{name}")
                raise TooManyError("too many tries to log in", hint="Wait a minute.")

    def count_refusal(self, request: Request, who: str) -> None:
        """Note, for the audit trail, that somebody was not let in who claimed to be `who`."""
        self._refusals.count(who, address=_address_of(request))

    async def _is_one_too_many(self, key: str) -> bool:
        return await self.ports.counters.increment(key, window=WINDOW) > TRIES_PER_WINDOW

    async def principal_of(self, request: Request, authorization: str) -> Principal:
        """Return who shows this credential; UnauthenticatedError where nobody known does."""
        token = bearer_token(authorization, hint="Send `Authorization: Bearer <token>`; `aegis login` gets one.")
        if token.startswith(SERVICE_KEY_PREFIX):
            return await self._service_principal(request, token)
        return await self._person_principal(token)

    async def _service_principal(self, request: Request, token: str) -> Principal:
        """Return the service whose key this is.

        Comparing takes long on purpose, so strangers may cause little of it. The keys in this process's settings are
        remembered from its start on: whatever strangers do, whoever has one of those is let in.
        """
        service = token.removeprefix(SERVICE_KEY_PREFIX).partition(".")[0]
        async with self.ports.database.reading() as tx:
            hashes = await repository.live_key_hashes(tx, service)
        principal = Principal(actor=f"service:{service}")
        if any(KNOWN_KEYS.remembers(token, hashed) for hashed in hashes):
            return principal
        if hashes and await self._is_one_too_many(f"service-key:{service}"):
            self.count_refusal(request, principal.actor)
            raise TooManyError(f"too many keys that are not known as {service}'s", hint="Wait a minute.")
        for hashed in hashes:
            if await KNOWN_KEYS.matches(token, hashed):
                return principal
        self.count_refusal(request, principal.actor if hashes else "service:unknown")
        raise UnauthenticatedError(
            "the service key is not known, or was revoked", hint="The Backend's AEGIS_SERVICE_KEYS has those that are."
        )

    async def _person_principal(self, token: str) -> Principal:
        async with self.ports.database.reading() as tx:
            person = await repository.find_session(tx, token_hash(token), now=self.ports.clock.now())
        if person is None:
            raise UnauthenticatedError("the session is not known, or has ended", hint="`aegis login` starts a new one.")
        return Principal.of_person(person)


def _address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"


_HINT = "An admin grants roles: `aegis people grant`."


def require(principal: Principal, permission: Permission, namespace: str | None) -> None:
    """Raise ForbiddenError unless the principal may do this there (`None`: in every namespace)."""
    if not principal.may(permission, namespace):
        raise ForbiddenError(_refusal(principal, permission, namespace), hint=_HINT)


def _refusal(principal: Principal, permission: Permission, namespace: str | None) -> str:
    where = f"in namespace {namespace}" if namespace is not None else "here"
    return f"{principal.actor} may not {permission.value} {where}"


# The dependencies of the API's operations: who may call them.


async def _principal(
    request: Request,
    access: Annotated[Access, part(Access)],
    authorization: Annotated[str, Header()] = "",
) -> Principal:
    return await access.principal_of(request, authorization)


anybody: Any = Depends(_principal)
"""Whoever is known passes."""


def service(*names: str) -> Any:
    """Return a dependency that only these services pass."""

    async def check(principal: Principal = anybody) -> Principal:
        if not (principal.is_service and principal.name in names):
            raise ForbiddenError(
                f"{principal.actor} may not call this; it is for {' and '.join(names)}",
                hint="Each service has its own key in AEGIS_SERVICE_KEYS; people use `aegis`.",
            )
        return principal

    return Depends(check)


def person() -> Any:
    """Return a dependency that only people pass."""

    async def check(principal: Principal = anybody) -> Principal:
        if principal.is_service:
            raise ForbiddenError(
                f"{principal.actor} is a service, and this is for people",
                hint="`aegis login` gets a person's token.",
            )
        return principal

    return Depends(check)


def anywhere(permission: Permission) -> Any:
    """Return a dependency that whoever holds the permission in any namespace passes."""

    async def check(principal: Principal = anybody) -> Principal:
        if not principal.may_anywhere(permission):
            raise ForbiddenError(_refusal(principal, permission, None), hint=_HINT)
        return principal

    return Depends(check)


def everywhere(permission: Permission) -> Any:
    """Return a dependency that only those pass who hold the permission in all namespaces."""

    async def check(principal: Principal = anybody) -> Principal:
        require(principal, permission, None)
        return principal

    return Depends(check)

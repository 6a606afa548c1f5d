"""Logging in and out, and the people who may."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.identity import repository
from aegis.backend.identity.access import Access, anybody, everywhere, person
from aegis.backend.identity.credentials import hash_secret, matches
from aegis.backend.identity.roles import Grant, Permission, Principal
from aegis.contracts.base import Moment
from aegis.kit.errors import ConflictError, InvalidError, NotFoundError, UnauthenticatedError
from aegis.kit.http import PROBLEMS, part
from aegis.kit.tokens import bearer_token, new_token, token_hash

PersonName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._@-]{0,62}[a-z0-9])?$")]

# A hash of nobody's password: checking it takes as long as a real one, so that names cannot be guessed by time.
_NOBODY = hash_secret(new_token())


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Login(_Body):
    name: str = Field(max_length=64, pattern=r"^[^\x00]*$")
    password: SecretStr


class Session(BaseModel):
    token: str
    expires_at: Moment


class NewPerson(_Body):
    name: PersonName
    password: SecretStr = Field(min_length=12)
    grants: tuple[Grant, ...]


class ChangedPerson(_Body):
    """What is not given stays as it is. Any change ends the person's sessions."""

    password: SecretStr | None = Field(default=None, min_length=12)
    grants: tuple[Grant, ...] | None = None
    disabled: bool | None = None


class Person(BaseModel):
    name: str
    grants: tuple[Grant, ...]
    disabled: bool


Here = Annotated[Access, part(Access)]
Trail = Annotated[AuditTrail, part(AuditTrail)]
routes = APIRouter(prefix="/api/v1", tags=["identity"], responses=PROBLEMS)


@routes.post("/sessions", status_code=201)
async def log_in(here: Here, trail: Trail, login: Login, request: Request) -> Session:
    await here.limit_logins(request, login.name)
    async with here.ports.database.transaction() as tx:
        person = await repository.find_person(tx, login.name)
    hashed = person.password_hash if person is not None else _NOBODY
    right = await matches(login.password.get_secret_value(), hashed)
    if person is None or person.disabled or not right:
        here.count_refusal(request, f"person:{login.name}")
        raise UnauthenticatedError(
            "name or password is wrong", hint="Try again; an admin can give somebody a new password."
        )
    token, expires_at = new_token(), here.ports.clock.now() + here.ports.settings.session_lifetime
    async with here.ports.database.transaction() as tx:
        await repository.forget_expired_sessions(tx, now=here.ports.clock.now())
        await repository.add_session(tx, token_hash=token_hash(token), person=person.name, expires_at=expires_at)
        await trail.record(tx, actor=f"person:{person.name}", event="session:started", subject=person.name)
    return Session(token=token, expires_at=expires_at)


@routes.delete("/sessions/current", status_code=204)
async def log_out(
    here: Here, trail: Trail, principal: Principal = person(), authorization: Annotated[str, Header()] = ""
) -> None:
    async with here.ports.database.transaction() as tx:
        await repository.end_session(tx, token_hash(bearer_token(authorization, hint="`aegis login` gets one.")))
        await trail.record(tx, actor=principal.actor, event="session:ended", subject=principal.name)


@routes.get("/me")
async def me(principal: Principal = anybody) -> Principal:
    return principal


@routes.get("/people")
async def people(here: Here, _: Principal = everywhere(Permission.ADMINISTER)) -> list[Person]:
    async with here.ports.database.transaction() as tx:
        return [Person.model_validate(row._asdict()) for row in await repository.all_people(tx)]


@routes.post("/people", status_code=201)
async def add_person(
    here: Here, trail: Trail, new: NewPerson, principal: Principal = everywhere(Permission.ADMINISTER)
) -> Person:
    async with here.ports.database.transaction() as tx:
        added = await repository.add_person(
            tx,
            name=new.name,
            password_hash=hash_secret(new.password.get_secret_value()),
            grants=new.grants,
            at=here.ports.clock.now(),
        )
        if not added:
            raise ConflictError(
                f"there is a person {new.name} already",
                field="name",
                value=new.name,
                hint=f"`aegis people grant {new.name}` gives them one more role.",
            )
        await trail.record(
            tx, actor=principal.actor, event="person:added", subject=new.name, detail=_granted(new.grants)
        )
    return Person(name=new.name, grants=new.grants, disabled=False)


@routes.patch("/people/{name}", status_code=204)
async def change_person(
    here: Here, trail: Trail, name: str, change: ChangedPerson, principal: Principal = everywhere(Permission.ADMINISTER)
) -> None:
    values: dict[str, object] = {}
    if change.password is not None:
        values["password_hash"] = hash_secret(change.password.get_secret_value())
    if change.grants is not None:
        values["grants"] = [grant.model_dump(mode="json") for grant in change.grants]
    if change.disabled is not None:
        values["disabled"] = change.disabled
    if not values:
        raise InvalidError(
            "nothing is to be changed", field="body", hint="Send password, grants or disabled, or several of them."
        )
    async with here.ports.database.transaction() as tx:
        if not await repository.change_person(tx, name, **values):
            raise NotFoundError(f"there is no person {name}", hint="`aegis people list` shows them.")
        await trail.record(
            tx, actor=principal.actor, event="person:changed", subject=name, detail={"fields": sorted(values)}
        )


def _granted(grants: tuple[Grant, ...]) -> dict[str, object]:
    return {"grants": [grant.model_dump(mode="json") for grant in grants]}

"""Policies: read, save, delete, check."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from aegis.backend.identity.access import anywhere, everywhere
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.policy_store import repository
from aegis.backend.policy_store.store import PolicyStore
from aegis.contracts.base import Moment
from aegis.kit.errors import ConflictError, NotFoundError
from aegis.kit.http import PROBLEMS, part
from aegis.policy.rules import parse_policy

SOURCE_MAX = 256 * 1024


class PolicySource(BaseModel):
    """A policy as YAML text."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(max_length=SOURCE_MAX)


class PolicyVersion(BaseModel):
    name: str
    version: int
    source: str
    saved_by: str
    saved_at: Moment
    deleted: bool = False


class PolicyPage(BaseModel):
    version: str
    policies: list[PolicyVersion]


class Checked(BaseModel):
    name: str
    rules: list[str]


Here = Annotated[PolicyStore, part(PolicyStore)]
routes = APIRouter(prefix="/api/v1/policies", tags=["policies"], responses=PROBLEMS)


@routes.get("")
async def page(here: Here, _: Principal = anywhere(Permission.READ)) -> PolicyPage:
    async with here.ports.database.transaction() as tx:
        in_force = await here.in_force(tx)
        rows = await repository.newest_versions(tx)
    found = [PolicyVersion.model_validate(row._asdict()) for row in rows]
    return PolicyPage(version=in_force.version, policies=found)


@routes.post("/test")
async def check(policy: PolicySource, _: Principal = anywhere(Permission.READ)) -> Checked:
    """Check a policy without saving it."""
    parsed = parse_policy(policy.source)
    return Checked(name=parsed.name, rules=[rule.name for rule in parsed.spec.rules])


@routes.get("/{name}/versions")
async def versions(here: Here, name: str, _: Principal = anywhere(Permission.READ)) -> list[PolicyVersion]:
    async with here.ports.database.transaction() as tx:
        rows = await repository.versions_of(tx, name)
    if not rows:
        raise NotFoundError(f"there is no policy {name}", hint="`aegis policies list` shows them.")
    return [PolicyVersion.model_validate(row._asdict()) for row in rows]


@routes.put("/{name}")
async def save(
    here: Here, name: str, policy: PolicySource, principal: Principal = everywhere(Permission.ADMINISTER)
) -> dict[str, int]:
    parsed = parse_policy(policy.source)
    if parsed.name != name:
        raise ConflictError(
            f"the policy calls itself {parsed.name}, not {name}",
            field="metadata.name",
            value=parsed.name,
            hint="Save it under the name that it has, or rename it in the document.",
        )
    async with here.ports.database.transaction() as tx:
        version = await here.save(tx, policy.source, actor=principal.actor)
    return {"version": version}


@routes.delete("/{name}", status_code=204)
async def delete(here: Here, name: str, principal: Principal = everywhere(Permission.ADMINISTER)) -> None:
    async with here.ports.database.transaction() as tx:
        if not any(row.name == name for row in await repository.newest_versions(tx)):
            raise NotFoundError(f"there is no policy {name}", hint="`aegis policies list` shows them.")
        await here.delete(tx, name, actor=principal.actor)

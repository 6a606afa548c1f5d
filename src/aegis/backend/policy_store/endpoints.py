"""Policies: read, save, delete, check."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from aegis.backend.identity.access import Access
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.policy_store import repository
from aegis.backend.policy_store.store import PolicyStore
from aegis.contracts.base import Moment
from aegis.kit.errors import ConflictError, NotFoundError
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


def router(store: PolicyStore, access: Access) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/policies", tags=["policies"])
    database = store.ports.database

    @routes.get("")
    async def page(_: Principal = access.anywhere(Permission.READ)) -> PolicyPage:
        async with database.transaction() as tx:
            in_force = await store.in_force(tx)
            rows = await repository.newest_versions(tx)
        found = [PolicyVersion.model_validate(row._asdict()) for row in rows]
        return PolicyPage(version=in_force.version, policies=found)

    @routes.post("/test")
    async def test(policy: PolicySource, _: Principal = access.anywhere(Permission.READ)) -> Checked:
        """Check a policy without saving it."""
        parsed = parse_policy(policy.source)
        return Checked(name=parsed.name, rules=[rule.name for rule in parsed.spec.rules])

    @routes.get("/{name}/versions")
    async def versions(name: str, _: Principal = access.anywhere(Permission.READ)) -> list[PolicyVersion]:
        async with database.transaction() as tx:
            rows = await repository.versions_of(tx, name)
        if not rows:
            raise NotFoundError(f"there is no policy {name}", hint="`aegis policies list` shows them.")
        return [PolicyVersion.model_validate(row._asdict()) for row in rows]

    @routes.put("/{name}")
    async def save(
        name: str, policy: PolicySource, principal: Principal = access.everywhere(Permission.ADMINISTER)
    ) -> dict[str, int]:
        parsed = parse_policy(policy.source)
        if parsed.name != name:
            raise ConflictError(
                f"the policy calls itself {parsed.name}, not {name}",
                field="metadata.name",
                value=parsed.name,
                hint="Save it under the name that it has, or rename it in the document.",
            )
        async with database.transaction() as tx:
            version = await store.save(tx, policy.source, actor=principal.actor)
        return {"version": version}

    @routes.delete("/{name}", status_code=204)
    async def delete(name: str, principal: Principal = access.everywhere(Permission.ADMINISTER)) -> None:
        async with database.transaction() as tx:
            if not any(row.name == name for row in await repository.newest_versions(tx)):
                raise NotFoundError(f"there is no policy {name}", hint="`aegis policies list` shows them.")
            await store.delete(tx, name, actor=principal.actor)

    return routes

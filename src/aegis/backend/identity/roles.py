"""Who may do what: roles, bound to namespaces. Pure."""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field

from aegis.contracts.base import StrictContract

PERSON = "person:"
"""What an actor who is a person begins with."""


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


class Permission(StrEnum):
    READ = "read"
    REQUEST = "request"
    UNDO = "undo"
    ACKNOWLEDGE = "acknowledge"
    PAUSE = "pause"
    APPROVE = "approve"
    ADMINISTER = "administer"


_READS = frozenset({Permission.READ})
_ON_CALL = _READS | {Permission.PAUSE, Permission.ACKNOWLEDGE}
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _READS,
    Role.OPERATOR: _ON_CALL | {Permission.REQUEST, Permission.UNDO},
    Role.APPROVER: _ON_CALL | {Permission.APPROVE},
    Role.ADMIN: frozenset(Permission),
}


class Grant(StrictContract):
    """A role in the namespaces that match one of these shell patterns."""

    role: Role
    namespaces: tuple[str, ...] = Field(default=("*",), min_length=1)

    def covers(self, permission: Permission, namespace: str | None) -> bool:
        """Whether it permits that there; `None` means everywhere at once, which only `*` covers."""
        if permission not in PERMISSIONS[self.role]:
            return False
        if namespace is None:
            return "*" in self.namespaces
        return any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)


class Principal(StrictContract):
    """Who is asking, as their credential says; nothing in a request's body can change it."""

    actor: str
    """`person:<name>` or `service:<name>`."""
    grants: tuple[Grant, ...] = ()

    @classmethod
    def of_person(cls, person: Any) -> "Principal":
        """Return who somebody is, by their row in the table of people."""
        grants = tuple(Grant.model_validate(grant) for grant in person.grants)
        return cls(actor=f"{PERSON}{person.name}", grants=grants)

    @property
    def name(self) -> str:
        return self.actor.partition(":")[2]

    @property
    def is_service(self) -> bool:
        return self.actor.startswith("service:")

    def may(self, permission: Permission, namespace: str | None) -> bool:
        return any(grant.covers(permission, namespace) for grant in self.grants)

    def may_anywhere(self, permission: Permission) -> bool:
        return any(permission in PERMISSIONS[grant.role] for grant in self.grants)

    def has_role(self, role: str, namespace: str | None) -> bool:
        """Whether they hold this role there; an admin holds every role."""
        wanted = {role, Role.ADMIN.value}
        return any(
            grant.role in wanted and any(fnmatchcase(namespace or "", pattern) for pattern in grant.namespaces)
            for grant in self.grants
        )

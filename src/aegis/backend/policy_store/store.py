"""The policies in force, parsed once per version."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.policy_store import repository
from aegis.backend.ports import BackendPorts
from aegis.kit.database import Transaction
from aegis.policy.defaults import default_policies
from aegis.policy.rules import Policy, parse_policy


@dataclass(frozen=True)
class PolicySet:
    """What was in force at one moment, under one version."""

    policies: tuple[Policy, ...]
    version: str


@dataclass(frozen=True)
class PolicyStore:
    ports: BackendPorts
    trail: AuditTrail

    async def in_force(self, tx: Transaction) -> PolicySet:
        rows = await repository.newest_versions(tx)
        named = ",".join(f"{row.name}@{row.version}" for row in rows)
        sources = tuple(row.source for row in rows)
        digest = hashlib.sha256("\0".join(sources).encode()).hexdigest()[:12]
        return PolicySet(tuple(_parsed(source) for source in sources), f"{named or 'none'}#{digest}")

    async def save(self, tx: Transaction, source: str, *, actor: str) -> int:
        """Keep a new version of the policy that `source` names; InvalidError if it is not one."""
        policy = parse_policy(source)
        return await self._add(tx, policy.name, source, actor=actor, deleted=False)

    async def delete(self, tx: Transaction, name: str, *, actor: str) -> int:
        return await self._add(tx, name, "", actor=actor, deleted=True)

    async def add_defaults(self) -> None:
        """Give a new installation the shipped policies."""
        async with self.ports.database.transaction() as tx:
            if await repository.is_empty(tx):
                for source in default_policies().values():
                    await self.save(tx, source, actor="service:backend")

    async def _add(self, tx: Transaction, name: str, source: str, *, actor: str, deleted: bool) -> int:
        version = await repository.add_version(
            tx, name=name, source=source, deleted=deleted, saved_by=actor, saved_at=self.ports.clock.now()
        )
        event = "policy:deleted" if deleted else "policy:saved"
        await self.trail.record(tx, actor=actor, event=event, subject=name, detail={"version": version})
        return version


@lru_cache(maxsize=256)
def _parsed(source: str) -> Policy:
    return parse_policy(source)

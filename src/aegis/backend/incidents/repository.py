"""Incidents in PostgreSQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from zlib import crc32

from sqlalchemy import desc, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.incidents.tables import incidents
from aegis.contracts.incidents import Incident, IncidentState
from aegis.contracts.targets import WorkloadRef
from aegis.kit.database import lock


async def lock_key(tx: AsyncConnection, key: str) -> None:
    """Let two reports of the same incident in one after the other, even the first two."""
    await lock(tx, crc32(f"incident:{key}".encode()))


async def lock_workload(tx: AsyncConnection, workload: WorkloadRef) -> None:
    """Let two alerts about one workload in one after the other, or each would open an incident."""
    await lock(tx, crc32(f"incident of:{workload}".encode()))


async def find_by_key(tx: AsyncConnection, key: str) -> Incident | None:
    return _one(await tx.execute(select(incidents).where(incidents.c.key == key)))


async def find_survivor(tx: AsyncConnection, key: str) -> Incident | None:
    """Return the incident with that key, or the one that it was merged into, which may not be known yet."""
    seen: set[str] = set()
    found = await find_by_key(tx, key)
    while found is not None and found.merged_into is not None and found.key not in seen:
        seen.add(found.key)
        found = await find_by_key(tx, found.merged_into)
    return found


async def find(tx: AsyncConnection, incident_id: str) -> Incident | None:
    return _one(await tx.execute(select(incidents).where(incidents.c.id == incident_id)))


async def find_open(tx: AsyncConnection, workload: WorkloadRef) -> Incident | None:
    """Return the newest incident of a workload that is not resolved. Whoever changes it takes its key's lock."""
    query = (
        select(incidents)
        .where(
            incidents.c.state != IncidentState.RESOLVED,
            incidents.c.namespace == workload.namespace,
            incidents.c.workload == workload.model_dump(mode="json"),
        )
        .order_by(desc(incidents.c.opened_at))
        .limit(1)
    )
    return _one(await tx.execute(query))


async def save(tx: AsyncConnection, incident: Incident) -> None:
    row = incident.model_dump(mode="json", exclude={"opened_at", "updated_at", "resolved_at"})
    row |= {
        "namespace": incident.workload.namespace,
        "opened_at": incident.opened_at,
        "updated_at": incident.updated_at,
        "resolved_at": incident.resolved_at,
    }
    statement = insert(incidents).values(row)
    await tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


async def namespaces(tx: AsyncConnection) -> list[str]:
    """Return every namespace that has or had an incident."""
    return list((await tx.execute(select(incidents.c.namespace).distinct())).scalars())


async def page(
    tx: AsyncConnection,
    *,
    namespaces: Collection[str],
    state: IncidentState | None,
    limit: int,
    before: datetime | None,
) -> Sequence[Incident]:
    query = select(incidents).where(incidents.c.namespace.in_(namespaces))
    query = query.order_by(desc(incidents.c.opened_at)).limit(limit)
    if state is not None:
        query = query.where(incidents.c.state == state)
    if before is not None:
        query = query.where(incidents.c.opened_at < before)
    return [_incident(row) for row in (await tx.execute(query)).all()]


async def count_by_state(tx: AsyncConnection, *, namespaces: Collection[str]) -> dict[str, int]:
    query = select(incidents.c.state, func.count()).where(incidents.c.namespace.in_(namespaces))
    return {row[0]: row[1] for row in (await tx.execute(query.group_by(incidents.c.state))).all()}


async def acknowledge(tx: AsyncConnection, incident_id: str, *, at: datetime) -> bool:
    query = update(incidents).where(incidents.c.id == incident_id, incidents.c.state == IncidentState.OPEN)
    changed = await tx.execute(query.values(state=IncidentState.ACKNOWLEDGED, updated_at=at).returning(incidents.c.id))
    return changed.first() is not None


def _one(result: Any) -> Incident | None:
    row = result.first()
    return _incident(row) if row is not None else None


def _incident(row: Any) -> Incident:
    return Incident.model_validate(row._asdict())

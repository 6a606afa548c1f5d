"""Pause and storm in PostgreSQL."""

from typing import Any

from sqlalchemy import desc, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.switches.tables import pauses, storms
from aegis.contracts.work import Pause, Storm


async def newest_pause(tx: AsyncConnection) -> Pause | None:
    row = (await tx.execute(select(pauses).order_by(desc(pauses.c.position)).limit(1))).first()
    return Pause.model_validate(row._asdict()) if row is not None else None


async def add_pause(tx: AsyncConnection, pause: Pause) -> None:
    await tx.execute(insert(pauses).values(pause.model_dump()))


async def save_storm(tx: AsyncConnection, storm: Storm) -> bool:
    """Keep a storm by the moment it began; return whether that one was known."""
    known = await tx.execute(select(storms.c.since).where(storms.c.since == storm.since))
    row: dict[str, Any] = {**storm.model_dump(), "unhealthy": list(storm.unhealthy)}
    await tx.execute(insert(storms).values(row).on_conflict_do_update(index_elements=["since"], set_=row))
    return known.first() is not None


async def newest_storm(tx: AsyncConnection) -> Storm | None:
    row = (await tx.execute(select(storms).order_by(desc(storms.c.since)).limit(1))).first()
    return Storm.model_validate(row._asdict()) if row is not None else None

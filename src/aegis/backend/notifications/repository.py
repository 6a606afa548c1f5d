"""Notifications in PostgreSQL."""

from typing import Any

from sqlalchemy import desc, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.notifications.tables import notifications


async def add(tx: AsyncConnection, row: dict[str, Any]) -> bool:
    """Return False, changing nothing, where one with this key was sent before."""
    added = await tx.execute(
        insert(notifications).values(row).on_conflict_do_nothing(index_elements=["key"]).returning(notifications.c.id)
    )
    return added.first() is not None


async def page(tx: AsyncConnection, *, limit: int) -> list[dict[str, Any]]:
    query = select(notifications).order_by(desc(notifications.c.at)).limit(limit)
    return [row._asdict() for row in (await tx.execute(query)).all()]

"""Policies in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zlib import crc32

from sqlalchemy import desc, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.policy_store.tables import policy_versions
from aegis.kit.database import lock


async def newest_versions(tx: AsyncConnection) -> Sequence[Any]:
    """Return the newest version of each policy that is not deleted, by name."""
    newest = (
        select(policy_versions.c.name, func.max(policy_versions.c.version).label("version"))
        .group_by(policy_versions.c.name)
        .subquery()
    )
    query = (
        select(policy_versions)
        .join(
            newest,
            (newest.c.name == policy_versions.c.name) & (newest.c.version == policy_versions.c.version),
        )
        .where(policy_versions.c.deleted.is_(False))
        .order_by(policy_versions.c.name)
    )
    return (await tx.execute(query)).all()


async def versions_of(tx: AsyncConnection, name: str) -> Sequence[Any]:
    query = select(policy_versions).where(policy_versions.c.name == name).order_by(desc(policy_versions.c.version))
    return (await tx.execute(query)).all()


async def add_version(
    tx: AsyncConnection, *, name: str, source: str, deleted: bool, saved_by: str, saved_at: datetime
) -> int:
    """Return the new version's number. Two at once get one number each, one after the other."""
    await lock(tx, crc32(f"policy:{name}".encode()))
    query = select(func.coalesce(func.max(policy_versions.c.version), 0)).where(policy_versions.c.name == name)
    version = int((await tx.execute(query)).scalar_one()) + 1
    row = {
        "name": name,
        "version": version,
        "source": source,
        "deleted": deleted,
        "saved_by": saved_by,
        "saved_at": saved_at,
    }
    await tx.execute(insert(policy_versions).values(row))
    return version


async def is_empty(tx: AsyncConnection) -> bool:
    return (await tx.execute(select(policy_versions.c.name).limit(1))).first() is None

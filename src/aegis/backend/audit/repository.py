"""Reading and adding to the audit trail."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, desc, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.audit.tables import checkpoints, entries, seals, witnesses
from aegis.contracts.audit import GENESIS, AuditEntry, Checkpoint


async def add_entry(
    tx: AsyncConnection, *, id: str, at: datetime, actor: str, event: str, subject: str, detail: dict[str, Any]
) -> None:
    await tx.execute(insert(entries).values(id=id, at=at, actor=actor, event=event, subject=subject, detail=detail))


async def unsealed(tx: AsyncConnection, *, limit: int) -> Sequence[Any]:
    """Return entries that no seal covers yet, oldest first."""
    sealed = select(seals.c.entry_id).where(seals.c.entry_id == entries.c.id, seals.c.at == entries.c.at).exists()
    query = select(entries).where(~sealed).order_by(entries.c.at, entries.c.id).limit(limit)
    return (await tx.execute(query)).all()


async def chain_head(tx: AsyncConnection) -> tuple[int, str]:
    """Return the newest sequence number and hash; 0 and the genesis hash before the first."""
    query = select(seals.c.sequence, seals.c.hash).order_by(desc(seals.c.sequence)).limit(1)
    row = (await tx.execute(query)).first()
    return (row.sequence, row.hash) if row else (0, GENESIS)


async def add_seals(tx: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    await tx.execute(insert(seals), rows)


async def add_checkpoint(tx: AsyncConnection, checkpoint: Checkpoint) -> None:
    values = checkpoint.model_dump(include={"sequence", "hash", "at", "key_id", "signature"})
    await tx.execute(insert(checkpoints).values(values))


async def add_witness(tx: AsyncConnection, *, sequence: int, key_id: str, signature: str) -> None:
    row = {"sequence": sequence, "key_id": key_id, "signature": signature}
    await tx.execute(insert(witnesses).values(row).on_conflict_do_nothing())


async def newest_checkpoint(tx: AsyncConnection, *, unwitnessed: bool = False) -> Checkpoint | None:
    query = _checkpoint_query().order_by(desc(checkpoints.c.sequence)).limit(1)
    if unwitnessed:
        query = query.where(witnesses.c.sequence.is_(None))
    row = (await tx.execute(query)).first()
    return _checkpoint(row) if row else None


async def sealed_entries(
    tx: AsyncConnection, *, after: int = 0, limit: int = 1000, subject: str | None = None, newest: bool = False
) -> list[AuditEntry]:
    """Return sealed entries with a sequence above `after`, oldest first; the newest ones if so asked."""
    joined = seals.join(entries, and_(entries.c.id == seals.c.entry_id, entries.c.at == seals.c.at))
    query = select(entries, seals.c.sequence, seals.c.previous_hash, seals.c.hash).select_from(joined)
    query = query.where(seals.c.sequence > after)
    if subject is not None:
        query = query.where(entries.c.subject == subject)
    query = query.order_by(desc(seals.c.sequence) if newest else seals.c.sequence).limit(limit)
    found = [AuditEntry.model_validate(row._asdict()) for row in (await tx.execute(query)).all()]
    return found[::-1] if newest else found


async def all_checkpoints(tx: AsyncConnection, *, until: int) -> list[Checkpoint]:
    """Return the checkpoints that sign entries up to that one at most."""
    query = _checkpoint_query().where(checkpoints.c.sequence <= until).order_by(checkpoints.c.sequence)
    return [_checkpoint(row) for row in (await tx.execute(query)).all()]


async def ensure_partitions(tx: AsyncConnection, at: datetime) -> None:
    """Have partitions for the month of `at` and the next one."""
    await tx.execute(text("SELECT aegis_ensure_audit_partitions(:at)"), {"at": at})


async def count_unsealed(tx: AsyncConnection) -> int:
    total = (await tx.execute(select(func.count()).select_from(entries))).scalar_one()
    sealed = (await tx.execute(select(func.count()).select_from(seals))).scalar_one()
    return int(total - sealed)


def _checkpoint_query() -> Any:
    joined = checkpoints.outerjoin(witnesses, witnesses.c.sequence == checkpoints.c.sequence)
    return select(
        checkpoints,
        func.coalesce(witnesses.c.key_id, "").label("witness_key_id"),
        func.coalesce(witnesses.c.signature, "").label("witness_signature"),
    ).select_from(joined)


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint.model_validate(row._asdict())

"""Reading and adding to the audit trail."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, desc, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.audit.tables import checkpoints, entries, seals, waiting, witness_keys, witnesses
from aegis.contracts.audit import AuditEntry, Checkpoint, Head
from aegis.kit.signing import PublicKey


async def add_entry(
    tx: AsyncConnection, *, id: str, at: datetime, actor: str, event: str, subject: str, detail: dict[str, Any]
) -> None:
    await tx.execute(insert(entries).values(id=id, at=at, actor=actor, event=event, subject=subject, detail=detail))


async def unsealed(tx: AsyncConnection, *, limit: int) -> Sequence[Any]:
    """Return entries that no seal covers yet, oldest first."""
    joined = waiting.join(entries, and_(entries.c.id == waiting.c.entry_id, entries.c.at == waiting.c.at))
    query = select(entries).select_from(joined).order_by(waiting.c.at, waiting.c.entry_id).limit(limit)
    return (await tx.execute(query)).all()


async def head(tx: AsyncConnection) -> Head | None:
    """Return the newest sealed entry; None before the first."""
    query = select(seals.c.sequence, seals.c.hash, seals.c.at).order_by(desc(seals.c.sequence)).limit(1)
    row = (await tx.execute(query)).first()
    return Head.model_validate(row._asdict()) if row is not None else None


async def add_seals(tx: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Add seals; what they cover waits no longer."""
    await tx.execute(insert(seals), rows)
    sealed = tuple_(waiting.c.entry_id, waiting.c.at).in_([(row["entry_id"], row["at"]) for row in rows])
    await tx.execute(delete(waiting).where(sealed))


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
    return int((await tx.execute(select(func.count()).select_from(waiting))).scalar_one())


async def newest_witness_key(tx: AsyncConnection) -> str | None:
    """Return the public key whose countersignatures counted last."""
    query = select(witness_keys.c.public_key).order_by(desc(witness_keys.c.position)).limit(1)
    return (await tx.execute(query)).scalar_one_or_none()


async def add_witness_key(tx: AsyncConnection, key: PublicKey, *, at: datetime) -> None:
    await tx.execute(insert(witness_keys).values(public_key=key.to_text(), key_id=key.id, at=at))


def _checkpoint_query() -> Any:
    joined = checkpoints.outerjoin(witnesses, witnesses.c.sequence == checkpoints.c.sequence)
    return select(
        checkpoints,
        func.coalesce(witnesses.c.key_id, "").label("witness_key_id"),
        func.coalesce(witnesses.c.signature, "").label("witness_signature"),
    ).select_from(joined)


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint.model_validate(row._asdict())

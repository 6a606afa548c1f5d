"""People, sessions and service keys in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.identity.roles import Grant
from aegis.backend.identity.tables import people, service_keys, sessions


async def add_person(
    tx: AsyncConnection, *, name: str, password_hash: str, grants: Sequence[Grant], at: datetime
) -> bool:
    """Return False, changing nothing, where there is such a person already."""
    row = {
        "name": name,
        "password_hash": password_hash,
        "grants": [grant.model_dump(mode="json") for grant in grants],
        "disabled": False,
        "created_at": at,
    }
    added = await tx.execute(insert(people).values(row).on_conflict_do_nothing().returning(people.c.name))
    return added.first() is not None


async def find_person(tx: AsyncConnection, name: str) -> Any | None:
    return (await tx.execute(select(people).where(people.c.name == name))).first()


async def all_people(tx: AsyncConnection) -> Sequence[Any]:
    return (await tx.execute(select(people).order_by(people.c.name))).all()


async def change_person(tx: AsyncConnection, name: str, **values: Any) -> bool:
    """Change a person and end all their sessions; False where there is no such person."""
    changed = await tx.execute(update(people).where(people.c.name == name).values(values).returning(people.c.name))
    await tx.execute(delete(sessions).where(sessions.c.person == name))
    return changed.first() is not None


async def add_session(tx: AsyncConnection, *, token_hash: str, person: str, expires_at: datetime) -> None:
    row = {"token_hash": token_hash, "person": person, "expires_at": expires_at}
    await tx.execute(insert(sessions).values(row))


async def find_session(tx: AsyncConnection, token_hash: str, *, now: datetime) -> Any | None:
    """Return the person whose live session this is."""
    query = (
        select(people)
        .join(sessions, sessions.c.person == people.c.name)
        .where(sessions.c.token_hash == token_hash, sessions.c.expires_at > now, people.c.disabled.is_(False))
    )
    return (await tx.execute(query)).first()


async def end_session(tx: AsyncConnection, token_hash: str) -> None:
    await tx.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


async def forget_expired_sessions(tx: AsyncConnection, *, now: datetime) -> None:
    await tx.execute(delete(sessions).where(sessions.c.expires_at <= now))


async def live_key_hashes(tx: AsyncConnection, service: str) -> list[str]:
    query = select(service_keys.c.key_hash).where(
        service_keys.c.service == service, service_keys.c.revoked_at.is_(None)
    )
    return list((await tx.execute(query)).scalars())


async def add_service_key(tx: AsyncConnection, *, service: str, key_hash: str, at: datetime) -> None:
    row = {"service": service, "key_hash": key_hash, "created_at": at}
    await tx.execute(insert(service_keys).values(row))


async def revoke_service_keys(tx: AsyncConnection, service: str, *, at: datetime, keep: Sequence[str] = ()) -> None:
    query = update(service_keys).where(
        service_keys.c.service == service,
        service_keys.c.revoked_at.is_(None),
        service_keys.c.key_hash.not_in(keep),
    )
    await tx.execute(query.values(revoked_at=at))

"""The journal in PostgreSQL. A stage moves by compare-and-set only."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Column, ColumnElement, and_, case, delete, desc, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.contracts.actions import ActionKind
from aegis.contracts.outcomes import Stage
from aegis.executor.guardrails.facts import Kill, WholeRevision
from aegis.executor.guardrails.reservations import PastAction
from aegis.executor.journal.tables import (
    Moment,
    healthy_revisions,
    journal,
    kills,
    plans,
    readings,
    storms,
    whole_revisions,
)
from aegis.kit.clock import SKEW
from aegis.kit.database import lock

RECEIVED = "received"
"""The stage of an order that nothing has been done about yet."""
LONGEST_ORDER = timedelta(minutes=15)
"""No order waits longer than this here, whatever it says of itself."""

_RESERVATIONS = 7_232_003
_WHOLE_REVISIONS = 7_232_004
_WHOLE_CLUSTER = "cluster"
_GUARDRAILS = "guardrails"
_UNDER_WAY = (Stage.ACTING, Stage.SETTLING, Stage.UNDOING)
_HELPED = {Stage.KEPT: True, Stage.RELEASED: True, Stage.UNDONE: False, Stage.ESCALATED: False}


async def add_plan(tx: AsyncConnection, *, hash: str, order_id: str, body: bytes, made_at: datetime) -> None:
    row = {"hash": hash, "order_id": order_id, "body": body, "made_at": made_at}
    await tx.execute(insert(plans).values(row).on_conflict_do_nothing())


async def find_plan(tx: AsyncConnection, plan_hash: str) -> bytes | None:
    return (await tx.execute(select(plans.c.body).where(plans.c.hash == plan_hash))).scalar_one_or_none()


async def receive(tx: AsyncConnection, row: dict[str, Any]) -> bool:
    """Write down that an order arrived; False where it did before: an order is carried out at most once."""
    added = await tx.execute(insert(journal).values(row).on_conflict_do_nothing().returning(journal.c.order_id))
    return added.first() is not None


async def find(tx: AsyncConnection, order_id: str) -> Any | None:
    return (await tx.execute(select(journal).where(journal.c.order_id == order_id))).first()


async def believe_clock(tx: AsyncConnection, *, now: datetime, longest_wait: timedelta) -> None:
    """Where the clock has gone back, bring what it would have to reach again back with it.

    What was done later than now counts as done now, and nothing is waited for longer than it ever is: or an undo would
    wait for as long as the clock was ahead.
    """
    row, latest, last_order = journal.c, now + longest_wait, now + LONGEST_ORDER
    later: dict[Column[datetime], tuple[datetime, datetime | None]] = {
        row.look_at: (latest, now),
        row.claimed_until: (latest, latest),
        row.expires_at: (last_order, last_order),
        row.acted_at: (now, now),
        row.undo_since: (now, now),
        row.well_since: (now, None),  # nobody knows what happened in the gap
    }
    is_ahead = or_(*(column > most + SKEW for column, (most, _) in later.items()))
    if (await tx.execute(select(row.order_id).where(is_ahead).limit(1))).first() is None:
        return
    values = {
        column.name: case((column > most, literal(instead, Moment)), else_=column)
        for column, (most, instead) in later.items()
    }
    ahead = row.acted_at - literal(now, Moment)
    lease_until = case((row.acted_at > now, row.lease_until - ahead), else_=row.lease_until)
    await tx.execute(update(journal).where(is_ahead).values(**values, lease_until=lease_until))


def _is_due(now: datetime) -> ColumnElement[bool]:
    free = or_(journal.c.claimed_until.is_(None), journal.c.claimed_until <= now)
    # What is held without an end waits for a person.
    waits_for_us = or_(journal.c.stage != Stage.HELD, journal.c.lease_until.is_not(None))
    return and_(journal.c.look_at <= now, free, waits_for_us, journal.c.concluded.is_(False))


async def due_stages(tx: AsyncConnection, *, now: datetime) -> frozenset[str]:
    """Return the stages of all orders that wait to be taken a step further, and that no other replica holds."""
    return frozenset((await tx.execute(select(journal.c.stage).where(_is_due(now)).distinct())).scalars())


async def claim(
    tx: AsyncConnection, stages: Collection[str], *, now: datetime, until: datetime, limit: int = 20
) -> Sequence[Any]:
    """Take rows in these stages that are due and that no other replica holds."""
    due = (
        select(journal.c.order_id)
        .where(journal.c.stage.in_(list(stages)), _is_due(now))
        .order_by(journal.c.look_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed = update(journal).where(journal.c.order_id.in_(due)).values(claimed_until=until).returning(journal)
    return list((await tx.execute(claimed)).all())


async def change(tx: AsyncConnection, order_id: str, *, in_stage: str, **values: Any) -> Any | None:
    """Change a row if it is still in that stage; return it as it is then, or None."""
    query = update(journal).where(journal.c.order_id == order_id, journal.c.stage == in_stage)
    return (await tx.execute(query.values(claimed_until=None, **values).returning(journal))).first()


async def lock_reservations(tx: AsyncConnection) -> None:
    """One at a time counts and takes, in the whole cluster, until the transaction ends."""
    await lock(tx, _RESERVATIONS)


async def past_actions(tx: AsyncConnection, *, since: datetime, besides: str) -> list[PastAction]:
    """Return orders that were begun since then or are still under way, other than this one."""
    query = select(journal).where(
        journal.c.acted_at.is_not(None),
        journal.c.concerns.is_(None),
        or_(journal.c.acted_at >= since, journal.c.stage.in_(_UNDER_WAY)),
        journal.c.order_id != besides,
    )
    return [
        PastAction(
            order_id=row.order_id,
            owner_uid=row.owner_uid,
            action=ActionKind(row.action),
            acted_at=row.acted_at,
            under_way=row.stage in _UNDER_WAY,
            helped=_has_helped(row),
        )
        for row in (await tx.execute(query)).all()
    ]


def _has_helped(row: Any) -> bool | None:
    """Say whether an action helped; None where nobody knows (yet). What is held without an end waits for a verdict."""
    if row.stage == Stage.HELD:
        return True if row.lease_until is not None else None
    return _HELPED.get(Stage(row.stage))


async def count_same_fixes(
    tx: AsyncConnection, *, owner_uid: str, action: ActionKind, spec_hash: str, since: datetime, besides: str
) -> int:
    """Count the orders that did the same to the same, other than this one, which may be begun already."""
    query = (
        select(func.count())
        .select_from(journal)
        .where(
            journal.c.owner_uid == owner_uid,
            journal.c.action == action,
            journal.c.spec_hash == spec_hash,
            journal.c.acted_at >= since,
            journal.c.concerns.is_(None),
            journal.c.order_id != besides,
        )
    )
    return int((await tx.execute(query)).scalar_one())


async def withdraw(tx: AsyncConnection, order_ids: Sequence[str]) -> Sequence[Any]:
    """Return rows of these orders that are not begun yet, locked."""
    query = select(journal).where(
        journal.c.order_id.in_(order_ids),
        journal.c.stage.in_([RECEIVED, Stage.BLOCKED]),
        journal.c.concluded.is_(False),
    )
    return (await tx.execute(query.with_for_update(skip_locked=True))).all()


async def count_by_stage(tx: AsyncConnection) -> dict[str, int]:
    query = select(journal.c.stage, func.count()).group_by(journal.c.stage)
    return {row[0]: row[1] for row in (await tx.execute(query)).all()}


async def note_whole(
    tx: AsyncConnection, seen: Sequence[WholeRevision], *, at: datetime, healthy_after: timedelta
) -> None:
    """Note what is whole now; what has been so for long enough, with the same lives, is known to be healthy."""
    await lock(tx, _WHOLE_REVISIONS)
    known = whole_revisions.c
    if seen:
        statement = insert(whole_revisions)
        new = statement.excluded
        goes_on = and_(known.template_hash == new.template_hash, known.lives == new.lives, known.since <= at)
        again = {
            "template_hash": new.template_hash, "lives": new.lives, "seen_at": at,
            "since": case((goes_on, known.since), else_=new.since),
        }  # fmt: skip
        # One after the other: a single statement's parameters would run out in a large cluster.
        rows = [{**asdict(one), "since": at, "seen_at": at} for one in seen]
        await tx.execute(statement.on_conflict_do_update(index_elements=["owner_uid"], set_=again), rows)
    await tx.execute(delete(whole_revisions).where(known.seen_at != at))
    lasting = select(known.owner_uid, known.template_hash, known.seen_at).where(known.since <= at - healthy_after)
    remembered = insert(healthy_revisions).from_select(["owner_uid", "template_hash", "seen_at"], lasting)
    await tx.execute(
        remembered.on_conflict_do_update(
            index_elements=["owner_uid", "template_hash"], set_={"seen_at": remembered.excluded.seen_at}
        )
    )


async def seen_healthy(tx: AsyncConnection, owner_uid: str) -> frozenset[str]:
    query = select(healthy_revisions.c.template_hash).where(healthy_revisions.c.owner_uid == owner_uid)
    return frozenset((await tx.execute(query)).scalars())


async def remember_kills(tx: AsyncConnection, seen: Collection[Kill]) -> None:
    if seen:
        rows = [{"pod_uid": one.pod_uid, "container": one.container, "at": one.at} for one in seen]
        await tx.execute(insert(kills).on_conflict_do_nothing(), rows)


async def kills_seen(tx: AsyncConnection, pod_uids: Collection[str]) -> frozenset[Kill]:
    found = await tx.execute(select(kills).where(kills.c.pod_uid.in_(pod_uids)))
    return frozenset(Kill(row.pod_uid, row.container, row.at) for row in found)


async def note_reading(tx: AsyncConnection, *, at: datetime, bad: bool) -> datetime | None:
    """Remember when the whole cluster's health was read; return since when every reading was bad, if this one is."""
    row = {"of": _WHOLE_CLUSTER, "at": at, "bad_since": at if bad else None}
    again = {"at": at, "bad_since": func.least(readings.c.bad_since, at) if bad else None}
    noted = insert(readings).values(row).on_conflict_do_update(index_elements=["of"], set_=again)
    return cast("datetime | None", (await tx.execute(noted.returning(readings.c.bad_since))).scalar_one())


async def last_reading(tx: AsyncConnection) -> datetime | None:
    found = await tx.execute(select(readings.c.at).where(readings.c.of == _WHOLE_CLUSTER))
    return cast("datetime | None", found.scalar_one_or_none())


async def guardrails_since(tx: AsyncConnection) -> datetime | None:
    """Return since when the operator's ConfigMap says something; None if it said nothing when it was last read."""
    found = await tx.execute(select(readings.c.at).where(readings.c.of == _GUARDRAILS))
    return cast("datetime | None", found.scalar_one_or_none())


async def remember_guardrails(tx: AsyncConnection, *, at: datetime) -> None:
    await tx.execute(insert(readings).values(of=_GUARDRAILS, at=at).on_conflict_do_nothing())


async def forget_guardrails(tx: AsyncConnection) -> None:
    await tx.execute(delete(readings).where(readings.c.of == _GUARDRAILS))


async def current_storm(tx: AsyncConnection) -> Any | None:
    query = select(storms).where(storms.c.ended_at.is_(None)).order_by(desc(storms.c.since)).limit(1)
    return (await tx.execute(query)).first()


async def begin_storm(tx: AsyncConnection, at: datetime) -> None:
    await tx.execute(insert(storms).values(since=at, last_bad_at=at).on_conflict_do_nothing())


async def prolong_storm(tx: AsyncConnection, since: datetime, *, at: datetime) -> None:
    await tx.execute(update(storms).where(storms.c.since == since).values(last_bad_at=at))


async def end_storm(tx: AsyncConnection, since: datetime, *, at: datetime) -> None:
    await tx.execute(update(storms).where(storms.c.since == since).values(ended_at=at))


async def forget_old(tx: AsyncConnection, *, before: datetime) -> None:
    """Drop plans that no order refers to any more, and health and kills seen long ago."""
    used = select(journal.c.plan_hash).where(and_(journal.c.plan_hash == plans.c.hash)).exists()
    await tx.execute(delete(plans).where(plans.c.made_at < before, ~used))
    await tx.execute(delete(kills).where(kills.c.at < before))
    await tx.execute(delete(healthy_revisions).where(healthy_revisions.c.seen_at < before - timedelta(days=30)))

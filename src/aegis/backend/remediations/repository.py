"""Remediations, their work, outcomes and approvals in PostgreSQL. State moves by compare-and-set only."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from zlib import crc32

from sqlalchemy import delete, desc, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backend.remediations.lifecycle import CONCLUDABLE, CONCLUDED, FAILED, HELPED, NOT_YET_ACTING
from aegis.backend.remediations.tables import approvals, outcomes, remediations, work_items
from aegis.contracts.actions import ActionKind
from aegis.contracts.approvals import Approval
from aegis.contracts.decisions import Decision
from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.remediations import Remediation, RemediationState
from aegis.kit.clock import SKEW
from aegis.kit.database import lock

CONCLUSIONS = tuple(CONCLUDABLE)
"""The kinds of work that a person orders about what was done already."""


async def add(tx: AsyncConnection, row: dict[str, Any]) -> None:
    await tx.execute(insert(remediations).values(row))


async def lock_target(tx: AsyncConnection, uid: str) -> None:
    """Let two proposals for the same target in one after the other."""
    await lock(tx, crc32(f"target:{uid}".encode()))


async def find_same(
    tx: AsyncConnection, *, proposal_id: str, dedupe_key: str, unless: Collection[RemediationState]
) -> Any | None:
    """Return the remediation of this very proposal, or of the same thing unless it ended in one of these states."""
    same = (remediations.c.dedupe_key == dedupe_key) & remediations.c.state.not_in(list(unless))
    query = (
        select(remediations)
        .where(or_(remediations.c.proposal_id == proposal_id, same))
        .order_by(desc(remediations.c.proposed_at))
        .limit(1)
    )
    return (await tx.execute(query)).first()


async def find_waiting(tx: AsyncConnection, *, action: ActionKind, uid: str) -> Any | None:
    """Return what is to be done to a target and is not begun yet, for whichever incident."""
    proposed = remediations.c.proposal
    query = select(remediations).where(
        remediations.c.state.in_(NOT_YET_ACTING),
        proposed["action"]["kind"].astext == action.value,
        proposed["target"]["uid"].astext == uid,
    )
    return (await tx.execute(query.order_by(desc(remediations.c.proposed_at)).limit(1))).first()


async def find_helper(tx: AsyncConnection, *, incident_ids: Collection[str], owner: str, since: datetime) -> Any | None:
    """Return a remediation of these incidents, or of this owner, that was carried out since then and did no harm."""
    query = select(remediations).where(
        remediations.c.state.in_(HELPED | {RemediationState.SETTLING}),
        remediations.c.updated_at >= since,
        or_(remediations.c.incident_id.in_(incident_ids), remediations.c.proposal["owner"]["uid"].astext == owner),
    )
    return (await tx.execute(query.order_by(desc(remediations.c.updated_at)).limit(1))).first()


async def add_requester(
    tx: AsyncConnection, remediation_id: str, requesters: Sequence[str], *, incident_key: str
) -> None:
    """Note who wants it, too, and with which incident it ends."""
    query = update(remediations).where(remediations.c.id == remediation_id)
    await tx.execute(query.values(requesters=list(requesters), incident_key=incident_key))


async def take(
    tx: AsyncConnection, *states: RemediationState, due: datetime | None = None, after: str = "", limit: int = 20
) -> Sequence[Any]:
    """Lock some remediations in these states that no other replica is working on, in the order of their ids.

    With `due`, only those that were to hear of somebody by then; with `after`, only those behind that id.
    """
    query = select(remediations).where(remediations.c.state.in_(states), remediations.c.id > after)
    if due is not None:
        query = query.where(remediations.c.expires_at <= due)
    query = query.order_by(remediations.c.id).limit(limit).with_for_update(skip_locked=True)
    return (await tx.execute(query)).all()


async def take_answered(tx: AsyncConnection, *, now: datetime) -> Sequence[Any]:
    """Lock what waits for approval and about which somebody has spoken, or whose time is over."""
    spoken = select(approvals.c.id).where(approvals.c.remediation_id == remediations.c.id).exists()
    query = select(remediations).where(
        remediations.c.state == RemediationState.AWAITING_APPROVAL, or_(spoken, remediations.c.expires_at <= now)
    )
    return (await tx.execute(query.order_by(remediations.c.id).with_for_update(skip_locked=True))).all()


async def is_any_open(tx: AsyncConnection) -> bool:
    """Whether any remediation, or any person's order to conclude one, still waits for something."""
    waits = select(remediations.c.id).where(remediations.c.state.not_in(CONCLUDED)).exists()
    ordered = select(work_items.c.id).where(work_items.c.kind.in_(CONCLUSIONS), work_items.c.done.is_(False)).exists()
    return bool((await tx.execute(select(or_(waits, ordered)))).scalar_one())


async def rules_that_failed(tx: AsyncConnection, *, in_a_row: int, since: datetime) -> frozenset[str]:
    """Return the policy rules whose last so many actions were all undone or given up, and all of them since then."""
    rule = remediations.c.decision["rule"].astext
    # Held without an end: nobody can tell whether it helped, until a person says so.
    waits = (remediations.c.state == RemediationState.HELD) & remediations.c.expires_at.is_(None)
    latest = (
        select(
            rule.label("rule"),
            remediations.c.state.in_(FAILED).label("failed"),
            func.row_number().over(partition_by=rule, order_by=desc(remediations.c.updated_at)).label("nth"),
        )
        .where(remediations.c.state.in_(HELPED | FAILED), ~waits, remediations.c.updated_at >= since, rule != "")
        .subquery()
    )
    query = select(latest.c.rule).where(latest.c.nth <= in_a_row).group_by(latest.c.rule)
    query = query.having(func.count() == in_a_row, func.bool_and(latest.c.failed))
    return frozenset((await tx.execute(query)).scalars())


async def note(tx: AsyncConnection, remediation_id: str, *, reason: str) -> None:
    """Remember why nothing has come of it so far; its state stays."""
    await tx.execute(update(remediations).where(remediations.c.id == remediation_id).values(reason=reason[:4000]))


async def heard_again(tx: AsyncConnection, remediation_id: str, *, at: datetime, answer_due: datetime | None) -> None:
    """Remember that the Executor is still at it; the state stays."""
    heard = {"updated_at": at, "expires_at": answer_due}
    await tx.execute(update(remediations).where(remediations.c.id == remediation_id).values(heard))


async def take_one(tx: AsyncConnection, remediation_id: str) -> Any | None:
    query = select(remediations).where(remediations.c.id == remediation_id).with_for_update()
    return (await tx.execute(query)).first()


async def move(
    tx: AsyncConnection, remediation_id: str, *, now_in: RemediationState, to: RemediationState, **values: Any
) -> bool:
    """Change the state if it is still `now_in`; False where somebody else was first."""
    query = update(remediations).where(remediations.c.id == remediation_id, remediations.c.state == now_in)
    moved = await tx.execute(query.values(state=to, **values).returning(remediations.c.id))
    return moved.first() is not None


async def show(tx: AsyncConnection, remediation_id: str) -> Remediation | None:
    row = (await tx.execute(select(remediations).where(remediations.c.id == remediation_id))).first()
    return await _complete(tx, row) if row is not None else None


async def namespaces(tx: AsyncConnection) -> list[str]:
    """Return every namespace that has or had a remediation."""
    return list((await tx.execute(select(remediations.c.namespace).distinct())).scalars())


async def page(
    tx: AsyncConnection,
    *,
    namespaces: Collection[str],
    state: RemediationState | None,
    incident_id: str | None,
    limit: int,
) -> list[Remediation]:
    query = select(remediations).where(remediations.c.namespace.in_(namespaces))
    query = query.order_by(desc(remediations.c.proposed_at)).limit(limit)
    if state is not None:
        query = query.where(remediations.c.state == state)
    if incident_id is not None:
        query = query.where(remediations.c.incident_id == incident_id)
    return [await _complete(tx, row) for row in (await tx.execute(query)).all()]


async def count_by_state(tx: AsyncConnection, *, namespaces: Collection[str] | None = None) -> dict[str, int]:
    """Count remediations, everywhere unless it is said where."""
    query = select(remediations.c.state, func.count()).group_by(remediations.c.state)
    if namespaces is not None:
        query = query.where(remediations.c.namespace.in_(namespaces))
    return {row[0]: row[1] for row in (await tx.execute(query)).all()}


async def add_outcome(tx: AsyncConnection, outcome: Outcome) -> bool:
    """Return False, changing nothing, where this report came before."""
    row = {
        "order_id": outcome.order_id,
        "sequence": outcome.sequence,
        "remediation_id": outcome.remediation_id,
        "body": outcome.model_dump(mode="json"),
    }
    added = await tx.execute(insert(outcomes).values(row).on_conflict_do_nothing().returning(outcomes.c.position))
    return added.first() is not None


async def outcomes_of(tx: AsyncConnection, remediation_id: str) -> tuple[Outcome, ...]:
    query = select(outcomes.c.body).where(outcomes.c.remediation_id == remediation_id).order_by(outcomes.c.position)
    return tuple(Outcome.model_validate(body) for body in (await tx.execute(query)).scalars())


async def last_said(tx: AsyncConnection, order_id: str) -> Stage | None:
    """Return the stage of the last report about an order."""
    query = select(outcomes.c.body["stage"].astext).where(outcomes.c.order_id == order_id)
    found = (await tx.execute(query.order_by(desc(outcomes.c.sequence)).limit(1))).scalar_one_or_none()
    return Stage(found) if found is not None else None


async def outcomes_after(tx: AsyncConnection, position: int, *, limit: int) -> list[tuple[int, Outcome]]:
    query = select(outcomes.c.position, outcomes.c.body).where(outcomes.c.position > position)
    rows = (await tx.execute(query.order_by(outcomes.c.position).limit(limit))).all()
    return [(row.position, Outcome.model_validate(row.body)) for row in rows]


async def add_work(
    tx: AsyncConnection,
    *,
    id: str,
    kind: str,
    remediation_id: str,
    body: Any,
    created_at: datetime,
    expires_at: datetime,
) -> None:
    row = {
        "id": id,
        "kind": kind,
        "remediation_id": remediation_id,
        "body": body,
        "created_at": created_at,
        "expires_at": expires_at,
        "done": False,
    }
    await tx.execute(insert(work_items).values(row).on_conflict_do_nothing())


async def claim_work(
    tx: AsyncConnection, *, replica: str, now: datetime, until: datetime, limit: int = 20
) -> Sequence[Any]:
    """Hand out what nobody has claimed, or whose claim ran out; no claim lasts longer than `until`."""
    claimed = work_items.c.claimed_until
    # A claim that is longer than any was made before the clock went back.
    free = or_(claimed.is_(None), claimed <= now, claimed > until + SKEW)
    chosen = (
        select(work_items.c.id)
        .where(work_items.c.done.is_(False), work_items.c.withdrawn_at.is_(None), work_items.c.expires_at > now, free)
        .order_by(work_items.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claim = update(work_items).where(work_items.c.id.in_(chosen)).values(claimed_by=replica, claimed_until=until)
    return (await tx.execute(claim.returning(work_items.c.kind, work_items.c.body))).all()


async def is_taken_back(tx: AsyncConnection, row: Any) -> bool:
    """Whether a person has ordered to undo what this remediation did."""
    undo = (work_items.c.remediation_id == row.id) & (work_items.c.kind == "undo")
    return (await tx.execute(select(work_items.c.id).where(undo).limit(1))).first() is not None


async def pending_conclusion(tx: AsyncConnection, remediation_id: str, *, now: datetime) -> Any | None:
    """Return a person's order about this remediation that the Executor has not followed yet."""
    query = select(work_items).where(
        work_items.c.remediation_id == remediation_id,
        work_items.c.kind.in_(CONCLUSIONS),
        work_items.c.done.is_(False),
        work_items.c.expires_at > now,
    )
    return (await tx.execute(query.limit(1))).first()


async def finish_conclusions(tx: AsyncConnection, remediation_id: str, kind: str) -> None:
    """Note that what people ordered of this kind has come about."""
    query = update(work_items).where(work_items.c.remediation_id == remediation_id, work_items.c.kind == kind)
    await tx.execute(query.values(done=True))


async def take_unheard_conclusions(tx: AsyncConnection, *, due: datetime) -> Sequence[Any]:
    """Close and return people's orders to conclude something that expired by then, and no Executor answered."""
    query = update(work_items).where(
        work_items.c.kind.in_(CONCLUSIONS), work_items.c.done.is_(False), work_items.c.expires_at <= due
    )
    return list((await tx.execute(query.values(done=True).returning(work_items))).all())


async def finish_work(tx: AsyncConnection, work_id: str) -> bool:
    query = update(work_items).where(work_items.c.id == work_id, work_items.c.done.is_(False))
    return (await tx.execute(query.values(done=True).returning(work_items.c.id))).first() is not None


async def withdraw_work(tx: AsyncConnection, remediation_id: str, *, at: datetime) -> None:
    query = update(work_items).where(
        work_items.c.remediation_id == remediation_id,
        work_items.c.done.is_(False),
        work_items.c.kind != "announcement",
    )
    await tx.execute(query.values(withdrawn_at=at))


async def withdrawn_orders(tx: AsyncConnection, *, since: datetime) -> tuple[str, ...]:
    query = select(work_items.c.id).where(work_items.c.kind == "order", work_items.c.withdrawn_at > since)
    return tuple((await tx.execute(query)).scalars())


async def add_approval(tx: AsyncConnection, approval: Approval) -> bool:
    """Return False, changing nothing, where this person spoke about this plan before."""
    added = await tx.execute(
        insert(approvals).values(approval.model_dump()).on_conflict_do_nothing().returning(approvals.c.id)
    )
    return added.first() is not None


async def ask_anew(tx: AsyncConnection, remediation_id: str, *, decision: Decision, at: datetime) -> None:
    """Let a new decision stand, and forget what people said under the one before; the audit trail keeps it."""
    await tx.execute(delete(approvals).where(approvals.c.remediation_id == remediation_id))
    row = {"decision": decision.model_dump(mode="json"), "updated_at": at}
    await tx.execute(update(remediations).where(remediations.c.id == remediation_id).values(row))


async def approvals_of(tx: AsyncConnection, remediation_id: str) -> tuple[Approval, ...]:
    query = select(approvals).where(approvals.c.remediation_id == remediation_id).order_by(approvals.c.given_at)
    return tuple(Approval.model_validate(row._asdict()) for row in (await tx.execute(query)).all())


async def _complete(tx: AsyncConnection, row: Any) -> Remediation:
    found = row._asdict()
    return Remediation.model_validate(
        found | {"approvals": await approvals_of(tx, row.id), "outcomes": await outcomes_of(tx, row.id)}
    )

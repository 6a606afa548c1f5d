"""Drive each remediation from proposal to conclusion, one step at a time.

Request handlers remember; `step` acts. Every move of a state is one compare-and-set, in one transaction with its
audit entry and with whatever follows from it, so that N replicas are as good as one.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.identity import repository as identity_repository
from aegis.backend.identity.roles import PERSON, Principal
from aegis.backend.incidents import repository as incident_repository
from aegis.backend.notifications.notifier import Notifier, of_incident
from aegis.backend.policy_store.store import PolicySet, PolicyStore
from aegis.backend.ports import BackendPorts
from aegis.backend.remediations import orders, repository
from aegis.backend.remediations.consent import is_consent, objection
from aegis.backend.remediations.lifecycle import (
    CONCLUDED,
    NOT_YET_ACTING,
    WITH_THE_EXECUTOR,
    is_allowed,
    known_to_executor,
    state_of,
)
from aegis.backend.remediations.orders import Conclusion
from aegis.contracts.actions import Action, is_as_asked
from aegis.contracts.approvals import Approval
from aegis.contracts.decisions import Decision, Effect
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.findings import Severity
from aegis.contracts.orders import Announcement
from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.plans import Plan, Rehearsal, RehearsalResult, RehearsalStatus
from aegis.contracts.proposals import Proposal
from aegis.contracts.remediations import RemediationState as S
from aegis.contracts.targets import TargetFacts
from aegis.kit.database import Transaction, notify, savepoint
from aegis.kit.errors import ConflictError, TemporaryError
from aegis.policy.decide import FAILURES_COUNT_FOR, FAILURES_THAT_DEMOTE, Context, decide

log = logging.getLogger(__name__)

WORK = "aegis_work"
BACKEND = "service:backend"
_ANNOUNCED = frozenset({S.KEPT, S.HELD, S.RELEASED, S.UNDONE, S.ESCALATED})
_BRINGS_ABOUT: Mapping[S, Conclusion] = {S.UNDOING: "undo", S.UNDONE: "undo", S.RELEASED: "undo", S.KEPT: "keep"}
"""What people may have ordered that has come about in these states."""
_TRY_AGAIN = frozenset({S.EXPIRED, S.CANCELLED})
"""After these the same thing may be proposed anew; a person may ask again whatever came of it."""


@dataclass(frozen=True)
class Remediator:
    ports: BackendPorts
    trail: AuditTrail
    notifier: Notifier
    policies: PolicyStore

    async def propose(self, tx: Transaction, proposal: Proposal, *, actor: str) -> str:
        """Remember a proposal; return the id of its remediation, which may be one that is under way.

        The same incident, action and target is one remediation, however often it is proposed and by whomever; a person
        joins whatever waits to be done to the target. Whoever asked is among its requesters, and so cannot approve it.
        """
        is_person = not actor.startswith("service:")
        return await self._propose(
            tx, proposal, actor=actor, is_person=is_person, over=CONCLUDED if is_person else _TRY_AGAIN
        )

    async def _propose(
        self, tx: Transaction, proposal: Proposal, *, actor: str, is_person: bool, over: Collection[S]
    ) -> str:
        """Remember a proposal, or join what is the same; what is in one of the states in `over` is not."""
        key = _dedupe_key(proposal)
        await repository.lock_target(tx, proposal.target.uid)
        same = await repository.find_same(tx, proposal_id=proposal.id, dedupe_key=key, unless=over)
        if same is None and is_person:
            same = await repository.find_waiting(tx, action=proposal.action.kind, uid=proposal.target.uid)
        if same is None:
            return await self._add(tx, proposal, dedupe_key=key, actor=actor)
        await self._join(tx, same, proposal, actor=actor, is_person=is_person)
        return str(same.id)

    async def _join(self, tx: Transaction, row: Any, proposal: Proposal, *, actor: str, is_person: bool) -> None:
        """Count whoever asks among the requesters; people, unlike the AI Engine, mean exactly what they ask for.

        What a person wants, too, ends with the incident that this person has named, or with none.
        """
        under_way = Proposal.model_validate(row.proposal).action
        if is_person and not is_as_asked(under_way, proposal.action):
            raise ConflictError(
                f"{row.id} is under way on the same target, and would {_spelled(under_way)}",
                field="action",
                value=_spelled(proposal.action),
                hint=f"`aegis remediations show {row.id}` shows it; ask again when it is concluded.",
            )
        if actor not in row.requesters:
            ends_with = proposal.incident_key if is_person else row.incident_key
            await repository.add_requester(tx, row.id, [*row.requesters, actor], incident_key=ends_with)
            await self.trail.record(tx, actor=actor, event="remediation:requested", subject=row.id)

    async def _add(self, tx: Transaction, proposal: Proposal, *, dedupe_key: str, actor: str) -> str:
        now = self.ports.clock.now()
        remediation_id = self.ports.ids.new("rem", now)
        incident = await incident_repository.find_by_key(tx, proposal.incident_key)
        await repository.add(
            tx,
            {
                "id": remediation_id,
                "incident_id": incident.id if incident is not None else "",
                "incident_key": proposal.incident_key,
                "order_id": self.ports.ids.new("ord", now),
                "proposal_id": proposal.id,
                "dedupe_key": dedupe_key,
                "namespace": proposal.target.namespace or "",
                "state": S.PROPOSED,
                "reason": "",
                "requesters": [actor],
                "proposal": proposal.model_dump(mode="json"),
                "checks": [],
                "proposed_at": now,
                "updated_at": now,
            },
        )
        detail = {
            "action": proposal.action.kind.value,
            "target": str(proposal.target),
            "cause": proposal.cause.value,
            "confidence": proposal.confidence,
            "rationale": proposal.rationale,
        }
        await self.trail.record(tx, actor=actor, event="remediation:proposed", subject=remediation_id, detail=detail)
        return remediation_id

    async def step(self) -> None:
        """Do what follows from what was remembered. What cannot be worked out keeps nothing else from its turn."""
        async with self.ports.database.reading() as tx:
            if not await repository.is_any_open(tx):
                return
        # First of all: nobody decides or orders anything for an incident that is over.
        await self._cancel_what_resolved()
        failed: list[Exception] = []
        for part in (
            self._rehearse_what_was_proposed,
            self._decide_what_was_rehearsed,
            self._follow_up_approvals,
            self._give_up_on_rehearsals,
            self._report_silence,
            self._report_unheard_people,
        ):
            try:
                await part()
            except TemporaryError:
                raise
            except Exception as error:  # noqa: BLE001 (raised when all others had their turn)
                failed.append(error)
        if failed:
            raise failed[0]

    async def _each(self, tx: Transaction, rows: Iterable[Any], handle: Callable[[Any], Awaitable[None]]) -> None:
        """Handle each row by itself: one that nobody can work out is handed to a person, and keeps no other waiting."""
        for row in rows:
            try:
                async with savepoint(tx):
                    await handle(row)
            except TemporaryError:
                raise
            except Exception as error:
                log.exception("remediation %s, which is %s, cannot be worked out", row.id, row.state)
                await self._hand_over(tx, row, error)

    async def _hand_over(self, tx: Transaction, row: Any, error: Exception) -> None:
        # Its words may hold values of the cluster: those stay in our own log.
        why = f"the Backend cannot work it out: {type(error).__name__}; its log says more"
        then = S.ESCALATED
        if row.state in NOT_YET_ACTING:
            await repository.withdraw_work(tx, row.id, at=self.ports.clock.now())
            then = S.CANCELLED
        await self._move(tx, row, then, actor=BACKEND, reason=why)
        await self._call_a_person(tx, row, about="broken", why=why)

    async def take_rehearsal(self, tx: Transaction, result: RehearsalResult) -> None:
        """Remember what came of a rehearsal. Answers that come twice, or too late, change nothing."""
        row = await repository.take_one(tx, result.remediation_id)
        if row is None or row.state != S.REHEARSING:
            return
        if result.status is RehearsalStatus.FAILED:
            await repository.note(tx, row.id, reason=result.reason)
            return
        await repository.finish_work(tx, result.rehearsal_id)
        facts = result.plan.facts if result.plan is not None else result.facts
        values: dict[str, Any] = {
            "checks": [check.model_dump(mode="json") for check in result.checks],
            "facts": facts.model_dump(mode="json") if facts is not None else None,
            "plan": result.plan.model_dump(mode="json") if result.plan is not None else None,
        }
        if result.status is RehearsalStatus.PLANNED and result.plan is not None:
            detail = {"plan_hash": result.plan.hash, "summary": result.plan.summary}
            await self._move(tx, row, S.DECIDING, actor="service:executor", detail=detail, **values)
        else:
            await self._move(tx, row, S.REFUSED, actor="service:executor", reason=result.reason, **values)
            if facts is None or _may_act(facts):
                await self._call_for_what_is_left(tx, row, why=f"refused: {result.reason}")

    async def take_outcome(self, tx: Transaction, outcome: Outcome) -> None:
        """Remember a report about an order, once, and move the remediation where the report says."""
        row = await repository.take_one(tx, outcome.remediation_id)
        if row is None:
            return
        before = await self.known_to_executor(tx, row)
        if not await repository.add_outcome(tx, outcome):
            return
        if outcome.stage is not Stage.BLOCKED:
            await repository.finish_work(tx, outcome.order_id)
        if outcome.order_id != row.order_id:
            await self._tell_that_nothing_came_of_it(tx, row, outcome)
            return
        then = state_of(outcome.stage)
        if then in _BRINGS_ABOUT:
            await repository.finish_conclusions(tx, row.id, _BRINGS_ABOUT[then])
        if is_allowed(S(row.state), then, known=before):
            await self._follow_outcome(tx, row, then, outcome)
        else:
            await self._note_late(tx, row, outcome, was_silent=before != row.state)
        if outcome.escalate or then is S.ESCALATED:
            await self._escalate(tx, row, why=outcome.reason, outcome=outcome)

    async def _follow_outcome(self, tx: Transaction, row: Any, then: S, outcome: Outcome) -> None:
        detail = {"order_id": outcome.order_id, "stage": outcome.stage.value}
        if outcome.guardrail:
            detail["guardrail"] = outcome.guardrail
        if outcome.verification is not None:
            detail["verification"] = outcome.verification.judgement.value
        due = self._answer_due(row, then)
        if then == row.state:
            await repository.heard_again(tx, row.id, at=self.ports.clock.now(), answer_due=due)
        await self._move(
            tx, row, then, actor="service:executor", reason=outcome.reason, detail=detail, expires_at=due
        )  # fmt: skip
        if then is S.REFUSED or (then is S.EXPIRED and not await self._try_next_rung(tx, row)):
            await self._call_for_what_is_left(tx, row, why=f"{then.value}: {outcome.reason}")
        # Whoever took it back knows of it, and wants nothing else tried instead.
        if then is S.UNDONE and not await repository.is_taken_back(tx, row):
            await self._after_undone(tx, row, outcome)

    async def _note_late(self, tx: Transaction, row: Any, outcome: Outcome, *, was_silent: bool) -> None:
        detail = {"stage": outcome.stage.value, "state": row.state, "reason": outcome.reason}
        await self.trail.record(tx, actor="service:executor", event="outcome:late", subject=row.id, detail=detail)
        if was_silent and outcome.reason:
            await repository.note(tx, row.id, reason=outcome.reason)

    async def known_to_executor(self, tx: Transaction, row: Any) -> S:
        """Return where the Executor has brought a remediation, which may be escalated only because it was silent."""
        said = await repository.last_said(tx, row.order_id) if row.state == S.ESCALATED else None
        return known_to_executor(S(row.state), said)

    async def conclude(self, tx: Transaction, row: Any, purpose: Conclusion, *, by: str) -> str:
        """Order to take back what was done, or to keep it; return the id of the order, which may have been given."""
        pending = await repository.pending_conclusion(tx, row.id, now=self.ports.clock.now())
        if pending is not None:
            if pending.kind == purpose:
                return str(pending.id)
            raise ConflictError(
                f"somebody has ordered to {pending.kind} it, and the Executor has not answered yet",
                hint=f"`aegis remediations show {row.id}` tells what becomes of it.",
            )
        plan, proposal = Plan.model_validate(row.plan), Proposal.model_validate(row.proposal)
        order, envelope = orders.conclude(
            self.ports, purpose=purpose, remediation_id=row.id, proposal=proposal, plan=plan, by=by
        )
        await self._hand_out(
            tx,
            order.id,
            purpose,
            remediation_id=row.id,
            body=envelope.model_dump(mode="json"),
            expires_at=order.expires_at,
        )
        detail = {"order_id": order.id, "purpose": purpose, "concerns": order.concerns}
        await self.trail.record(tx, actor=by, event="order:issued", subject=row.id, detail=detail)
        return order.id

    async def reject(self, tx: Transaction, row: Any, *, by: str, reason: str) -> None:
        await self._move(
            tx, row, S.DENIED, actor=by, reason=f"rejected by {by}: {reason}" if reason else f"rejected by {by}"
        )

    async def _rehearse_what_was_proposed(self) -> None:
        async with self.ports.database.transaction() as tx:
            await self._each(tx, await repository.take(tx, S.PROPOSED), partial(self._rehearse, tx))

    async def _rehearse(self, tx: Transaction, row: Any) -> None:
        now = self.ports.clock.now()
        rehearsal = Rehearsal(
            id=self.ports.ids.new("reh", now),
            remediation_id=row.id,
            order_id=row.order_id,
            proposal=Proposal.model_validate(row.proposal),
            requested_at=now,
            expires_at=now + self.ports.settings.rehearsal_lifetime,
        )
        await self._hand_out(
            tx,
            rehearsal.id,
            "rehearsal",
            remediation_id=row.id,
            body=rehearsal.model_dump(mode="json"),
            expires_at=rehearsal.expires_at,
        )
        await self._move(tx, row, S.REHEARSING, actor=BACKEND, expires_at=rehearsal.expires_at)

    async def _decide_what_was_rehearsed(self) -> None:
        async with self.ports.database.transaction() as tx:
            rows = await repository.take(tx, S.DECIDING)
            if not rows:
                return
            in_force = await self.policies.in_force(tx)
            now = self.ports.clock.now()
            demoted = await repository.rules_that_failed(
                tx, in_a_row=FAILURES_THAT_DEMOTE, since=now - FAILURES_COUNT_FOR
            )
            context = Context(now=now, policy_version=in_force.version, demoted=demoted)

            async def follow_decision(row: Any) -> None:
                plan = Plan.model_validate(row.plan)
                decision = decide(Proposal.model_validate(row.proposal), plan, in_force.policies, context)
                await self._follow(tx, row, plan, decision)

            await self._each(tx, rows, follow_decision)

    async def _follow(self, tx: Transaction, row: Any, plan: Plan, decision: Decision) -> None:
        decided = {"decision": decision.model_dump(mode="json")}
        await self._tell_decision(tx, row, plan, decision)
        reason = "; ".join(decision.reasons)
        if not _may_act(plan.facts):
            then = S.OBSERVED if plan.facts.mode == "observe" else S.DENIED
            why = f"mode {plan.facts.mode}: policy would say {decision.effect.value} ({reason})"
            await self._move(tx, row, then, actor=BACKEND, reason=why, **decided)
        elif decision.effect is Effect.DENY:
            await self._deny(tx, row, reason=reason, **decided)
        elif decision.effect is Effect.REQUIRE_APPROVAL:
            expires_at = self.ports.clock.now() + self.ports.settings.approval_lifetime
            await self._move(
                tx, row, S.AWAITING_APPROVAL, actor=BACKEND, reason=reason, expires_at=expires_at, **decided
            )
            await self._ask_for_approval(tx, row, plan, decision, expires_at=expires_at)
        else:
            await self._order(tx, row, plan, decision, reason=reason)

    async def _deny(self, tx: Transaction, row: Any, *, reason: str, **decided: Any) -> None:
        await self._move(tx, row, S.DENIED, actor=BACKEND, reason=reason, **decided)
        if not await self._try_next_rung(tx, row):
            await self._call_for_what_is_left(tx, row, why=f"denied: {reason}")

    async def _tell_decision(self, tx: Transaction, row: Any, plan: Plan, decision: Decision) -> None:
        detail = {"effect": decision.effect.value, "rule": decision.rule, "policy": decision.policy_version}
        await self.trail.record(
            tx, actor=BACKEND, event=f"decision:{decision.effect.value}", subject=row.id,
            detail=detail | {"reasons": list(decision.reasons), "plan_hash": plan.hash},
        )  # fmt: skip

    async def _order(
        self,
        tx: Transaction,
        row: Any,
        plan: Plan,
        decision: Decision,
        *,
        reason: str,
        approvals: tuple[Approval, ...] = (),
    ) -> None:
        order, envelope = orders.act(
            self.ports,
            remediation_id=row.id,
            proposal=Proposal.model_validate(row.proposal),
            plan=plan,
            decision=decision,
            approvals=approvals,
        )
        await self._hand_out(
            tx,
            order.id,
            "order",
            remediation_id=row.id,
            body=envelope.model_dump(mode="json"),
            expires_at=order.expires_at,
        )
        await self._move(
            tx, row, S.ORDERED, actor=BACKEND, reason=reason, expires_at=order.expires_at,
            decision=decision.model_dump(mode="json"),
        )  # fmt: skip
        detail = {"order_id": order.id, "plan_hash": plan.hash, "approvers": [one.approver for one in approvals]}
        await self.trail.record(tx, actor=BACKEND, event="order:issued", subject=row.id, detail=detail)

    async def _follow_up_approvals(self) -> None:
        async with self.ports.database.transaction() as tx:
            rows = await repository.take_answered(tx, now=self.ports.clock.now())
            if not rows:
                return
            in_force = await self.policies.in_force(tx)
            await self._each(tx, rows, partial(self._follow_up_approval, tx, in_force))

    async def _follow_up_approval(self, tx: Transaction, in_force: PolicySet, row: Any) -> None:
        now = self.ports.clock.now()
        plan, decision = Plan.model_validate(row.plan), Decision.model_validate(row.decision)
        given = await self._standing_approvals(tx, row, decision)
        if is_consent(given, plan_hash=plan.hash, decision=decision, now=now):
            await self._order_if_still_allowed(tx, row, plan, decision, in_force, approvals=given)
        elif row.expires_at <= now:
            await self._deny(tx, row, reason="nobody approved it in time")

    async def _standing_approvals(self, tx: Transaction, row: Any, decision: Decision) -> tuple[Approval, ...]:
        """Return what those have said who could say it now: a yes does not outlive the right to give it."""
        standing = []
        for given in await repository.approvals_of(tx, row.id):
            person = await identity_repository.find_person(tx, given.approver.removeprefix(PERSON))
            if person is None or person.disabled:
                continue
            principal = Principal.of_person(person)
            if objection(principal, requesters=row.requesters, decision=decision, namespace=row.namespace) is None:
                standing.append(given)
        return tuple(standing)

    async def _order_if_still_allowed(
        self,
        tx: Transaction,
        row: Any,
        plan: Plan,
        decision: Decision,
        in_force: PolicySet,
        *,
        approvals: tuple[Approval, ...],
    ) -> None:
        """A policy may have been saved since somebody was asked: what it says by now counts, not what it said then."""
        approvers = ", ".join(one.approver for one in approvals)
        context = Context(now=self.ports.clock.now(), policy_version=in_force.version)
        newest = decide(Proposal.model_validate(row.proposal), plan, in_force.policies, context)
        if newest.effect is Effect.DENY:
            reason = f"approved by {approvers}, and by now policy denies it: {'; '.join(newest.reasons)}"
            await self._deny(tx, row, reason=reason, decision=newest.model_dump(mode="json"))
        elif newest.effect is Effect.REQUIRE_APPROVAL and _asks_for_more(newest, decision):
            await self._ask_anew(tx, row, plan, newest)
        else:
            await self._order(tx, row, plan, decision, reason=f"approved by {approvers}", approvals=approvals)

    async def _ask_anew(self, tx: Transaction, row: Any, plan: Plan, decision: Decision) -> None:
        """What was said under the old rule no longer counts: whoever the new one names has to say it."""
        await repository.ask_anew(tx, row.id, decision=decision, at=self.ports.clock.now())
        await self._tell_decision(tx, row, plan, decision)
        await self._ask_for_approval(tx, row, plan, decision, expires_at=row.expires_at)

    async def _give_up_on_rehearsals(self) -> None:
        async with self.ports.database.transaction() as tx:
            rows = await repository.take(tx, S.REHEARSING, due=self.ports.clock.now())
            await self._each(tx, rows, partial(self._give_up_on_rehearsal, tx))

    async def _give_up_on_rehearsal(self, tx: Transaction, row: Any) -> None:
        tried = f"; one that tried said: {row.reason}" if row.reason else ""
        why = f"no Executor rehearsed it in time{tried}"
        await self._move(tx, row, S.EXPIRED, actor=BACKEND, reason=why)
        if not await self._try_next_rung(tx, row):
            await self._call_for_what_is_left(tx, row, why=f"expired: {why}")

    async def _cancel_what_resolved(self) -> None:
        seen_to = ""
        while True:
            async with self.ports.database.transaction() as tx:
                rows = await repository.take(tx, *NOT_YET_ACTING, after=seen_to)
                await self._each(tx, rows, partial(self._cancel_if_resolved, tx))
            if not rows:
                return
            seen_to = rows[-1].id

    async def _cancel_if_resolved(self, tx: Transaction, row: Any) -> None:
        incident = await incident_repository.find_survivor(tx, row.incident_key)
        if incident is None or incident.resolved_at is None or incident.resolved_at < row.proposed_at:
            return
        await repository.withdraw_work(tx, row.id, at=self.ports.clock.now())
        helper = await repository.find_helper(
            tx,
            incident_ids={incident.id, row.incident_id},
            owner=Proposal.model_validate(row.proposal).owner.uid,
            since=incident.opened_at,
        )
        why = "the incident resolved by itself" if helper is None else f"the incident is resolved, after {helper.id}"
        await self._move(tx, row, S.CANCELLED, actor=BACKEND, reason=why)

    async def _report_silence(self) -> None:
        due = self.ports.clock.now() - self.ports.settings.silence_limit
        async with self.ports.database.transaction() as tx:
            rows = await repository.take(tx, *WITH_THE_EXECUTOR, due=due)
            await self._each(tx, rows, partial(self._report_silence_about, tx))

    async def _report_silence_about(self, tx: Transaction, row: Any) -> None:
        why = f"the Executor has not said what became of it since {row.updated_at.isoformat()}"
        await self._move(tx, row, S.ESCALATED, actor=BACKEND, reason=why)
        await self._escalate(tx, row, why=why, outcome=None)

    async def _report_unheard_people(self) -> None:
        """Tell when a person's order to undo or to keep something ran out: it was accepted, and nothing came of it."""
        due = self.ports.clock.now() - self.ports.settings.claim_lifetime
        async with self.ports.database.transaction() as tx:
            for item in await repository.take_unheard_conclusions(tx, due=due):
                row = await repository.take_one(tx, item.remediation_id)
                assert row is not None
                why = f"the order to {item.kind} it expired at {item.expires_at.isoformat()}, and no Executor answered"
                detail = {"order_id": item.id, "reason": why}
                await self.trail.record(tx, actor=BACKEND, event="order:unheard", subject=row.id, detail=detail)
                await self._call_a_person(tx, row, about=item.id, why=why)

    async def _tell_that_nothing_came_of_it(self, tx: Transaction, row: Any, outcome: Outcome) -> None:
        """A person's order speaks for itself only where the order which it concerns does not: it was not followed."""
        detail = {"order_id": outcome.order_id, "reason": outcome.reason}
        event = f"order:{outcome.stage.value}"
        await self.trail.record(tx, actor="service:executor", event=event, subject=row.id, detail=detail)
        why = f"the order to conclude it is {outcome.stage.value}: {outcome.reason}"
        await self._call_a_person(tx, row, about=outcome.order_id, why=why)

    async def _after_undone(self, tx: Transaction, row: Any, outcome: Outcome) -> None:
        """Propose the ladder's next rung, or hand over to a person."""
        if await self._try_next_rung(tx, row):
            return
        why = f"undone, and nothing else is left to try: {outcome.reason}"
        undone = await repository.take_one(tx, row.id)
        await self._move(tx, undone, S.ESCALATED, actor=BACKEND, reason=why)
        await self._escalate(tx, row, why=why, outcome=outcome)

    async def _try_next_rung(self, tx: Transaction, row: Any) -> bool:
        """Propose what the playbook has left to try; False where nothing is left.

        What came to nothing is no longer under way: the next rung may be the same action with other settings.
        """
        proposal = Proposal.model_validate(row.proposal)
        if not proposal.ladder:
            return False
        now = self.ports.clock.now()
        rung = proposal.model_copy(
            update={
                "id": self.ports.ids.new("pro", now),
                "action": proposal.ladder[0],
                "ladder": proposal.ladder[1:],
                "proposed_at": now,
            }
        )
        await self._propose(tx, rung, actor=proposal.proposed_by, is_person=False, over=CONCLUDED)
        return True

    def _answer_due(self, row: Any, then: S) -> datetime | None:
        """Return by when the Executor should say something new about a remediation that gets into this state."""
        if then in (S.ORDERED, S.BLOCKED):
            return row.expires_at  # type: ignore[no-any-return]
        plan, now = Plan.model_validate(row.plan), self.ports.clock.now()
        if then is S.HELD:
            return now + plan.lease.maximum if plan.lease else None
        return now + plan.deadline if then in WITH_THE_EXECUTOR else None

    async def _move(
        self,
        tx: Transaction,
        row: Any,
        to: S,
        *,
        actor: str,
        reason: str = "",
        detail: dict[str, Any] | None = None,
        **values: Any,
    ) -> None:
        """Move a locked remediation, with its audit entry; a state it is in already is not entered again."""
        if row.state == to:
            return
        now = self.ports.clock.now()
        moved = await repository.move(
            tx, row.id, now_in=S(row.state), to=to, reason=reason[:4000], updated_at=now, **values
        )
        if not moved:
            return
        said = {"from": row.state, "reason": reason} | (detail or {})
        await self.trail.record(tx, actor=actor, event=f"remediation:{to.value}", subject=row.id, detail=said)
        if to in _ANNOUNCED:
            await self._announce(tx, row, to, reason=reason)

    async def _announce(self, tx: Transaction, row: Any, state: S, *, reason: str) -> None:
        now, proposal = self.ports.clock.now(), _readable(row)
        if proposal is None:
            return
        announcement = Announcement(
            id=self.ports.ids.new("ann", now),
            proposal=proposal,
            type="Warning" if state in (S.ESCALATED, S.UNDONE) else "Normal",
            reason="Aegis" + state.value.title().replace("_", ""),
            message=f"{proposal.action.kind.value} {state.value} ({row.id}): {reason}"[:1000],
        )
        await self._hand_out(
            tx,
            announcement.id,
            "announcement",
            remediation_id=row.id,
            body=announcement.model_dump(mode="json"),
            expires_at=now + timedelta(hours=1),
        )

    async def _hand_out(
        self, tx: Transaction, work_id: str, kind: str, *, remediation_id: str, body: Any, expires_at: datetime
    ) -> None:
        await repository.add_work(
            tx,
            id=work_id,
            kind=kind,
            remediation_id=remediation_id,
            body=body,
            created_at=self.ports.clock.now(),
            expires_at=expires_at,
        )
        await notify(tx, WORK)

    async def _ask_for_approval(
        self, tx: Transaction, row: Any, plan: Plan, decision: Decision, *, expires_at: datetime
    ) -> None:
        await self.notifier.notify(
            tx,
            key=f"approval:{row.id}",
            kind="approval_needed",
            severity=Severity.WARNING,
            title=f"approve? {plan.summary}",
            detail={
                "remediation_id": row.id,
                "plan_hash": plan.hash,
                "reasons": list(decision.reasons),
                "approvals_needed": decision.approvals_needed,
                "role": decision.approver_role,
                "until": expires_at.isoformat(),
                "how": f"aegis remediations approve {row.id}",
            },
        )

    async def _escalate(self, tx: Transaction, row: Any, *, why: str, outcome: Outcome | None) -> None:
        evidence = [] if outcome is None or outcome.verification is None else list(outcome.verification.reasons)
        # It may be heard, and fall silent again.
        silence = f"silence:{row.updated_at.isoformat()}"
        about = silence if outcome is None else f"{outcome.order_id}:{outcome.sequence}"
        await self._call_a_person(tx, row, about=about, why=why, evidence=evidence)

    async def _call_for_what_is_left(self, tx: Transaction, row: Any, *, why: str) -> None:
        """Nothing was done, and nothing else is left to try: call a person, if the trouble is still there.

        Whoever asked for it alone sees what came of it.
        """
        incident = await incident_repository.find_survivor(tx, row.incident_key)
        is_over = incident is not None and incident.resolved_at is not None
        if is_over or all(one.startswith(PERSON) for one in row.requesters):
            return
        await self._tell_a_person(
            tx, row, key=of_incident(incident.id if incident is not None else row.id), kind="needs_person", why=why
        )

    async def _call_a_person(
        self, tx: Transaction, row: Any, *, about: str, why: str, evidence: Sequence[str] = ()
    ) -> None:
        await self._tell_a_person(
            tx, row, key=f"escalated:{row.id}:{about}", kind="escalated", why=why, evidence=evidence
        )

    async def _tell_a_person(
        self, tx: Transaction, row: Any, *, key: str, kind: str, why: str, evidence: Sequence[str] = ()
    ) -> None:
        proposal = _readable(row)
        about = f"{proposal.target}: {proposal.action.kind.value}" if proposal is not None else row.id
        await self.notifier.notify(
            tx,
            key=key,
            kind=kind,
            severity=Severity.CRITICAL,
            title=f"{about} needs a person",
            detail={
                "remediation_id": row.id,
                "incident_id": row.incident_id,
                "cause": proposal.cause.value if proposal is not None else CauseKind.UNKNOWN.value,
                "why": why,
                "evidence": list(evidence),
            },
        )


def _may_act(facts: TargetFacts) -> bool:
    """Whether what is found good is done there; elsewhere it is only written down."""
    return facts.mode not in ("off", "observe")


def _readable(row: Any) -> Proposal | None:
    """Return what was proposed; None where nobody can read it any more: a person is called all the same."""
    try:
        return Proposal.model_validate(row.proposal)
    except ValidationError:
        return None


def _dedupe_key(proposal: Proposal) -> str:
    parts = (proposal.incident_key, proposal.action.kind.value, proposal.target.uid)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _spelled(action: Action) -> str:
    settings = {key: value for key, value in action.model_dump(mode="json").items() if key != "kind"}
    return " ".join([action.kind.value, *(f"{key}={value}" for key, value in settings.items())])


def _asks_for_more(newest: Decision, before: Decision) -> bool:
    return newest.approvals_needed > before.approvals_needed or newest.approver_role != before.approver_role

"""Begin an order: look again, check everything again, reserve, write it down, and only then write to the cluster."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag

from aegis.contracts.actions import ActionKind
from aegis.contracts.approvals import Approval, Verdict
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.plans import CheckResult, CheckVerdict
from aegis.executor.actions.base import CannotPlanError, is_stamped
from aegis.executor.actions.registry import REGISTRY
from aegis.executor.guardrails.checks import blast_radius_is_small, result_of, run_checks, strictest
from aegis.executor.guardrails.facts import Facts
from aegis.executor.guardrails.preflight import run_preflight
from aegis.executor.guardrails.reservations import ReservationLimits, taken
from aegis.executor.journal import repository
from aegis.executor.journal.plan import KeptPlan, PlanCipher
from aegis.executor.orders.look import Eyes, spec_hash
from aegis.executor.orders.record import Recorder
from aegis.executor.orders.rehearse import Rehearser
from aegis.executor.ports import ExecutorPorts, WriteRefusedError
from aegis.kit.errors import TemporaryError

log = logging.getLogger(__name__)

PAST_LOOKED_AT = timedelta(hours=2)
"""Long enough for every back-off; longer where a setting looks further back."""

LOOKED_AGAIN_WITHIN = timedelta(seconds=10)
"""What was seen longer ago is acted on by nobody."""


@dataclass(frozen=True)
class Beginner:
    ports: ExecutorPorts
    eyes: Eyes
    cipher: PlanCipher
    rehearser: Rehearser
    recorder: Recorder

    async def begin(self, row: Any) -> None:
        """Take one received or blocked order as far as it goes now."""
        order = Order.model_validate_json(row.order)
        if self.ports.clock.now() >= row.expires_at:
            await self._conclude(
                row, Stage.EXPIRED, f"expired at {row.expires_at.isoformat()}: {row.reason}".rstrip(": ")
            )
            return
        plan = await self.kept_plan(row)
        if plan is None:
            await self._conclude(row, Stage.REFUSED, "this Executor never made such a plan", guardrail="plan")
            return
        if not is_plan_for(order, plan):
            reason = f"the plan is to {plan.shown.summary}, and the order asks for something else"
            await self._conclude(row, Stage.REFUSED, reason, guardrail="plan")
            return
        looked_at = self.ports.clock.now()
        no = await self._checked_again(order, plan)
        if no is not None:
            await self._stop(row, no)
            return
        begun = await self._reserve(row, order, plan, looked_at=looked_at)
        if begun is not None:
            await self._write_in_time(begun, plan, looked_at=looked_at)

    async def kept_plan(self, row: Any) -> KeptPlan | None:
        """Return the plan that the order names by its hash; None if we never made it, or it was altered."""
        async with self.ports.database.reading() as tx:
            stored = await repository.find_plan(tx, row.plan_hash)
        if stored is None:
            return None
        try:
            plan = self.cipher.decrypt(row.plan_hash, stored)
        except InvalidTag:
            return None
        order_id = row.concerns or row.order_id
        return plan if plan.exact.hash == row.plan_hash and plan.exact.order_id == order_id else None

    async def _write_in_time(self, row: Any, plan: KeptPlan, *, looked_at: datetime) -> None:
        """Write, unless it has become too late: then `reconcile` looks again at what was begun and not done."""
        if self._too_late(row, looked_at) is None:
            await self.write(row, plan)
            return
        async with self.ports.database.transaction() as tx:
            await self.recorder.look_again(tx, row, after=self.ports.settings.look_interval)

    def _too_late(self, row: Any, looked_at: datetime) -> str | None:
        """Say why what was seen then must not be acted on any more: the reads and the lock may have taken long."""
        now = self.ports.clock.now()
        if now >= row.expires_at:
            return f"it expired at {row.expires_at.isoformat()}, while it was looked at"
        if abs(now - looked_at) > LOOKED_AGAIN_WITHIN:
            return f"the cluster was looked at for the last time {(now - looked_at).total_seconds():.0f} s before"
        return None

    async def write(self, row: Any, plan: KeptPlan) -> None:
        """Send the exact request of an order that is written down as begun."""
        try:
            await self.ports.cluster.send(plan.exact.request, dry_run=False)
        except WriteRefusedError as error:
            await self._after_refusal(row, plan, error)
        except TemporaryError as error:
            # Nobody knows whether it was written. The stamp on the object will tell; see `reconcile`.
            log.warning("order %s: %s", row.order_id, error)
        else:
            await self._settle(row, plan)

    async def reconcile(self, row: Any) -> None:
        """After a crash, or an answer that never came: the cluster itself says whether it was done."""
        plan = await self.kept_plan(row)
        if plan is None:
            await self._conclude(row, Stage.ESCALATED, "the plan that was begun cannot be read any more", escalate=True)
        elif await self._was_done(row, plan):
            await self._settle(row, plan)
        elif self.ports.clock.now() >= row.expires_at:
            await self._conclude(row, Stage.REFUSED, "it was begun and never done, and it has expired", acted_at=None)
        else:
            await self._write_after_all(row, plan)

    async def _write_after_all(self, row: Any, plan: KeptPlan) -> None:
        """It was begun and not done. What allowed it then is looked at again: much may have changed meanwhile."""
        looked_at = self.ports.clock.now()
        no = await self._checked_again(Order.model_validate_json(row.order), plan)
        if no is None:
            # Its preconditions and its stamp make a second try the same as the first.
            await self._write_in_time(row, plan, looked_at=looked_at)
        elif no.verdict is CheckVerdict.REFUSED:
            reason = f"it was begun and never done, and now: {no.reason}"
            await self._conclude(row, Stage.REFUSED, reason, guardrail=no.name, acted_at=None)
        else:
            async with self.ports.database.transaction() as tx:
                await self.recorder.look_again(tx, row, after=self.ports.settings.look_interval)

    async def _was_done(self, row: Any, plan: KeptPlan) -> bool:
        target = await self.eyes.read(plan.shown.target)
        if ActionKind(row.action) is ActionKind.EVICT_POD:
            return (
                target is None
                or target["metadata"]["uid"] != plan.exact.target_uid
                or "deletionTimestamp" in target["metadata"]
            )
        return is_stamped(target, row.order_id)

    async def _checked_again(self, order: Order, plan: KeptPlan) -> CheckResult | None:
        """Return the check that says no now, whatever it said at the rehearsal."""
        try:
            facts = await self.eyes.look(order.proposal, order_id=order.id, rehearsing=False, approvals=consents(order))
            results = run_checks(order.proposal, facts)
            no = strictest(results)
            if no is not None:
                return no
            results = [
                run_preflight(order.proposal, facts),
                blast_radius_now(order, facts),
                await self.rehearser.dry_run(plan.exact.request),
            ]
        except TemporaryError as error:
            return CheckResult(name="cluster", verdict=CheckVerdict.INCONCLUSIVE, reason=str(error))
        return strictest(results)

    async def _reserve(self, row: Any, order: Order, plan: KeptPlan, *, looked_at: datetime) -> Any | None:
        """Take the reservations and write the order down as begun, in one transaction."""
        target = await self.eyes.read(order.proposal.owner)
        async with self.ports.database.transaction() as tx:
            await repository.lock_reservations(tx)
            now = self.ports.clock.now()
            settings = self.ports.settings
            back = max(PAST_LOOKED_AT, settings.cooldown, settings.budget_window)
            past = await repository.past_actions(tx, since=now - back, besides=row.order_id)
            limits = ReservationLimits(settings.cooldown, settings.budget, settings.budget_window)
            no = taken(past, owner_uid=row.owner_uid, action=order.proposal.action.kind, now=now, limits=limits)
            too_late = self._too_late(row, looked_at)
            if no is None and too_late is not None:
                no = "looked_again", too_late
            if no is None:
                return await self.recorder.move(
                    tx, row, Stage.ACTING, reason=plan.shown.summary, acted_at=now, spec_hash=spec_hash(target),
                    look_in=settings.claim_lifetime,
                )  # fmt: skip
            guardrail, reason = no
            await self._block(tx, row, guardrail=guardrail, reason=reason)
            return None

    async def _after_refusal(self, row: Any, plan: KeptPlan, error: WriteRefusedError) -> None:
        """Nothing was written by this try; an earlier one whose answer got lost may have done it.

        Before it is due again there was no earlier try, and nobody else's: what is done all the same, others did.
        """
        was_tried_before = self.ports.clock.now() >= row.look_at
        if was_tried_before and await self._was_done(row, plan):
            await self._settle(row, plan)
            return
        reason = f"the API server says {error.code}: {error}"
        await self._conclude(row, Stage.REFUSED, reason, guardrail="preconditions", acted_at=None)

    async def _settle(self, row: Any, plan: KeptPlan) -> None:
        async with self.ports.database.transaction() as tx:
            await self.recorder.move(
                tx, row, Stage.SETTLING, reason=f"done: {plan.shown.summary}",
                look_in=self.ports.settings.look_interval,
            )  # fmt: skip

    async def _stop(self, row: Any, no: CheckResult) -> None:
        if no.verdict is CheckVerdict.REFUSED:
            await self._conclude(row, Stage.REFUSED, no.reason, guardrail=no.name)
            return
        async with self.ports.database.transaction() as tx:
            await self._block(tx, row, guardrail=no.name, reason=no.reason)

    async def _block(self, tx: Any, row: Any, *, guardrail: str, reason: str) -> None:
        """Wait for the guardrail; said once per guardrail, not at every look."""
        again = self.ports.settings.look_interval
        if row.stage == Stage.BLOCKED and row.guardrail == guardrail:
            await self.recorder.look_again(tx, row, after=again)
        else:
            await self.recorder.move(tx, row, Stage.BLOCKED, reason=reason, guardrail=guardrail, look_in=again)

    async def _conclude(self, row: Any, stage: Stage, reason: str, **values: Any) -> None:
        async with self.ports.database.transaction() as tx:
            await self.recorder.move(tx, row, stage, reason=reason, **values)


def is_plan_for(order: Order, plan: KeptPlan) -> bool:
    """Whether the checks, which look at the order's proposal, look at what was rehearsed: to the last setting."""
    return order.proposal == plan.proposal


def blast_radius_now(order: Order, facts: Facts) -> CheckResult:
    """Count anew how many pods it would take away: those that were healthy at the rehearsal may be so no more."""
    proposal = order.proposal
    try:
        draft = REGISTRY[proposal.action.kind].draft(proposal, facts, order_id=order.id)
    except CannotPlanError as error:
        return CheckResult(name="plan", verdict=CheckVerdict.REFUSED, reason=str(error))
    return result_of("blast_radius", blast_radius_is_small(draft.disturbance, facts))


def consents(order: Order) -> tuple[Approval, ...]:
    """Return each yes to exactly this order's plan: one to another plan, however well signed, consents to nothing."""
    return tuple(
        one
        for one in order.approvals
        if one.verdict is Verdict.APPROVED
        and (one.plan_hash, one.remediation_id) == (order.plan_hash, order.remediation_id)
    )

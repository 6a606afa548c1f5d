"""After the write: look until it is kept, held or to be taken back; give held changes back when their time comes."""

import logging
from dataclasses import dataclass
from typing import Any

from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.verifications import Judgement, Verification, VerificationRequest
from aegis.executor.journal.plan import KeptPlan
from aegis.executor.observe.health import Health, unhealthy_because
from aegis.executor.observe.judge import Follow, Look, Verdict, judge
from aegis.executor.orders.look import VERIFIER_ANSWERS_WITHIN, Eyes
from aegis.executor.orders.record import Recorder
from aegis.executor.orders.undo import Undoer
from aegis.executor.ports import ExecutorPorts
from aegis.kit.errors import AegisError, TemporaryError

log = logging.getLogger(__name__)

LOOKS_MISSED = 6
"""A look that comes so many intervals after it was due (the clock jumped, or nobody ran) begins the window anew."""


@dataclass(frozen=True)
class Settler:
    ports: ExecutorPorts
    eyes: Eyes
    recorder: Recorder
    undoer: Undoer

    async def look(self, row: Any, plan: KeptPlan) -> None:
        """Look once at what an action has done, and follow what that means."""
        order = Order.model_validate_json(row.order)
        verification = await self._verification(row, order, plan, purpose="recovery")
        now = self.ports.clock.now()
        look = Look(
            now=now,
            acted_at=row.acted_at,
            health=await self._health(plan),
            verification=verification,
            well_since=row.well_since,
            worse_looks=row.worse_looks,
            follows_on=now - row.look_at <= LOOKS_MISSED * self.ports.settings.look_interval,
        )
        await self._follow(row, plan, judge(look, plan.shown), verification)

    async def look_at_held(self, row: Any, plan: KeptPlan) -> None:
        """Give a temporary change back when what made it necessary has gone, or its time is over."""
        order = Order.model_validate_json(row.order)
        if self.ports.clock.now() >= row.lease_until:
            await self.undoer.start(row, because="its longest time is over", ends_in=Stage.RELEASED)
            return
        verification = await self._verification(row, order, plan, purpose="release")
        if verification is not None and verification.judgement is Judgement.BETTER:
            why = "; ".join(verification.reasons) or "what made it necessary has gone"
            await self.undoer.start(row, because=why, ends_in=Stage.RELEASED, verification=verification)
            return
        async with self.ports.database.transaction() as tx:
            await self.recorder.look_again(tx, row, after=self.ports.settings.held_interval)

    async def _follow(self, row: Any, plan: KeptPlan, verdict: Verdict, verification: Verification | None) -> None:
        match verdict.follow:
            case Follow.WAIT:
                async with self.ports.database.transaction() as tx:
                    await self.recorder.look_again(
                        tx, row, after=self.ports.settings.look_interval,
                        well_since=verdict.well_since, worse_looks=verdict.worse_looks,
                    )  # fmt: skip
            case Follow.UNDO:
                await self.undoer.start(row, because=verdict.reason, ends_in=Stage.UNDONE, verification=verification)
            case Follow.KEEP:
                await self._keep(row, plan, verdict, verification)
            case Follow.HOLD:
                assert plan.shown.lease is not None
                await self._move(
                    row, Stage.HELD, verdict.reason, verification,
                    lease_until=row.acted_at + plan.shown.lease.maximum, look_in=self.ports.settings.look_interval,
                )  # fmt: skip
            case Follow.HOLD_AND_PAGE:
                # Without an end: a person concludes it.
                await self._move(row, Stage.HELD, verdict.reason, verification, escalate=True)
            case Follow.ESCALATE:
                await self._move(row, Stage.ESCALATED, verdict.reason, verification, escalate=True)

    async def _keep(self, row: Any, plan: KeptPlan, verdict: Verdict, verification: Verification | None) -> None:
        assert verdict.well_since is not None
        try:
            # Before it is concluded: nobody would come back to it afterwards.
            await self.undoer.let_go(plan)
        except TemporaryError as error:
            log.warning("keeping order %s: %s", row.order_id, error)
            reason = f"{verdict.reason}; not let go of yet, and tried on: {error}"
            await self.undoer.try_again(row, since=verdict.well_since + plan.shown.settle, reason=reason)
        else:
            await self._move(row, Stage.KEPT, verdict.reason, verification)

    async def _move(
        self, row: Any, stage: Stage, reason: str, verification: Verification | None, **values: Any
    ) -> None:
        async with self.ports.database.transaction() as tx:
            await self.recorder.move(tx, row, stage, reason=reason, verification=verification, **values)

    async def _health(self, plan: KeptPlan) -> Health:
        try:
            return Health(unhealthy_because(await self.eyes.read(plan.shown.owner)))
        except TemporaryError as error:
            return Health(unreadable_because=str(error))

    async def _verification(self, row: Any, order: Order, plan: KeptPlan, *, purpose: str) -> Verification | None:
        request = VerificationRequest.model_validate(
            {
                "purpose": purpose,
                "remediation_id": row.remediation_id,
                "order_id": row.order_id,
                "incident_key": order.proposal.incident_key,
                "workload": order.proposal.owner.workload,
                "signals": order.proposal.signals,
                "acted_at": row.acted_at,
                "settle_until": row.acted_at + plan.shown.deadline,
            }
        )
        try:
            return await self.ports.verifier.verify(request, timeout=VERIFIER_ANSWERS_WITHIN)
        except AegisError:
            return None

"""Move an order's row in the journal and leave the report for the Backend, in one transaction."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.verifications import Verification
from aegis.executor.journal import repository
from aegis.executor.journal.tables import outbox
from aegis.executor.ports import ExecutorPorts
from aegis.kit.database import Transaction
from aegis.kit.outbox import Outbox

OUTCOMES = "outcomes"
STORMS = "storms"
REPORTS = Outbox(outbox)

_CONCLUSIONS = frozenset({Stage.KEPT, Stage.RELEASED, Stage.UNDONE, Stage.ESCALATED, Stage.REFUSED, Stage.EXPIRED})


@dataclass(frozen=True)
class Recorder:
    ports: ExecutorPorts

    async def move(
        self,
        tx: Transaction,
        row: Any,
        to: Stage,
        *,
        reason: str,
        guardrail: str = "",
        verification: Verification | None = None,
        escalate: bool = False,
        look_in: timedelta = timedelta(),
        **values: Any,
    ) -> Any | None:
        """Move a row that is still in its stage, and report it; None where another replica was first."""
        now = self.ports.clock.now()
        moved = await repository.change(
            tx,
            row.order_id,
            in_stage=row.stage,
            stage=to,
            reason=reason[:4000],
            guardrail=guardrail,
            reports=row.reports + 1,
            look_at=now + look_in,
            concluded=to in _CONCLUSIONS,
            **values,
        )
        if moved is None:
            return None
        outcome = Outcome(
            order_id=row.order_id,
            remediation_id=row.remediation_id,
            sequence=moved.reports,
            stage=to,
            reason=reason[:4000],
            guardrail=guardrail,
            verification=verification,
            escalate=escalate,
            at=now,
        )
        await REPORTS.put(
            tx,
            queue=OUTCOMES,
            key=f"{outcome.order_id}:{outcome.sequence}",
            body=outcome.model_dump_json().encode(),
            at=now,
        )
        return moved

    async def look_again(self, tx: Transaction, row: Any, *, after: timedelta, **values: Any) -> None:
        """Leave a row in its stage and let go of it until then."""
        look_at = self.ports.clock.now() + after
        await repository.change(tx, row.order_id, in_stage=row.stage, look_at=look_at, **values)

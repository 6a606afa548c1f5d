"""A person's order to conclude another one: to take back what it did, or to keep it.

The row of the order that acted moves, and its reports tell what became of it; the person's own order speaks only
where nothing comes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.executor.guardrails.reservations import busy_with
from aegis.executor.journal import repository
from aegis.executor.journal.plan import KeptPlan
from aegis.executor.orders.record import Recorder
from aegis.executor.orders.undo import Undoer, to_be_undone
from aegis.executor.ports import ExecutorPorts
from aegis.kit.database import Transaction
from aegis.kit.errors import TemporaryError

HANDED_OVER = "handed_over"
"""The stage of a person's order that the order which it concerns carries on."""

_MAY_CONCLUDE: Mapping[str, frozenset[str]] = {
    "undo": frozenset({Stage.SETTLING, Stage.HELD, Stage.KEPT}),
    "keep": frozenset({Stage.HELD}),
}


@dataclass(frozen=True)
class Concluder:
    ports: ExecutorPorts
    recorder: Recorder
    undoer: Undoer

    async def conclude(self, row: Any, plan: KeptPlan | None) -> None:
        """Follow a person's order, whose journal row this is; `plan` is that of the order which it concerns."""
        purpose = Order.model_validate_json(row.order).purpose
        async with self.ports.database.reading() as tx:
            concerned = await repository.find(tx, row.concerns)
        if self.ports.clock.now() >= row.expires_at:
            reason = f"expired at {row.expires_at.isoformat()}: {row.reason}".rstrip(": ")
            await self._decline(row, Stage.EXPIRED, reason)
        elif plan is None or concerned is None or concerned.plan_hash != row.plan_hash:
            await self._decline(row, Stage.REFUSED, f"order {row.concerns} is not known here")
        elif concerned.stage not in _MAY_CONCLUDE[purpose]:
            await self._decline(row, Stage.REFUSED, f"order {row.concerns} is {concerned.stage}")
        elif purpose == "undo":
            await self._take_back(row, concerned)
        else:
            await self._keep(row, concerned, plan)

    async def _keep(self, row: Any, concerned: Any, plan: KeptPlan) -> None:
        """Let go, then conclude: nobody would come back to it afterwards. What is in the way is told at the end."""
        why_not = None
        try:
            await self.undoer.let_go(plan)
        except TemporaryError as error:
            why_not = str(error)
        async with self.ports.database.transaction() as tx:
            if why_not is None:
                await self._hand_over(tx, row, concerned, Stage.KEPT, "a person keeps it")
            else:
                await self._wait(tx, row, why_not)

    async def _take_back(self, row: Any, concerned: Any) -> None:
        """Have it undone, as soon as no other order is under way on its owner."""
        now = self.ports.clock.now()
        async with self.ports.database.transaction() as tx:
            await repository.lock_reservations(tx)
            others = await repository.past_actions(tx, since=now, besides=concerned.order_id)
            busy = busy_with(others, concerned.owner_uid)
            if busy is not None:
                await self._wait(tx, row, busy)
                return
            because = "a person takes it back"
            undoing = to_be_undone(because=because, ends_in=Stage.UNDONE, at=now)
            was_kept = concerned.stage == Stage.KEPT
            await self._hand_over(tx, row, concerned, Stage.UNDOING, because, is_stampless=was_kept, **undoing)

    async def _wait(self, tx: Transaction, row: Any, why: str) -> None:
        """Look again until the person's order expires, which then says what was in the way."""
        await self.recorder.look_again(tx, row, after=self.ports.settings.look_interval, reason=why[:4000])

    async def _hand_over(
        self, tx: Transaction, row: Any, concerned: Any, to: Stage, reason: str, **values: Any
    ) -> None:
        """Move the order that is concluded; where it has moved on meanwhile, the next look says so."""
        if await self.recorder.move(tx, concerned, to, reason=reason, **values) is not None:
            await repository.change(tx, row.order_id, in_stage=row.stage, stage=HANDED_OVER, concluded=True)

    async def _decline(self, row: Any, stage: Stage, reason: str) -> None:
        async with self.ports.database.transaction() as tx:
            await self.recorder.move(tx, row, stage, reason=reason)

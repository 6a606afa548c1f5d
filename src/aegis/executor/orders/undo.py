"""Undo: give every touched field its old value, where it still holds what we wrote, and own nothing afterwards.

Undo ignores pause, freeze windows and rate limits, never target protection, which an operator may have given the target
since. The fields it touches are the fields that the order touched, on that very object.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from aegis.contracts.outcomes import Stage
from aegis.contracts.verifications import Verification
from aegis.executor.actions.base import FieldEdit, is_stamped, patch_of, redacted, stamped_again, taking_off_stamp
from aegis.executor.guardrails.checks import is_protected
from aegis.executor.journal.plan import KeptPlan
from aegis.executor.orders.look import Eyes
from aegis.executor.orders.record import Recorder
from aegis.executor.ports import FIELD_MANAGER, ExactRequest, ExecutorPorts, Object, WriteRefusedError
from aegis.kit.errors import TemporaryError
from aegis.kit.pointers import value_at

log = logging.getLogger(__name__)

LET_GO_TRIES = 3
STUCK = "cluster"
"""Whoever says that an undo, or a keep, has to wait; the journal then knows that a person was called."""
CALLED_AFTER = timedelta(minutes=2)
"""What can be neither undone nor kept for so long, a person hears of; it is tried on."""
_FOR_GOOD = frozenset({404, 422})
"""The object is gone, or a `test` of the patch failed: the fields hold something else. Any other no may pass."""


def to_be_undone(*, because: str, ends_in: Stage, at: datetime) -> dict[str, Any]:
    """Return what the journal's row of an order that is to be taken back says."""
    return {"undo_because": because, "undo_ends_in": ends_in.value, "undo_since": at}


@dataclass(frozen=True)
class Undoer:
    ports: ExecutorPorts
    eyes: Eyes
    recorder: Recorder

    async def start(self, row: Any, *, because: str, ends_in: Stage, verification: Verification | None = None) -> None:
        """Write down that an order is to be taken back; `carry_out` does it."""
        async with self.ports.database.transaction() as tx:
            await self.recorder.move(
                tx, row, Stage.UNDOING, reason=because, verification=verification,
                **to_be_undone(because=because, ends_in=ends_in, at=self.ports.clock.now()),
            )  # fmt: skip

    async def carry_out(self, row: Any, plan: KeptPlan) -> None:
        """Send the undo that was planned and approved with the action; conclude only what was seen to be done."""
        if plan.exact.undo is None:
            await self._conclude(row, Stage.ESCALATED, f"{plan.shown.action} has no undo", escalate=True)
            return
        try:
            protected = is_protected(plan.proposal, await self.eyes.glance(plan.proposal))
            if protected is not None:
                reason = f"{row.undo_because}; not undone: {protected.reason}"
                await self._conclude(row, Stage.ESCALATED, reason, escalate=True)
                return
            why_not = await self._write(row, plan, await self._undo_of(row, plan, plan.exact.undo))
            if why_not is None:
                await self.let_go(plan)
        except TemporaryError as error:
            log.warning("undoing order %s: %s", row.order_id, error)
            reason = f"{row.undo_because}; not undone yet, and tried on: {error}"
            await self.try_again(row, since=row.undo_since, reason=reason)
            return
        if why_not is None:
            await self._conclude(row, Stage(row.undo_ends_in), row.undo_because)
        else:
            changed = ", ".join(await self._changed_since(plan)) or str(why_not)
            reason = f"{row.undo_because}; not undone: the fields no longer hold what was written ({changed})"
            await self._conclude(row, Stage.ESCALATED, reason, escalate=True)

    async def _undo_of(self, row: Any, plan: KeptPlan, undo: ExactRequest) -> ExactRequest:
        """Return the planned undo; for what was kept, and let go of, with the stamp that it looks for."""
        target = await self.eyes.read(plan.shown.target) if row.is_stampless else None
        return undo if target is None else stamped_again(target, undo, row.order_id)

    async def _write(self, row: Any, plan: KeptPlan, undo: ExactRequest) -> WriteRefusedError | None:
        """Return why it can never be undone, or None where it is; TemporaryError: not now."""
        try:
            await self.ports.cluster.send(undo, dry_run=False)
        except WriteRefusedError as error:
            if await self._is_undone(row, plan):
                return None
            if error.code not in _FOR_GOOD:
                raise TemporaryError(f"the API server says {error.code}: {error}") from error
            return error
        return None

    async def try_again(self, row: Any, *, since: datetime, reason: str) -> None:
        """Go on trying for as long as it takes; a person hears of it once, when it takes long."""
        again = self.ports.settings.look_interval
        takes_long = self.ports.clock.now() - since >= CALLED_AFTER
        async with self.ports.database.transaction() as tx:
            if takes_long and row.guardrail != STUCK:
                await self.recorder.move(
                    tx, row, Stage(row.stage), reason=reason, guardrail=STUCK, escalate=True, look_in=again
                )
            else:
                await self.recorder.look_again(tx, row, after=again)

    async def let_go(self, plan: KeptPlan) -> None:
        """Own no field any more, so that the owner's next server-side apply meets no conflict, and leave no stamp.

        Raises:
            TemporaryError: it could not be done now; whoever asked for it has to ask again.
        """
        why = ""
        for _ in range(LET_GO_TRIES):
            target = await self.eyes.read(plan.shown.target)
            if target is None or target["metadata"]["uid"] != plan.exact.target_uid:
                return
            request = letting_go(target, plan.exact.order_id)
            if request is None:
                return
            try:
                await self.ports.cluster.send(request, dry_run=False)
            except WriteRefusedError as error:
                why = f"the API server says {error.code}: {error}"
                log.info("letting go of %s: %s", plan.shown.target, why)
            else:
                return
        raise TemporaryError(f"fields of {plan.shown.target} are still ours: {why}")

    async def _is_undone(self, row: Any, plan: KeptPlan) -> bool:
        """Whether an earlier try, whose answer got lost, has undone it: no stamp, and the old values are back."""
        target = await self.eyes.read(plan.shown.target)
        if target is None or target["metadata"]["uid"] != plan.exact.target_uid or is_stamped(target, row.order_id):
            return False
        assert plan.exact.undo is not None
        writes = [step for step in orjson.loads(plan.exact.undo.body) if step["op"] != "test"]
        return all(value_at(target, step["path"]) == step.get("value") for step in writes)

    async def _changed_since(self, plan: KeptPlan) -> list[str]:
        """Return which of the fields that the undo would touch hold something else by now."""
        target = await self.eyes.read(plan.shown.target)
        assert plan.exact.undo is not None
        if target is None:
            return ["it is gone"]
        tests = (step for step in orjson.loads(plan.exact.undo.body) if step["op"] == "test")
        edits = [FieldEdit(step["path"], step["value"], value_at(target, step["path"])) for step in tests]
        return [change.path for change in redacted(edits)]

    async def _conclude(self, row: Any, stage: Stage, reason: str, *, escalate: bool = False) -> None:
        async with self.ports.database.transaction() as tx:
            await self.recorder.move(tx, row, stage, reason=reason, escalate=escalate)


def letting_go(target: Object, order_id: str) -> ExactRequest | None:
    """Return the request that takes off the order's stamp and our entry among the fields' managers, if any is left."""
    left = taking_off_stamp(order_id) if is_stamped(target, order_id) else []
    entries = target["metadata"].get("managedFields") or []
    own = next((i for i, entry in enumerate(entries) if entry.get("manager") == FIELD_MANAGER), None)
    if own is not None:
        pointer = f"/metadata/managedFields/{own}"
        # An empty list means "leave them as they are"; one empty entry means that nobody owns anything.
        nobody = {"op": "replace", "path": "/metadata/managedFields", "value": [{}]}
        left.append({"op": "test", "path": f"{pointer}/manager", "value": FIELD_MANAGER})
        left.append(nobody if len(entries) == 1 else {"op": "remove", "path": pointer})
    return patch_of(target, left) if left else None

"""Take in what the Backend hands out: orders are verified before they are parsed, and written down first of all."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from aegis.contracts.envelope import Envelope, EnvelopeRefusedError, open_envelope
from aegis.contracts.orders import AUDIENCE, Order
from aegis.contracts.outcomes import Stage
from aegis.executor.journal import repository
from aegis.executor.orders.record import Recorder
from aegis.executor.ports import ExecutorPorts

log = logging.getLogger(__name__)


def waits_until(order: Order, *, now: datetime) -> datetime:
    """Return when an order that has come just now expires."""
    return min(order.expires_at, now + repository.LONGEST_ORDER)


@dataclass(frozen=True)
class Receiver:
    ports: ExecutorPorts
    recorder: Recorder
    refused: Counter[str] = field(default_factory=Counter)
    """How many envelopes were refused, by why: nobody can be told, since nobody can be believed."""

    async def receive(self, envelope: Envelope) -> bool:
        """Write an order down; False where it was refused, or came before."""
        try:
            payload = open_envelope(
                envelope, keys=self.ports.order_keys, cluster_id=self.ports.settings.cluster_id, audience=AUDIENCE
            )
            order = Order.model_validate_json(payload)
        except (EnvelopeRefusedError, ValidationError) as error:
            self.refused["unreadable" if isinstance(error, ValidationError) else "envelope"] += 1
            log.warning("refused an order: %s", error)
            return False
        return await self._write_down(order, payload)

    async def _write_down(self, order: Order, payload: bytes) -> bool:
        now = self.ports.clock.now()
        row = {
            "order_id": order.id,
            "remediation_id": order.remediation_id,
            "plan_hash": order.plan_hash,
            "concerns": order.concerns,
            "owner_uid": order.proposal.owner.uid,
            "action": order.proposal.action.kind,
            "spec_hash": "",
            "order": payload,
            "stage": repository.RECEIVED,
            "received_at": now,
            "expires_at": waits_until(order, now=now),
            "look_at": now,
            "worse_looks": 0,
            "reports": 0,
            "is_stampless": False,
            "concluded": False,
        }
        async with self.ports.database.transaction() as tx:
            return await repository.receive(tx, row)

    async def withdraw(self, order_ids: tuple[str, ...]) -> None:
        """Do not begin orders that nobody wants any more; what is begun goes on."""
        if not order_ids:
            return
        async with self.ports.database.transaction() as tx:
            for row in await repository.withdraw(tx, order_ids):
                await self.recorder.move(tx, row, Stage.REFUSED, reason="withdrawn: the incident is resolved")

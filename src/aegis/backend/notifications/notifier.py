"""Tell people something once: written down with what it tells of, delivered until it got through."""

from dataclasses import dataclass
from typing import Any

import orjson

from aegis.backend.notifications import repository
from aegis.backend.notifications.tables import notification_outbox
from aegis.backend.ports import BackendPorts
from aegis.contracts.findings import Severity
from aegis.kit.database import Transaction
from aegis.kit.outbox import Outbox

QUEUE = "webhook"
_OUTBOX = Outbox(notification_outbox)


@dataclass(frozen=True)
class Notifier:
    ports: BackendPorts

    async def notify(
        self, tx: Transaction, *, key: str, kind: str, severity: Severity, title: str, detail: dict[str, Any]
    ) -> bool:
        """Tell people, unless they were told under this key before; return whether this told them."""
        now = self.ports.clock.now()
        row = {
            "id": self.ports.ids.new("ntf", now),
            "key": key,
            "kind": kind,
            "severity": severity.value,
            "title": title,
            "detail": detail,
            "at": now,
        }
        if not await repository.add(tx, row):
            return False
        if self.ports.receiver is not None:
            await _OUTBOX.put(tx, queue=QUEUE, key=key, body=orjson.dumps(row), at=now)
        return True

    async def deliver(self) -> None:
        if self.ports.receiver is not None:
            await _OUTBOX.flush(self.ports.database, {QUEUE: self.ports.receiver.deliver})

"""Tell people something once: written down with what it tells of, delivered until it got through."""

from functools import partial
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter

from aegis.backend.notifications import repository
from aegis.backend.notifications.tables import notification_outbox
from aegis.backend.ports import BackendPorts, Receiver
from aegis.contracts.findings import Severity
from aegis.kit.database import Transaction
from aegis.kit.outbox import Outbox, Undelivered

QUEUE = "webhook"
_OUTBOX = Outbox(notification_outbox)


def of_incident(incident_id: str) -> str:
    """Return the key under which a person is called for an incident: once, whoever finds that it needs one."""
    return f"needs-person:{incident_id}"


class Notifier:
    def __init__(self, ports: BackendPorts, registry: CollectorRegistry) -> None:
        self.ports = ports
        self._failures = Counter(
            "aegis_notification_failures", "Notifications that did not get through at a try.", registry=registry
        )

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
            await _OUTBOX.flush(self.ports.database, {QUEUE: partial(self._send, self.ports.receiver)})

    async def undelivered(self, tx: Transaction) -> Undelivered:
        return await _OUTBOX.undelivered(tx)

    async def _send(self, receiver: Receiver, body: bytes) -> None:
        with self._failures.count_exceptions():
            await receiver.deliver(body)

"""How the rest of the Backend leaves a trace: in the transaction of what it tells."""

from dataclasses import dataclass
from typing import Any

from aegis.backend.audit import repository
from aegis.kit.clock import Clock
from aegis.kit.database import Transaction
from aegis.kit.ids import IdSource


@dataclass(frozen=True)
class AuditTrail:
    """`record` either commits with the change it tells of, or not at all: the trail has no gap."""

    clock: Clock
    ids: IdSource

    async def record(
        self, tx: Transaction, *, actor: str, event: str, subject: str, detail: dict[str, Any] | None = None
    ) -> None:
        """Add an entry. `event` is `subject:verb`; `detail` holds nothing secret and no value of a variable."""
        now = self.clock.now()
        await repository.add_entry(
            tx,
            id=self.ids.new("aud", now),
            at=now,
            actor=actor,
            event=event,
            subject=subject,
            detail=detail or {},
        )

"""Tries to get in that failed: counted here, and told in the audit trail once a minute at most, however many."""

from collections import Counter
from datetime import datetime, timedelta

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.ports import BackendPorts

TOLD_EVERY = timedelta(minutes=1)
TOLD_APART = 50
"""Beyond so many different ones within a minute they are counted together."""
_REST = ("others", "elsewhere")


class Refusals:
    """Of this replica. Only a process that is killed takes with it what it has not told yet."""

    def __init__(self, ports: BackendPorts, trail: AuditTrail) -> None:
        self._ports = ports
        self._trail = trail
        self._counts: Counter[tuple[str, str]] = Counter()
        self._told_at: datetime | None = None

    def count(self, who: str, *, address: str) -> None:
        """Count one more from that address; `who` is whom they claimed to be."""
        one = (who, address)
        self._counts[one if one in self._counts or len(self._counts) < TOLD_APART else _REST] += 1

    async def tell(self, *, at_once: bool = False) -> None:
        """Write down what was counted; not yet where that was done within the last minute, unless `at_once`."""
        now = self._ports.clock.now()
        is_early = self._told_at is not None and now - self._told_at < TOLD_EVERY
        if not self._counts or (is_early and not at_once):
            return
        told = self._counts.copy()
        tries = [{"who": who, "from": address, "times": times} for (who, address), times in told.most_common()]
        async with self._ports.database.transaction() as tx:
            await self._trail.record(
                tx,
                actor="service:backend",
                event="login:refused",
                subject="logins",
                detail={"times": told.total(), "tries": tries},
            )
        self._counts -= told  # what came meanwhile is told the next time
        self._told_at = now

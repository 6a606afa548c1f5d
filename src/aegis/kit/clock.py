"""Time as a dependency, so that hours can pass in a test."""

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from aegis.kit.pace import PacedClock

SKEW = timedelta(seconds=5)
"""By so little the clocks of replicas may differ."""


class Clock(Protocol):
    """Where everybody asks for the time, and waits for it to pass. Times are aware, in UTC."""

    def now(self) -> datetime: ...

    async def sleep(self, duration: timedelta) -> None: ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


@dataclass(frozen=True)
class ScaledClock:
    """Time that runs `rate` times as fast as the machine's, since `epoch` (a machine time).

    Several processes that share epoch and rate agree on the time to within the machine's own clock.
    """

    epoch: datetime
    rate: float

    def now(self) -> datetime:
        passed = time.time() - self.epoch.timestamp()
        return self.epoch + timedelta(seconds=passed * self.rate)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds() / self.rate)


class VirtualClock:
    """Time that stands still until somebody calls `advance`; sleepers wake in order."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, tzinfo=UTC)) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + duration, next(self._order), woken))
        await woken

    async def advance(self, duration: timedelta) -> None:
        """Let `duration` pass, waking each sleeper at its own time."""
        end = self._now + duration
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not woken.done():
                woken.set_result(None)
            await _let_others_run()
        self._now = end
        await _let_others_run()


async def _let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def clock_from(setting: str) -> Clock:
    """Read `system`, `scaled:<epoch in seconds since 1970>:<rate>`, or `paced:<file>` of a `aegis.kit.pace.Pace`.

    >>> clock_from("scaled:1767571200:30").rate  # type: ignore[attr-defined]
    30.0

    Raises:
        ValueError: the setting has none of these forms, the rate is not above zero, or there is no such file.
    """
    if setting == "system":
        return SystemClock()
    match setting.split(":"):
        case ["scaled", epoch, rate] if float(rate) > 0:
            return ScaledClock(datetime.fromtimestamp(float(epoch), UTC), float(rate))
        case ["paced", file]:
            return PacedClock(Path(file))
        case _:
            pass
    raise ValueError(f"clock {setting!r} is not `system`, `scaled:<epoch>:<rate above 0>` or `paced:<file>`")

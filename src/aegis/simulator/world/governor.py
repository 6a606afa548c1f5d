"""Slow the common clock down while this machine cannot keep up with it: a story must not depend on who else is busy."""

import time
from collections.abc import Callable

from aegis.kit.pace import Pace

# Of the CPU time that the world asks for, so much must be had at once.
ENOUGH_SHARE = 0.6
# So far, in seconds of its clock, the world may lag behind.
MAY_LAG_S = 8.0
SLOWEST = 20.0
_MEASURED_OVER_S = 0.1
_WORTH_A_CHANGE = 0.1


def slowdown(*, share: float, lag_s: float) -> float:
    """Return by what factor to slow down, given the share of CPU time that was had, and how far the world lags.

    >>> slowdown(share=0.9, lag_s=1), slowdown(share=0.3, lag_s=1), slowdown(share=0.9, lag_s=80)
    (1.0, 2.0, 10.0)
    """
    return min(max(1.0, ENOUGH_SHARE / max(share, 0.01), lag_s / MAY_LAG_S), SLOWEST)


class Governor:
    """Measures what is left of the machine by how long the world's own work takes."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._full = pace.rate
        self._took_s = self._ran_s = 0.0
        self._share = 1.0

    def oversee(self, work: Callable[[], None], *, lag_s: float) -> None:
        """Do some work, and set the pace by how it went."""
        began, ran = time.perf_counter(), time.thread_time()
        work()
        self._took_s += time.perf_counter() - began
        self._ran_s += time.thread_time() - ran
        if self._took_s >= _MEASURED_OVER_S:
            self._share = min(1.0, self._ran_s / self._took_s)
            self._took_s = self._ran_s = 0.0
        rate = self._full / slowdown(share=self._share, lag_s=lag_s)
        if abs(rate / self._pace.rate - 1) > _WORTH_A_CHANGE:
            self._pace.change(rate)

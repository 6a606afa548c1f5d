"""Tier 0, for every series: how far is the newest value from what this series usually does?"""

from dataclasses import dataclass

import numpy as np

from aegis.ai_engine.detection import kernels
from aegis.ai_engine.detection.kernels import Floats, Mask


@dataclass(frozen=True)
class UsualRangeSpans:
    """Over how many observations each part averages."""

    slow: float = 240.0
    fast: float = 3.0
    energy: float = 12.0


class UsualRange:
    """Two exponentially weighted scales, the step from the last value, and energy; 28 bytes a series.

    Scales have floors, so that a series that hardly moves does not make mountains of nothing.

    >>> detector = UsualRange(1, warm_up=5)
    >>> seen, floors = np.array([True]), np.array([1.0], np.float32)
    >>> for value in (10, 11, 9, 10, 11, 9, 10):
    ...     usual = detector.step(np.array([value], np.float32), seen, floors)
    >>> float(usual[0]) < 0.1
    True
    >>> float(detector.step(np.array([40], np.float32), seen, floors)[0]) > 0.9
    True
    """

    name = "usual_range"
    fields = ("slow", "fast", "spread", "diff", "energy", "last", "count")
    # A finding begins at this score; from here on the baseline hardly learns.
    threshold = 0.5
    # While anomalous a series learns at this share of its rate: a lasting change becomes usual after hours.
    frozen_share = 0.02

    def __init__(self, capacity: int, *, warm_up: int = 6, spans: UsualRangeSpans | None = None) -> None:
        spans = spans or UsualRangeSpans()
        self._state: tuple[Floats, ...] = tuple(np.zeros(capacity, np.float32) for _ in self.fields)
        self._rates = tuple(2.0 / (span + 1.0) for span in (spans.slow, spans.fast, spans.energy))
        self._warm_up = float(warm_up)

    def step(self, values: Floats, mask: Mask, floors: Floats) -> Floats:
        """Score the newest value of every series where `mask` is true, then learn from it."""
        scores = np.zeros(len(values), np.float32)
        kernel = kernels.usual_range()
        kernel(
            values, mask, floors, self._state, scores, *self._rates, self._warm_up, self.threshold, self.frozen_share
        )
        return scores

    @property
    def usual(self) -> Floats:
        return self._state[0]

    @property
    def spread(self) -> Floats:
        """The mean absolute deviation from the usual."""
        return self._state[2]

    @property
    def count(self) -> Floats:
        return self._state[6]

    @property
    def warm_up(self) -> float:
        return self._warm_up

    def resize(self, capacity: int) -> None:
        self._state = tuple(_resized(one, capacity) for one in self._state)

    def forget(self, slot: int) -> None:
        for one in self._state:
            one[slot] = 0.0

    def state(self) -> Floats:
        """Return all that it knows, a row for each field."""
        return np.stack(self._state)

    def restore(self, state: Floats) -> None:
        self._state = tuple(np.ascontiguousarray(row, np.float32) for row in state)

    @property
    def bytes_per_series(self) -> int:
        return sum(one.itemsize for one in self._state)


def _resized(array: Floats, capacity: int) -> Floats:
    grown = np.zeros(capacity, array.dtype)
    grown[: min(len(array), capacity)] = array[:capacity]
    return grown

"""Does a series climb without coming back, as memory does that is never given back?"""

import numpy as np

from aegis.ai_engine.detection import kernels
from aegis.ai_engine.detection.kernels import Floats, Mask


class SteadyRise:
    """The distance made good over the distance travelled, squared: 1 for a straight climb, 0 for a wander.

    >>> detector = SteadyRise(1, warm_up=4)
    >>> for value in range(8):
    ...     score = detector.step(np.array([value], np.float32), np.array([True]), np.array([2.0], np.float32))
    >>> float(score[0])
    1.0
    """

    name = "steady_rise"
    fields = ("move", "travel", "last", "count")
    threshold = 0.6

    def __init__(self, capacity: int, *, warm_up: int = 6, span: float = 20.0) -> None:
        self._state: tuple[Floats, ...] = tuple(np.zeros(capacity, np.float32) for _ in self.fields)
        self._rate = 2.0 / (span + 1.0)
        self._warm_up = float(warm_up)

    def step(self, values: Floats, mask: Mask, floors: Floats) -> Floats:
        """Score the newest values; `floors` says how much climbing is worth a word."""
        scores = np.zeros(len(values), np.float32)
        kernels.steady_rise()(values, mask, floors, self._state, scores, self._rate, self._warm_up)
        return scores

    @property
    def move(self) -> Floats:
        """The mean step from one value to the next."""
        return self._state[0]

    def resize(self, capacity: int) -> None:
        kept = self._state
        self._state = tuple(np.zeros(capacity, np.float32) for _ in self.fields)
        for new, old in zip(self._state, kept, strict=True):
            new[: min(len(old), capacity)] = old[:capacity]

    def forget(self, slot: int) -> None:
        for one in self._state:
            one[slot] = 0.0

    def state(self) -> Floats:
        return np.stack(self._state)

    def restore(self, state: Floats) -> None:
        self._state = tuple(np.ascontiguousarray(row, np.float32) for row in state)

    @property
    def bytes_per_series(self) -> int:
        return sum(one.itemsize for one in self._state)

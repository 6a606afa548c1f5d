"""The columnar detectors there are: one line each."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from aegis.ai_engine.detection.kernels import Floats, Mask
from aegis.ai_engine.detection.steady_rise import SteadyRise
from aegis.ai_engine.detection.usual_range import UsualRange


class Detector(Protocol):
    """Scores many series at once, one new column of observations at a time, in constant memory."""

    name: str
    threshold: float

    def step(self, values: Floats, mask: Mask, floors: Floats) -> Floats:
        """Return a score from 0 to 1 for every series; 0 while warming up or where the mask is false."""
        ...

    def resize(self, capacity: int) -> None: ...

    def forget(self, slot: int) -> None: ...

    def state(self) -> Floats: ...

    def restore(self, state: Floats) -> None: ...

    @property
    def bytes_per_series(self) -> int: ...


DETECTORS: Mapping[str, Callable[[int], Detector]] = MappingProxyType({
    UsualRange.name: UsualRange,
    SteadyRise.name: SteadyRise,
})  # fmt: skip

"""The newest value of every series as columns, and a short memory of each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.ai_engine.detection.steady_rise import SteadyRise
from aegis.ai_engine.detection.usual_range import UsualRange
from aegis.ai_engine.ports import Labels, Sample
from aegis.catalogue.signals import MEMORY_USAGE, PREFIX, SIGNALS, Signal
from aegis.contracts.targets import WorkloadRef

BY_METRIC: Mapping[str, Signal] = {signal.metric: signal for signal in SIGNALS}
MEMORY_COLUMNS = 120
STALE_AFTER_STEPS = 3
FORGET_AFTER_STEPS = 240
# A climb of this share of what is worth a finding is worth a look.
RISE_SHARE = 0.3
# The band is at least this share of the level wide: what people see as "about the same".
_BAND_SHARE = 0.1
_BAND_SPREADS = 5.0

Doubles = npt.NDArray[np.float64]
SeriesKey = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Band:
    """What is usual for a series."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Window:
    """The values of one series over a stretch of time, oldest first, without the missing ones."""

    at: Doubles
    values: Doubles

    def __len__(self) -> int:
        return len(self.values)

    @property
    def median(self) -> float | None:
        return float(np.median(self.values)) if len(self.values) else None

    @property
    def seconds(self) -> float:
        return float(self.at[-1] - self.at[0]) if len(self.at) else 0.0

    def between(self, start: float, end: float) -> "Window":
        inside = (self.at >= start) & (self.at <= end)
        return Window(self.at[inside], self.values[inside])


EMPTY = Window(np.zeros(0), np.zeros(0))


class Board:
    """One slot a series. Its identity is the workload, so replaced pods change nothing."""

    def __init__(self, *, cluster_id: str, step_seconds: float, capacity: int = 256) -> None:
        self.cluster_id = cluster_id
        self.step_seconds = step_seconds
        self.usual = UsualRange(capacity)
        self.rise = SteadyRise(capacity)
        self.scores = np.zeros(capacity, np.float32)
        self.rise_scores = np.zeros(capacity, np.float32)
        self.scored = np.zeros(capacity, np.bool_)
        self.newest_at: float | None = None
        self._slots: dict[SeriesKey, int] = {}
        self._keys: list[SeriesKey | None] = []
        self._free: list[int] = []
        self._of_workload: dict[tuple[str, WorkloadRef], dict[int, None]] = defaultdict(dict)
        self._refs: list[WorkloadRef | None] = []
        self._columns = 0
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self._values = np.zeros(capacity, np.float32)
        self._floors = np.zeros(capacity, np.float32)
        self._rise_floors = np.zeros(capacity, np.float32)
        self._seen = np.zeros(capacity, np.float64)
        self._counters = np.full(capacity, np.nan, np.float64)
        self._ring = np.full((MEMORY_COLUMNS, capacity), np.nan, np.float32)
        self._ring_at = np.full(MEMORY_COLUMNS, np.nan, np.float64)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def capacity(self) -> int:
        return len(self._values)

    # -- taking in

    def take(self, samples: Iterable[Sample], now: float, *, unsettled: frozenset[WorkloadRef] = frozenset()) -> None:
        """Take in a column of samples, score it, and learn from it.

        A sample more than three steps older or newer than now is missing data. Series of `unsettled` workloads (which
        have just come up) are remembered, neither scored nor learned.
        """
        if self.newest_at is not None and self.newest_at - now > self._stale_after:
            self._begin_anew(now)
        fresh, new = [], []
        for sample in samples:
            if abs(now - sample.at) <= self._stale_after:
                slot = self._slot_of(sample)
                if slot is not None and sample.at > self._seen[slot]:
                    fresh.append(slot)
                    new.append(sample)
        mask = np.zeros(self.capacity, np.bool_)
        for slot, sample in zip(fresh, new, strict=True):
            value = self._observed(slot, sample)
            if value is not None:
                self._values[slot] = value
                mask[slot] = True
        self._remember(mask, now)
        if unsettled:
            for slot in fresh:
                mask[slot] &= self._refs[slot] not in unsettled
        self.scores = self.usual.step(self._values, mask, self._floors)
        self.rise_scores = self.rise.step(self._values, mask, self._rise_floors)
        self.scored = mask
        self._forget_old(now)

    @property
    def _stale_after(self) -> float:
        return STALE_AFTER_STEPS * self.step_seconds

    def _begin_anew(self, now: float) -> None:
        """Forget when everything was seen, as the clock went back; not what is usual, which knows no time."""
        self.newest_at = None
        self._seen = np.minimum(self._seen, now - self._stale_after - self.step_seconds)
        self._ring[:], self._ring_at[:] = np.nan, np.nan

    def _observed(self, slot: int, sample: Sample) -> float | None:
        """Return the value, or for a counter its increase since the last sample; a reset counts from zero."""
        self._seen[slot] = sample.at
        self.newest_at = max(self.newest_at or sample.at, sample.at)
        if BY_METRIC[sample.metric].unit != "total":
            return sample.value
        before, self._counters[slot] = self._counters[slot], sample.value
        if np.isnan(before):
            return None
        return sample.value - before if sample.value >= before else sample.value

    def _slot_of(self, sample: Sample) -> int | None:
        key = (sample.metric, sample.labels)
        slot = self._slots.get(key)
        if slot is not None or sample.metric not in BY_METRIC:
            return slot
        slot = self._free.pop() if self._free else len(self._keys)
        if slot == len(self._keys):
            self._keys.append(None)
            self._refs.append(None)
            if slot >= self.capacity:
                self._grow()
        ref = self._ref_of(sample.labels)
        signal = BY_METRIC[sample.metric]
        self._slots[key], self._keys[slot], self._refs[slot] = slot, key, ref
        self._of_workload[signal.name, ref][slot] = None
        self._floors[slot] = signal.floor
        self._rise_floors[slot] = signal.floor * RISE_SHARE if signal is MEMORY_USAGE else np.inf
        return slot

    def _ref_of(self, labels: Labels) -> WorkloadRef:
        found = dict(labels)
        return WorkloadRef(
            cluster_id=self.cluster_id,
            namespace=found.get("namespace", ""),
            kind=found.get("kind") or "Deployment",
            name=found.get("workload") or "unknown",
        )

    def _grow(self) -> None:
        old = (self._values, self._floors, self._rise_floors, self._seen, self._counters)
        ring, ring_at, size = self._ring, self._ring_at, self.capacity
        self._allocate(size * 2)
        new = (self._values, self._floors, self._rise_floors, self._seen, self._counters)
        for target, source in zip(new, old, strict=True):
            target[:size] = source  # type: ignore[index]
        self._ring[:, :size] = ring
        self._ring_at = ring_at
        self.usual.resize(size * 2)
        self.rise.resize(size * 2)

    def _remember(self, mask: npt.NDArray[np.bool_], now: float) -> None:
        row = self._columns % MEMORY_COLUMNS
        self._ring_at[row] = now
        self._ring[row] = np.where(mask, self._values, np.nan)
        self._columns += 1

    def _forget_old(self, now: float) -> None:
        if self._columns % FORGET_AFTER_STEPS:
            return
        for key, slot in [*self._slots.items()]:
            if now - self._seen[slot] > FORGET_AFTER_STEPS * self.step_seconds:
                del self._slots[key]
                del self._of_workload[BY_METRIC[key[0]].name, self._refs[slot]][slot]  # type: ignore[index]
                self._keys[slot] = self._refs[slot] = None
                self._free.append(slot)
                self.usual.forget(slot)
                self.rise.forget(slot)
                self._ring[:, slot] = self._counters[slot] = np.nan
                self._seen[slot] = 0.0

    # -- questions

    def usual_candidates(self) -> list[int]:
        """Return the slots whose newest value is unusual."""
        return [int(slot) for slot in np.flatnonzero(self.scores >= self.usual.threshold)]

    def risen(self, slot: int, columns: int) -> float:
        """Return by how much a series rose over the last columns."""
        rows = [(self._columns - 1 - back) % MEMORY_COLUMNS for back in range(min(columns + 1, self._columns))]
        values = self._ring[rows, slot]
        known = values[~np.isnan(values)]
        return float(known[0] - known[-1]) if len(known) else 0.0

    def rising_candidates(self) -> list[int]:
        """Return the slots that climb without coming back."""
        return [int(slot) for slot in np.flatnonzero(self.rise_scores >= self.rise.threshold)]

    def is_fresh(self, slot: int, now: float) -> bool:
        return self._keys[slot] is not None and now - self._seen[slot] <= self._stale_after

    def signal_of(self, slot: int) -> Signal:
        key = self._keys[slot]
        assert key is not None
        return BY_METRIC[key[0]]

    def workload_of(self, slot: int) -> WorkloadRef:
        ref = self._refs[slot]
        assert ref is not None
        return ref

    def labels_of(self, slot: int) -> dict[str, str]:
        key = self._keys[slot]
        assert key is not None
        return dict(key[1])

    def value(self, slot: int) -> float:
        return float(self._values[slot])

    def slots(self, signal: Signal, workload: WorkloadRef, **labels: str) -> list[int]:
        found = self._of_workload.get((signal.name, workload), {})
        return [slot for slot in found if labels.items() <= self.labels_of(slot).items()]

    def has(self, signal: Signal, workload: WorkloadRef) -> bool:
        return bool(self.slots(signal, workload))

    def slots_of_signal(self, signal: Signal) -> list[int]:
        return [slot for (name, _), slots in self._of_workload.items() if name == signal.name for slot in slots]

    def window(self, signal: Signal, workload: WorkloadRef, *, start: float, end: float, **labels: str) -> Window:
        """Return what a series showed between two times, in seconds since 1970."""
        slots = self.slots(signal, workload, **labels)
        if not slots:
            return EMPTY
        order = np.argsort(self._ring_at, kind="stable")
        at, values = self._ring_at[order], self._ring[order, slots[0]].astype(np.float64)
        inside = (at >= start) & (at <= end) & ~np.isnan(values)
        return Window(at[inside], values[inside])

    def latest(self, signal: Signal, workload: WorkloadRef, *, now: float, **labels: str) -> float | None:
        """Return the newest value, None where it is missing or older than three steps."""
        slots = self.slots(signal, workload, **labels)
        if not slots or not self.is_fresh(slots[0], now):
            return None
        return float(self._values[slots[0]])

    def band(self, signal: Signal, workload: WorkloadRef, **labels: str) -> Band | None:
        """Return what the series usually does; None while that is not known."""
        slots = self.slots(signal, workload, **labels)
        if not slots or self.usual.count[slots[0]] < self.usual.warm_up:
            return None
        usual, spread = float(self.usual.usual[slots[0]]), float(self.usual.spread[slots[0]])
        width = max(_BAND_SPREADS * spread, signal.floor, _BAND_SHARE * abs(usual))
        return Band(usual - width, usual + width)

    # -- a restart loses nothing

    def to_plain(self) -> dict[str, Any]:
        keys = [(key[0], [list(pair) for pair in key[1]], slot) for key, slot in self._slots.items()]
        used = [slot for *_, slot in keys]
        return {
            "keys": [[metric, labels] for metric, labels, _ in keys],
            "usual": self.usual.state()[:, used].tolist(),
            "rise": self.rise.state()[:, used].tolist(),
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        keys: Sequence[tuple[str, Labels]] = [
            (metric, tuple((name, value) for name, value in labels)) for metric, labels in plain["keys"]
        ]
        slots = [self._slot_of(Sample(metric, labels, 0.0, 0.0)) for metric, labels in keys]
        for detector, rows in ((self.usual, plain["usual"]), (self.rise, plain["rise"])):
            state = detector.state()
            for column, slot in enumerate(slots):
                if slot is not None:
                    state[:, slot] = [row[column] for row in rows]
            detector.restore(state)


def metric_name(signal: str) -> str:
    return signal if signal.startswith(PREFIX) else PREFIX + signal

"""What can be measured of the world: the canonical signals, from what happened in the last half minute."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from aegis.catalogue import signals
from aegis.catalogue.signals import Signal
from aegis.simulator.world.processes import Workload

_Key = TypeVar("_Key")
WINDOW_S = 30.0
_TOO_FEW = 0.5  # requests in the window: fewer are no data


class Sample(NamedTuple):
    """One series' value now."""

    metric: str
    labels: dict[str, str]
    value: float


@dataclass
class Window:
    """Requests, failures and seconds spent, over the last `WINDOW_S`."""

    steps: deque[tuple[float, float, float, float]] = field(default_factory=deque)
    requests: float = 0.0
    failures: float = 0.0
    seconds: float = 0.0
    _open: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def add(self, requests: float, failures: float, seconds: float) -> None:
        """Note part of the step that goes on."""
        now = self._open
        self._open = (now[0] + requests, now[1] + failures, now[2] + seconds)

    def close(self, at: float) -> None:
        requests, failures, seconds = self._open
        if requests > 0.0:
            self.steps.append((at, requests, failures, seconds))
            self.requests += requests
            self.failures += failures
            self.seconds += seconds
            self._open = (0.0, 0.0, 0.0)
        while self.steps and self.steps[0][0] <= at - WINDOW_S:
            _, requests, failures, seconds = self.steps.popleft()
            self.requests -= requests
            self.failures -= failures
            self.seconds -= seconds
        if not self.steps:
            self.requests = self.failures = self.seconds = 0.0

    @property
    def has_data(self) -> bool:
        return self.requests >= _TOO_FEW

    @property
    def error_ratio(self) -> float:
        return min(1.0, max(0.0, self.failures / self.requests))

    @property
    def latency_s(self) -> float:
        return max(0.0, self.seconds / self.requests)


class UserStep(NamedTuple):
    """What users of a service met in one step."""

    at: datetime
    service: str
    requests: float
    failed: float


@dataclass
class Gauges:
    """What is read off a workload's processes; None where there is nothing to read."""

    cpu_usage_ratio: float | None = None
    cpu_throttled_ratio: float | None = None
    memory_usage_ratio: float | None = None
    memory_usage_bytes: float | None = None
    pool_usage_ratio: float | None = None
    connections_usage_ratio: float | None = None
    queue_length: float | None = None


class Telemetry:
    """Gathers step by step, answers in samples."""

    def __init__(self, began_at: datetime, *, log_steps: int = 7200) -> None:
        self._began_at = began_at
        self.seconds = 0.0
        self.users: deque[UserStep] = deque(maxlen=log_steps)
        self._requests: dict[Workload, Window] = {}
        self._by_revision: dict[tuple[Workload, str], Window] = {}
        self._calls: dict[tuple[Workload, Workload], Window] = {}
        self._restarts: dict[Workload, int] = {}
        self._refused: dict[Workload, float] = {}
        self._user_steps: dict[str, list[float]] = {}

    # What happens

    def note_start(self, workload: Workload, *, is_restart: bool) -> None:
        self._restarts[workload] = self._restarts.get(workload, 0) + is_restart

    def note_requests(
        self, workload: Workload, revision: str, requests: float, failures: float, seconds: float
    ) -> None:
        _window(self._requests, workload).add(requests, failures, seconds)
        if revision:
            _window(self._by_revision, (workload, revision)).add(requests, failures, seconds)

    def note_call(self, caller: Workload, peer: Workload, requests: float, failures: float, seconds: float) -> None:
        _window(self._calls, (caller, peer)).add(requests, failures, seconds)

    def note_refused(self, workload: Workload | None, count: float) -> None:
        if workload is not None:
            self._refused[workload] = self._refused.get(workload, 0.0) + count

    def note_users(self, service: str, requests: float, failed: float) -> None:
        step = self._user_steps.setdefault(service, [0.0, 0.0])
        step[0] += requests
        step[1] += failed

    def close_step(self, now: datetime) -> None:
        self.seconds = (now - self._began_at).total_seconds()
        for windows in (self._requests, self._by_revision, self._calls):
            for window in windows.values():
                window.close(self.seconds)
        for service, (requests, failed) in self._user_steps.items():
            self.users.append(UserStep(now, service, requests, failed))
        self._user_steps.clear()

    # What can be asked

    def restarts_of(self, workload: Workload) -> int:
        return self._restarts.get(workload, 0)

    def requests_of(self, workload: Workload) -> Window | None:
        found = self._requests.get(workload)
        return found if found is not None and found.has_data else None

    def samples(self, gauges: dict[Workload, Gauges]) -> Iterator[Sample]:
        """Return every signal that has data; the workloads that exist are those with gauges."""
        yield from self._of_workloads(gauges)
        for (workload, revision), window in self._by_revision.items():
            if workload in gauges and window.has_data:
                labels = {**_labels(workload), "revision": revision}
                yield _sample(signals.REVISION_REQUEST_RATE, labels, self.rate_of(window))
                yield _sample(signals.REVISION_ERROR_RATIO, labels, window.error_ratio)
        for (caller, peer), window in self._calls.items():
            if caller in gauges and window.has_data:
                labels = {**_labels(caller), **{f"peer_{key}": each for key, each in _labels(peer).items()}}
                yield _sample(signals.CALL_RATE, labels, self.rate_of(window))
                yield _sample(signals.CALL_ERROR_RATIO, labels, window.error_ratio)
                yield _sample(signals.CALL_LATENCY, labels, window.latency_s)

    def _of_workloads(self, gauges: dict[Workload, Gauges]) -> Iterator[Sample]:
        for workload, gauge in gauges.items():
            labels = _labels(workload)
            window = self.requests_of(workload)
            if window is not None:
                yield _sample(signals.REQUEST_RATE, labels, self.rate_of(window))
                yield _sample(signals.ERROR_RATIO, labels, window.error_ratio)
                yield _sample(signals.LATENCY, labels, window.latency_s)
            for signal, value in _readings(gauge):
                if value is not None:
                    yield _sample(signal, labels, value)
            if workload in self._restarts:
                yield _sample(signals.RESTARTS, labels, float(self._restarts[workload]))
            if gauge.connections_usage_ratio is not None or workload in self._refused:
                refused = float(int(self._refused.get(workload, 0.0)))
                yield _sample(signals.CONNECTIONS_REFUSED, labels, refused)

    def rate_of(self, window: Window) -> float:
        """Return requests a second; a young world has no full window yet."""
        return window.requests / max(1.0, min(WINDOW_S, self.seconds))


def _readings(gauge: Gauges) -> list[tuple[Signal, float | None]]:
    return [
        (signals.CPU_USAGE, gauge.cpu_usage_ratio),
        (signals.CPU_THROTTLED, gauge.cpu_throttled_ratio),
        (signals.MEMORY_USAGE, gauge.memory_usage_ratio),
        (signals.MEMORY_BYTES, gauge.memory_usage_bytes),
        (signals.POOL_USAGE, gauge.pool_usage_ratio),
        (signals.CONNECTIONS_USAGE, gauge.connections_usage_ratio),
        (signals.QUEUE_LENGTH, gauge.queue_length),
    ]


def _window(windows: dict[_Key, Window], key: _Key) -> Window:
    found = windows.get(key)
    if found is None:
        found = windows[key] = Window()
    return found


def _labels(workload: Workload) -> dict[str, str]:
    return {"namespace": workload.namespace, "kind": workload.kind, "workload": workload.name}


def _sample(signal: Signal, labels: dict[str, str], value: float) -> Sample:
    return Sample(signal.metric, labels, value)

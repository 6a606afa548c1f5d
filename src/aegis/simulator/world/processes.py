"""One running container: what it holds, what it did in this second, and how it ends."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from aegis.simulator.kubernetes.controllers.quantities import amount
from aegis.simulator.kubernetes.controllers.runtime import Exited
from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.world.programs import Call, Program

_MIB = 2.0**20


class Workload(NamedTuple):
    """Who a pod belongs to."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass
class Limits:
    """What the pod template grants, in cores and MiB; None is no limit."""

    cpu: float | None
    memory_mib: float | None
    cpu_request: float
    memory_request_mib: float

    @classmethod
    def of(cls, container: Object) -> "Limits":
        limits = dig(container, "resources", "limits", default={})
        requests = dig(container, "resources", "requests", default={})
        return cls(
            cpu=amount(limits["cpu"]) if "cpu" in limits else None,
            memory_mib=amount(limits["memory"]) / _MIB if "memory" in limits else None,
            cpu_request=amount(requests.get("cpu")),
            memory_request_mib=amount(requests.get("memory")) / _MIB,
        )


@dataclass
class Process:
    """A container's process. The physics writes the figures of each step into it."""

    pod_uid: str
    container: str
    node: str
    workload: Workload
    revision: str
    program: Program
    limits: Limits
    started_at: datetime
    run: int
    is_main: bool = True
    exited: Exited | None = None
    stops_at: datetime | None = None

    # State that lasts
    leaked_mib: float = 0.0
    has_burst: bool = False
    missing_since: datetime | None = None
    """Since when a service it needs is gone."""
    is_settled: bool = False
    """It got past its start."""
    recent_rps: float = 0.0
    callees: tuple[Program, list[tuple[str, Call]]] | None = None
    """Its calls by the services' full names, worked out once for a program."""

    unevenness: float = 1.0
    """Chance's part in what is measured: a factor that drifts around one."""

    # Figures of the last step
    arrivals: float = 0.0
    admitted: float = 1.0
    """Share of the arrivals that got as far as making calls."""
    errors: float = 0.0
    latency_s: float = 0.0
    cpu_used: float = 0.0
    cpu_throttled: float = 0.0
    utilisation: float = 0.0
    open_requests: float = 0.0
    pool_in_use: float = 0.0
    jobs: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.exited is None

    def listens(self, now: datetime) -> bool:
        return self.exited is None and (now - self.started_at).total_seconds() >= self.program.start_s

    @property
    def memory_mib(self) -> float:
        program = self.program
        return (
            program.memory_mib
            + self.leaked_mib
            + (program.burst_mib if self.has_burst else 0.0)
            + self.open_requests * program.memory_mib_per_open_request
        )

    def exit(self, code: int, at: datetime, *, oom_killed: bool = False) -> None:
        """End it, once."""
        if self.exited is None:
            self.exited = Exited(exit_code=code, at=at, oom_killed=oom_killed)
            self.arrivals = self.open_requests = self.cpu_used = self.pool_in_use = 0.0

    def live(self, now: datetime, step_s: float) -> None:
        """Let time pass: what ends by itself ends, what leaks leaks."""
        program, age = self.program, (now - self.started_at).total_seconds()
        if self.stops_at is not None and now >= self.stops_at:
            self.exit(0, self.stops_at)
        elif program.exit_at_start is not None and age >= program.start_s:
            self.exit(program.exit_at_start, self._after(program.start_s))
        elif program.exits_once and self.run == 1 and age >= program.start_s:
            self.exit(1, self._after(program.start_s))
        elif program.exit_after_s is not None and age >= program.exit_after_s:
            self.exit(program.exit_code, self._after(program.exit_after_s))
        else:
            self._grow(age, step_s, now)

    def drift(self, rng: random.Random, step_s: float) -> None:
        pull = min(1.0, 0.1 * step_s)
        self.unevenness += pull * (1.0 - self.unevenness) + rng.gauss(0.0, 0.015 * step_s**0.5)
        self.unevenness = min(1.2, max(0.8, self.unevenness))

    @property
    def measured_memory_mib(self) -> float:
        """The working set as measured: caches breathe, a leak does not."""
        return self.memory_mib + 0.04 * self.program.memory_mib * (self.unevenness - 1.0)

    def _after(self, seconds: float) -> datetime:
        return self.started_at + timedelta(seconds=seconds)

    def _grow(self, age: float, step_s: float, now: datetime) -> None:
        program = self.program
        leak = program.leak_mib_per_s + program.leak_kib_per_request / 1024.0 * self.arrivals
        self.leaked_mib += leak * step_s
        if program.burst_mib and age >= program.burst_after_s:
            self.has_burst = True
        limit = self.limits.memory_mib
        if limit is not None and self.memory_mib > limit:
            self.exit(137, now, oom_killed=True)

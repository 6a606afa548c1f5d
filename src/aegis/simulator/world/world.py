"""The whole world: a cluster, its controllers and the physics below, moved by one clock and one seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from aegis.kit.clock import Clock
from aegis.kit.errors import AegisError
from aegis.simulator.kubernetes.controllers.control_plane import ControlPlane
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import dig
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, NAMESPACES, STATEFULSETS, Resource
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.world.faults import Step
from aegis.simulator.world.gauges import read_gauges
from aegis.simulator.world.governor import Governor
from aegis.simulator.world.person import Person
from aegis.simulator.world.physics import Physics
from aegis.simulator.world.processes import Workload
from aegis.simulator.world.programs import Registry
from aegis.simulator.world.prometheus import Recording
from aegis.simulator.world.telemetry import Sample, Telemetry
from aegis.simulator.world.topologies import Topology

STEP_S = 1.0
HISTORY = 20_000
"""So many changes the API server remembers, for watches to go on from."""
_STEPS_AT_ONCE = 120
_HEALTHY_ERRORS = 0.05
_WORKLOADS: tuple[Resource, ...] = (DEPLOYMENTS, STATEFULSETS)


class _WorldClock:
    """The world's own time: inside a step that of the step; between steps the clock's, but never going back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stepping_at: datetime | None = None
        self.reached = clock.now()

    def now(self) -> datetime:
        return self.stepping_at or max(self.reached, self._clock.now())

    async def sleep(self, duration: timedelta) -> None:
        await self._clock.sleep(duration)


@dataclass(frozen=True)
class Health:
    """The truth about a workload, which no service of Aegis can ask for."""

    workload: Workload
    role: str
    desired: int
    ready: int
    request_rate: float
    error_ratio: float
    latency_s: float
    restarts: int
    is_healthy: bool


class World:
    """One seed is one world; two worlds of a seed live the same life."""

    def __init__(self, *, seed: int, clock: Clock, registry: Registry | None = None, history: int = HISTORY) -> None:
        self.seed = seed
        self.clock = _WorldClock(clock)
        self.registry = registry or Registry()
        rng = random.Random(seed)
        self.store = Store(self.clock, random.Random(rng.getrandbits(64)), history=history)
        self.telemetry = Telemetry(self.clock.now())
        self.physics = Physics(
            self.store, self.clock, random.Random(rng.getrandbits(64)), self.registry, self.telemetry
        )
        self.plane = ControlPlane(self.store, self.physics, random.Random(rng.getrandbits(64)))
        self.recording = Recording(look=self.samples)
        self.roles: dict[str, list[Workload]] = {}
        self.began_at = self._reached = self.clock.now()
        self._person = Person(self.store, self.registry, self.physics, self.clock, self.roles)
        self.story: list[tuple[datetime, str]] = []
        """What people and mishaps did, in words."""
        self._plan: list[tuple[datetime, Step]] = []

    def install(self, topology: Topology) -> None:
        """Furnish the world; its pods start with the next step."""
        for image, program in topology.programs.items():
            self.registry.push(image, program)
        for resource, manifest in topology.manifests():
            if resource == NAMESPACES:
                self.plane.step()  # the nodes were there before anything that wants to run on them
            if resource.namespaced or self.store.find(resource, None, manifest["metadata"]["name"]) is None:
                self.store.create(resource, manifest)
        self.physics.traffic.update(topology.traffic)
        for part in topology.parts:
            self.roles.setdefault(part.role, []).append(part.workload)

    # Time

    def advance(self, to: datetime) -> None:
        """Let time pass up to `to`, in steps of a second or less."""
        gap_s = (to - self._reached).total_seconds()
        if gap_s <= 0:
            return
        # Whoever was asleep for long catches up in larger steps instead of falling further behind.
        step = timedelta(seconds=max(STEP_S, gap_s / _STEPS_AT_ONCE if gap_s > 3 * _STEPS_AT_ONCE else STEP_S))
        while self._reached < to:
            at = min(to, self._reached + step)
            self._step(at, (at - self._reached).total_seconds())
            self._reached = self.clock.reached = at

    def _step(self, at: datetime, step_s: float) -> None:
        self.clock.stepping_at = at
        try:
            while self._plan and self._plan[0][0] <= at:
                self._do_as_planned(self._plan.pop(0)[1])
            self.physics.step(step_s)
            self.plane.step()
            self.recording.keep(at)
        finally:
            self.clock.stepping_at = None

    def _do_as_planned(self, step: Step) -> None:
        try:
            self.do(step)
        except (AegisError, ApiError) as refused:
            self.story.append((self.clock.now(), f"{step.do} was refused: {refused}"))

    async def run(self, *, until: Callable[[], bool] = lambda: False, governor: Governor | None = None) -> None:
        """Live along with the clock; where there is a governor, the clock with the world."""
        while not until():
            await self.clock.sleep(timedelta(seconds=STEP_S))
            # Whole steps only: what is left over waits for the next turn instead of costing a step of its own.
            passed_s = (self.clock.now() - self._reached).total_seconds()
            live = partial(self.advance, self._reached + timedelta(seconds=passed_s // STEP_S * STEP_S))
            if governor is None:
                live()
            else:
                governor.oversee(live, lag_s=passed_s)

    # What happens

    def do(self, step: Step) -> str:
        """Let a step happen now; return what was done, in words."""
        done = self._person.do(step)
        self.story.append((self.clock.now(), done))
        return done

    def plan(self, at: datetime, step: Step) -> None:
        """Let a step happen later."""
        self._plan.append((at, step))
        self._plan.sort(key=lambda each: each[0])

    def find(self, target: str) -> Workload:
        """Find a workload by `namespace/name` or by its part, e.g. `@store`.

        Raises:
            NotFoundError: there is none.
        """
        return self._person.find(target)

    # What can be seen

    def samples(self) -> list[Sample]:
        """Return the canonical signals of this moment."""
        return list(self.telemetry.samples(read_gauges(self.store, self.physics)))

    def health(self) -> list[Health]:
        roles = {workload: role for role, found in self.roles.items() for workload in found}
        return [
            self._health_of(
                Workload(each["metadata"]["namespace"], resource.kind, each["metadata"]["name"]), each, roles
            )
            for resource in _WORKLOADS
            for each in self.store.list(resource)
        ]

    def _health_of(self, workload: Workload, obj: dict[str, object], roles: dict[Workload, str]) -> Health:
        desired = int(dig(obj, "spec", "replicas", default=1))
        ready = int(dig(obj, "status", "readyReplicas", default=0))
        window = self.telemetry.requests_of(workload)
        errors = window.error_ratio if window else 0.0
        return Health(
            workload=workload,
            role=roles.get(workload, ""),
            desired=desired,
            ready=ready,
            request_rate=self.telemetry.rate_of(window) if window else 0.0,
            error_ratio=errors,
            latency_s=window.latency_s if window else 0.0,
            restarts=self.telemetry.restarts_of(workload),
            is_healthy=ready >= desired and errors < _HEALTHY_ERRORS,
        )

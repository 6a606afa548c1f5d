"""Worlds for tests, moved by hand."""

from datetime import timedelta
from typing import Any

from aegis.kit.clock import VirtualClock
from aegis.simulator.kubernetes.resources import PODS
from aegis.simulator.world.faults import STEP
from aegis.simulator.world.processes import Workload
from aegis.simulator.world.topologies import Topology, shop
from aegis.simulator.world.world import World

Object = dict[str, Any]


class Life:
    """A world, and what one may do to it in a test."""

    def __init__(self, topology: Topology | None = None, *, seed: int = 5) -> None:
        self.world = World(seed=seed, clock=VirtualClock())
        self.world.install(topology or shop())
        self._now = self.world.began_at

    def go(self, seconds: float) -> "Life":
        self._now += timedelta(seconds=seconds)
        self.world.advance(self._now)
        return self

    def do(self, do: str, **step: Any) -> str:
        return self.world.do(STEP.validate_python({"do": do, **step}))

    def pods(self, app: str) -> list[Object]:
        return self.world.store.list(PODS, None, {"app": app})

    def signal(self, name: str, workload: str, **labels: str) -> float | None:
        found = [
            each.value
            for each in self.world.samples()
            if each.metric == f"aegis:{name}"
            and each.labels["workload"] == workload
            and labels.items() <= each.labels.items()
        ]
        assert len(found) <= 1, f"{name} of {workload} has {len(found)} series"
        return found[0] if found else None

    def failing(self, last_s: int) -> float:
        """Share of the users' requests that failed in the last seconds."""
        steps = list(self.world.telemetry.users)
        since = self._now - timedelta(seconds=last_s)
        recent = [each for each in steps if each.at > since]
        return sum(each.failed for each in recent) / sum(each.requests for each in recent)

    def workload(self, target: str) -> Workload:
        return self.world.find(target)

"""A cluster with a pretend container runtime, for tests of its controllers."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aegis.kit.clock import VirtualClock
from aegis.simulator.kubernetes.controllers.control_plane import ControlPlane
from aegis.simulator.kubernetes.controllers.runtime import Exited, ProbeKind, Running
from aegis.simulator.kubernetes.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from aegis.simulator.kubernetes.store import Store

Object = dict[str, Any]


@dataclass
class Process:
    """What an image does when it runs, times in seconds after its start."""

    exits_after: float | None = None
    exit_code: int = 1
    oom: bool = False
    ready_after: float | None = 0.3
    live_until: float | None = None
    stops_within: float = 1.0
    fails_first_run_only: bool = False


@dataclass
class PretendRuntime:
    clock: VirtualClock
    images: dict[str, Process] = field(default_factory=dict)
    missing_images: set[str] = field(default_factory=set)
    dark_nodes: set[str] = field(default_factory=set)
    cores: float | None = None
    """What each pod uses."""
    _runs: dict[tuple[str, str], tuple[datetime, Process, int]] = field(default_factory=dict)
    _stopped: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def has_power(self, node: str) -> bool:
        return node not in self.dark_nodes

    def image_exists(self, image: str) -> bool:
        return image not in self.missing_images

    def start(self, pod: Object, container: Object) -> None:
        key = (pod["metadata"]["uid"], container["name"])
        runs = self._runs[key][2] + 1 if key in self._runs else 1
        process = self.images.get(container["image"], Process())
        self._runs[key] = (self.clock.now(), process, runs)
        self._stopped.pop(key, None)

    def stop(self, pod_uid: str, container: str) -> None:
        self._stopped.setdefault((pod_uid, container), self.clock.now())

    def kill(self, pod_uid: str, container: str) -> None:
        self._runs.pop((pod_uid, container), None)

    def state(self, pod_uid: str, container: str) -> Running | Exited | None:
        key = (pod_uid, container)
        if key not in self._runs:
            return None
        started, process, runs = self._runs[key]
        now = self.clock.now()
        if key in self._stopped:
            ended = self._stopped[key] + timedelta(seconds=process.stops_within)
            return Exited(0, ended) if now >= ended else Running(started)
        cured = process.fails_first_run_only and runs > 1
        if process.exits_after is not None and not cured:
            ended = started + timedelta(seconds=process.exits_after)
            if now >= ended:
                return Exited(process.exit_code, ended, process.oom)
        return Running(started)

    def probe_failure(self, pod: Object, container: str, kind: ProbeKind) -> str | None:
        started, process, _ = self._runs[pod["metadata"]["uid"], container]
        age = (self.clock.now() - started).total_seconds()
        if kind == "liveness":
            return "timeout" if process.live_until is not None and age > process.live_until else None
        refused = process.ready_after is None or age < process.ready_after
        return "connect: connection refused" if refused else None

    def cores_used(self, pod_uid: str) -> float | None:
        return self.cores

    def logs(self, pod_uid: str, container: str, *, previous: bool = False) -> list[str]:
        return []


class TestBed:
    """A store, its control plane and a runtime, moved second by second."""

    __test__ = False

    def __init__(self, *, seed: int = 1, nodes: int = 2, cpu: str = "4", step_s: float = 1.0) -> None:
        self.clock = VirtualClock()
        self.started_at = self.clock.now()
        self.step_s = step_s
        self.store = Store(self.clock, random.Random(seed))
        self.runtime = PretendRuntime(self.clock)
        self.plane = ControlPlane(self.store, self.runtime, random.Random(seed + 1))
        for number in range(nodes):
            self.store.create(NODES, a_node(f"node{number + 1}", cpu=cpu))
        self.store.create(NAMESPACES, {"metadata": {"name": "shop"}})
        self.plane.step()

    async def run(self, seconds: float) -> None:
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            self.plane.step()
            await self.clock.advance(min(timedelta(seconds=self.step_s), end - self.clock.now()))
        self.plane.step()

    def pods(self, app: str = "web") -> list[Object]:
        return self.store.list(PODS, "shop", {"app": app})

    def deployment(self, name: str = "web") -> Object:
        return self.store.get(DEPLOYMENTS, "shop", name)

    def sets(self) -> list[Object]:
        return self.store.list(REPLICASETS, "shop")

    def apply(self, resource: Resource, obj: Object) -> Object:
        return self.store.create(resource, obj)

    def deploy(self, **options: Any) -> Object:
        return self.apply(DEPLOYMENTS, a_deployment(**options))

    def set_image(self, image: str, *, name: str = "web", resource: Resource = DEPLOYMENTS) -> None:
        self.edit(name, lambda it: it["template"]["spec"]["containers"][0].update(image=image), resource)

    def edit(self, name: str, change: Any, resource: Resource = DEPLOYMENTS) -> None:
        found = self.store.get(resource, "shop", name)
        copied = {**found, "spec": _copied(found["spec"])}
        change(copied["spec"])
        self.store.update(resource, copied)

    def events(self, reason: str) -> list[Object]:
        return [each for each in self.store.list(EVENTS) if each["reason"] == reason]


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def a_node(name: str, *, cpu: str = "4", memory: str = "16Gi") -> Object:
    amounts = {"cpu": cpu, "memory": memory, "pods": "110"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        },
    }


def a_template(name: str, image: str, **more: Any) -> Object:
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "resources": {
                        "requests": {"cpu": "20m", "memory": "32Mi"},
                        "limits": {"cpu": "500m", "memory": "128Mi"},
                    },
                    "readinessProbe": {"httpGet": {"path": "/ready"}, "periodSeconds": 2, "failureThreshold": 2},
                    "livenessProbe": {
                        "httpGet": {"path": "/live"},
                        "initialDelaySeconds": 5,
                        "periodSeconds": 5,
                        "failureThreshold": 3,
                    },
                    **more,
                }
            ],
            "terminationGracePeriodSeconds": 8,
        },
    }


def a_deployment(
    *, name: str = "web", replicas: int = 3, image: str = "web:1.4.0", spec: Object | None = None, **more: Any
) -> Object:
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": a_template(name, image, **more),
            **(spec or {}),
        },
    }


def a_stateful_set(*, name: str = "store", replicas: int = 3, image: str = "store:1") -> Object:
    made = a_deployment(name=name, replicas=replicas, image=image)
    return {**made, "spec": {**made["spec"], "serviceName": name}}


def a_service(name: str = "web") -> Object:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 8080}]},
    }


def a_config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "shop"}, "data": data}


__all__ = ["CONFIGMAPS", "DEPLOYMENTS", "NODES", "PODS", "SERVICES", "STATEFULSETS"]

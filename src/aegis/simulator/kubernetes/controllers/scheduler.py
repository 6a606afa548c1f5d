"""The scheduler: which node has room for a pod, by its requests, and why none has."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.simulator.kubernetes.controllers.cluster import Cluster
from aegis.simulator.kubernetes.controllers.conditions import with_condition
from aegis.simulator.kubernetes.controllers.quantities import amount, requested
from aegis.simulator.kubernetes.objects import (
    Object,
    controller_of,
    dig,
    is_finished,
    is_terminating,
    labels_of,
)
from aegis.simulator.kubernetes.resources import NODES, PODS

_COMPONENT = "default-scheduler"
_RETRY_FIRST = timedelta(seconds=1)
_RETRY_MOST = timedelta(seconds=10)
_RETRY_ANYWAY = timedelta(minutes=5)


@dataclass
class _Wait:
    """A pod that found no node: how often it tried, and what the cluster looked like then."""

    tries: int
    retry_at: datetime
    give_up_waiting_at: datetime
    seen: int


class Scheduler:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._waiting: dict[str, _Wait] = {}

    def step(self, now: datetime) -> None:
        self._cluster.refresh()
        unbound = [pod for pod in self._cluster.pods_on("") if not is_terminating(pod) and not is_finished(pod)]
        self._waiting = {pod["metadata"]["uid"]: self._waiting[pod["metadata"]["uid"]]
                         for pod in unbound if pod["metadata"]["uid"] in self._waiting}  # fmt: skip
        for pod in unbound:
            if self._is_due(pod, now):
                self._cluster.attempt(self._schedule, pod, now)

    def _is_due(self, pod: Object, now: datetime) -> bool:
        wait = self._waiting.get(pod["metadata"]["uid"])
        if wait is None or now >= wait.give_up_waiting_at:
            return True
        return now >= wait.retry_at and self._cluster.version_of(NODES, PODS) != wait.seen

    def _schedule(self, pod: Object, now: datetime) -> None:
        nodes = self._cluster.all(NODES)
        obstacles = {node["metadata"]["name"]: self._obstacles(pod, node) for node in nodes}
        fitting = [node for node in nodes if not obstacles[node["metadata"]["name"]]]
        if fitting:
            self._bind(pod, max(fitting, key=lambda node: self._score(pod, node)), now)
        else:
            self._refuse(pod, Counter(each for found in obstacles.values() for each in found), now)

    def _obstacles(self, pod: Object, node: Object) -> list[str]:
        """Say why the pod cannot run there, in the real scheduler's words; empty when it can."""
        if dig(node, "spec", "unschedulable") and not _tolerates(pod, _CORDONED):
            return ["node(s) were unschedulable"]
        wanted = dig(pod, "spec", "nodeSelector", default={})
        if any(labels_of(node).get(key) != value for key, value in wanted.items()):
            return ["node(s) didn't match Pod's node affinity/selector"]
        taints = [each for each in dig(node, "spec", "taints", default=[]) if each["effect"] != "PreferNoSchedule"]
        if any(not _tolerates(pod, taint) for taint in taints):
            return ["node(s) had untolerated taint(s)"]
        room = self._room(node)
        short = [f"Insufficient {name}" for name in ("cpu", "memory") if requested(pod, name) > room[name] + 1e-9]
        return short + (["Too many pods"] if room["pods"] < 1 else [])

    def _room(self, node: Object) -> dict[str, float]:
        name = node["metadata"]["name"]
        running = [pod for pod in self._cluster.pods_on(name) if not is_finished(pod)]
        allocatable = dig(node, "status", "allocatable", default={})
        room = {
            each: amount(allocatable.get(each)) - sum(requested(pod, each) for pod in running)
            for each in ("cpu", "memory")
        }
        return {**room, "pods": amount(allocatable.get("pods", 110)) - len(running)}

    def _score(self, pod: Object, node: Object) -> tuple[float, float, float]:
        """Prefer nodes without siblings, then the emptiest; chance decides the rest."""
        owner = (controller_of(pod) or {}).get("uid")
        on_node = self._cluster.pods_on(node["metadata"]["name"])
        siblings = sum((controller_of(each) or {}).get("uid") == owner for each in on_node)
        room, allocatable = self._room(node), dig(node, "status", "allocatable", default={})
        free = sum(room[each] / max(amount(allocatable.get(each)), 1e-9) for each in ("cpu", "memory"))
        return (-siblings, round(free, 2), self._cluster.rng.random())

    def _bind(self, pod: Object, node: Object, now: datetime) -> None:
        meta, name = pod["metadata"], node["metadata"]["name"]
        self._waiting.pop(meta["uid"], None)
        self._cluster.change(PODS, pod, lambda it: it["spec"].update(nodeName=name))
        self._set_condition(pod, "True", "", "", now)
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {name}"
        self._cluster.event(pod, "Normal", "Scheduled", message, _COMPONENT)
        self._cluster.refresh()

    def _refuse(self, pod: Object, obstacles: Counter[str], now: datetime) -> None:
        total = len(self._cluster.all(NODES))
        if total:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(obstacles.items()))
            message = (
                f"0/{total} nodes are available: {reasons}. preemption: 0/{total} nodes are available: "
                f"{total} Preemption is not helpful for scheduling."
            )
        else:
            message = "no nodes available to schedule pods"
        self._cluster.event(pod, "Warning", "FailedScheduling", message, _COMPONENT)
        self._set_condition(pod, "False", "Unschedulable", message, now)
        uid = pod["metadata"]["uid"]
        tries = self._waiting[uid].tries + 1 if uid in self._waiting else 1
        pause = min(_RETRY_MOST, _RETRY_FIRST * 2 ** min(tries - 1, 8))
        seen = self._cluster.version_of(NODES, PODS)
        self._waiting[uid] = _Wait(tries, now + pause, now + _RETRY_ANYWAY, seen)

    def _set_condition(self, pod: Object, status: str, reason: str, message: str, now: datetime) -> None:
        old = pod.get("status") or {}
        conditions = with_condition(
            old.get("conditions") or [], "PodScheduled", status, now=now, reason=reason, message=message
        )
        self._cluster.write_status(PODS, pod, {**old, "conditions": conditions})


_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def _tolerates(pod: Object, taint: Object) -> bool:
    return any(tolerates(each, taint) for each in dig(pod, "spec", "tolerations", default=[]))


def tolerates(toleration: Object, taint: Object) -> bool:
    """Tell whether a toleration covers a taint.

    >>> tolerates({"operator": "Exists"}, {"key": "gpu", "effect": "NoSchedule"})
    True
    """
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")

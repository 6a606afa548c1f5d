"""The node controller: notices a silent kubelet, taints its node and moves the pods away."""

from datetime import UTC, datetime, timedelta

from aegis.simulator.kubernetes.controllers.cluster import Cluster
from aegis.simulator.kubernetes.controllers.conditions import condition_of, with_condition
from aegis.simulator.kubernetes.controllers.scheduler import tolerates
from aegis.simulator.kubernetes.objects import (
    Object,
    dig,
    is_finished,
    is_terminating,
    moment,
    timestamp,
)
from aegis.simulator.kubernetes.resources import LEASES, NODES, PODS

LEASE_NAMESPACE = "kube-node-lease"
_GRACE = timedelta(seconds=50)
_CHECKED_EVERY = timedelta(seconds=5)
_UNREACHABLE = "node.kubernetes.io/unreachable"
_NOT_READY = "node.kubernetes.io/not-ready"
_CORDONED = "node.kubernetes.io/unschedulable"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = (_UNREACHABLE, _NOT_READY, _CORDONED)


class NodeController:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen = -1
        self._checked_at: datetime | None = None

    def step(self, now: datetime) -> None:
        version = self._cluster.version_of(NODES)
        if version == self._seen and self._checked_at and now - self._checked_at < _CHECKED_EVERY:
            return
        self._seen, self._checked_at = version, now
        for node in self._cluster.all(NODES):
            self._cluster.attempt(self._check, node, now)

    def _check(self, node: Object, now: datetime) -> None:
        ready = _ready_of(node)
        silent_since = self._heard_at(node)
        if silent_since and now - silent_since > _GRACE and ready != "Unknown":
            self._lose(node, now)
            node, ready = self._again(node), "Unknown"
        self._taint(node, ready, now)
        if ready != "True":
            for pod in self._pods_to_withdraw(node):
                self._withdraw(pod, now)
        self._evict(self._again(node), now)

    def _again(self, node: Object) -> Object:
        self._cluster.refresh()
        return self._cluster.store.get(NODES, None, node["metadata"]["name"])

    def _heard_at(self, node: Object) -> datetime | None:
        lease = self._cluster.store.find(LEASES, LEASE_NAMESPACE, node["metadata"]["name"])
        renewed = dig(lease, "spec", "renewTime") if lease else None
        return moment(renewed) if renewed else None

    def _lose(self, node: Object, now: datetime) -> None:
        conditions = dig(node, "status", "conditions", default=[])
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready"):
            conditions = with_condition(
                conditions,
                kind,
                "Unknown",
                now=now,
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
            )
        self._cluster.write_status(NODES, node, {**node["status"], "conditions": conditions})
        name = node["metadata"]["name"]
        message = f"Node {name} status is now: NodeNotReady"
        self._cluster.event(node, "Normal", "NodeNotReady", message, "node-controller")

    def _taint(self, node: Object, ready: str, now: datetime) -> None:
        wanted = [_CORDONED] if dig(node, "spec", "unschedulable") else []
        wanted += {"Unknown": [_UNREACHABLE], "False": [_NOT_READY]}.get(ready, [])
        old = dig(node, "spec", "taints", default=[])
        effects = {_CORDONED: ("NoSchedule",)}
        targets = [(key, effect) for key in wanted for effect in effects.get(key, ("NoSchedule", "NoExecute"))]
        kept = [each for each in old if each["key"] not in _OWN or (each["key"], each["effect"]) in targets]
        known = {(each["key"], each["effect"]) for each in kept}
        for key, effect in targets:
            if (key, effect) not in known:
                kept = [*kept, {"key": key, "effect": effect, "timeAdded": timestamp(now)}]
        if kept != old:
            self._cluster.change(NODES, node, lambda it: _set_taints(it, kept))

    def _pods_to_withdraw(self, node: Object) -> list[Object]:
        pods = self._cluster.pods_on(node["metadata"]["name"])
        return [pod for pod in pods if _is_said_ready(pod)]

    def _withdraw(self, pod: Object, now: datetime) -> None:
        conditions = with_condition(pod["status"]["conditions"], "Ready", "False", now=now)
        self._cluster.write_status(PODS, pod, {**pod["status"], "conditions": conditions})
        self._cluster.event(pod, "Warning", "NodeNotReady", "Node is not ready", "node-controller")

    def _evict(self, node: Object, now: datetime) -> None:
        taints = [each for each in dig(node, "spec", "taints", default=[]) if each["effect"] == "NoExecute"]
        for pod in self._cluster.pods_on(node["metadata"]["name"]) if taints else []:
            due = None if is_terminating(pod) or is_finished(pod) else _eviction_at(pod, taints)
            if due is not None and now >= due:
                self._evict_pod(pod, now)

    def _evict_pod(self, pod: Object, now: datetime) -> None:
        meta = pod["metadata"]
        message = f"Marking for deletion Pod {meta['namespace']}/{meta['name']}"
        self._cluster.event(pod, "Normal", "TaintManagerEviction", message, "taint-eviction-controller")
        conditions = with_condition(
            pod["status"].get("conditions") or [],
            "DisruptionTarget",
            "True",
            now=now,
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
        )
        self._cluster.write_status(PODS, pod, {**pod["status"], "conditions": conditions})
        self._cluster.store.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"])


def _ready_of(node: Object) -> str:
    ready = condition_of(dig(node, "status", "conditions", default=[]), "Ready")
    return str(ready["status"]) if ready else "False"


def _is_said_ready(pod: Object) -> bool:
    ready = condition_of(dig(pod, "status", "conditions", default=[]), "Ready")
    return ready is not None and ready["status"] == "True"


def _set_taints(node: Object, taints: list[Object]) -> None:
    if taints:
        node["spec"] = {**(node.get("spec") or {}), "taints": taints}
    else:
        node["spec"].pop("taints", None)


def _eviction_at(pod: Object, taints: list[Object]) -> datetime | None:
    """Say when these taints drive the pod away; None where it tolerates them for good."""
    times = []
    for taint in taints:
        matching = [each for each in dig(pod, "spec", "tolerations", default=[]) if tolerates(each, taint)]
        waits = [each["tolerationSeconds"] for each in matching if "tolerationSeconds" in each]
        if matching and not waits:
            continue
        added = moment(taint["timeAdded"]) if "timeAdded" in taint else _LONG_AGO
        times.append(added + timedelta(seconds=min(waits, default=0)))
    return min(times, default=None)

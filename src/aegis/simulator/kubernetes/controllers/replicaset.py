"""ReplicaSets: as many pods as asked for, and which of them go first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.kit.selectors import selects
from aegis.simulator.kubernetes.controllers.cluster import (
    Cluster,
    EventType,
    is_active,
    is_available,
    owner_reference,
    pod_from,
    ready_since,
)
from aegis.simulator.kubernetes.controllers.conditions import with_condition, without
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import (
    Object,
    controller_of,
    dig,
    is_ready,
    is_terminating,
    labels_of,
)
from aegis.simulator.kubernetes.resources import PODS, REPLICASETS

_COMPONENT = "replicaset-controller"
_SIMILAR_EVENTS = 9  # after so many alike, the recorder combines them
_RETRY_FIRST = timedelta(seconds=0.6)
_RETRY_MOST = timedelta(seconds=1000)


@dataclass
class _Refusals:
    """How often the API server refused a pod in a row, and when to ask again."""

    generation: int
    pods: int
    count: int = 0
    retry_at: datetime | None = None


class ReplicaSetController:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen = -1
        self._wake_at: datetime | None = None
        self._refusals: dict[str, _Refusals] = {}

    def step(self, now: datetime) -> None:
        version = self._cluster.version_of(REPLICASETS, PODS)
        if version == self._seen and (self._wake_at is None or now < self._wake_at):
            return
        self._seen, self._wake_at = version, None
        self._adopt()
        for replicaset in self._cluster.all(REPLICASETS):
            self._cluster.attempt(self._reconcile, replicaset, now)

    def _adopt(self) -> None:
        """Take in pods without an owner that a selector matches, as the real one does."""
        orphans = [pod for pod in self._cluster.all(PODS) if controller_of(pod) is None and is_active(pod)]
        for pod in orphans:
            for each in self._cluster.all(REPLICASETS):
                if _may_adopt(each, pod):
                    self._cluster.adopt(PODS, pod, owner_reference(each, REPLICASETS))
                    break

    def _reconcile(self, replicaset: Object, now: datetime) -> None:
        pods = [each for each in self._cluster.owned_by(replicaset) if each["kind"] == "Pod"]
        failure = None
        if not is_terminating(replicaset):
            active = [pod for pod in pods if is_active(pod)]
            missing = int(replicaset["spec"].get("replicas", 1)) - len(active)
            if missing > 0:
                failure = self._create(replicaset, missing, len(active), now)
            elif missing < 0:
                self._delete(replicaset, active, -missing)
            if missing <= 0:
                self._refusals.pop(replicaset["metadata"]["uid"], None)
        self._write_status(replicaset, failure, now)

    def _create(self, replicaset: Object, count: int, existing: int, now: datetime) -> str | None:
        """Create the missing pods; return why the API server refused, if it did."""
        meta = replicaset["metadata"]
        past = self._refusals.get(meta["uid"])
        if past and (past.generation, past.pods) != (meta.get("generation", 1), existing):
            past = None  # something moved: try at once
        if past and past.retry_at and now < past.retry_at:
            self._wake(past.retry_at)
            return _failure_message(replicaset)
        for created in range(count):
            name = f"{meta['name']}-{self._cluster.suffix()}"
            owner = owner_reference(replicaset, REPLICASETS)
            pod = pod_from(replicaset["spec"]["template"], name=name, namespace=meta["namespace"], owner=owner)
            try:
                self._cluster.store.create(PODS, pod)
            except ApiError as refused:
                current = past or _Refusals(meta.get("generation", 1), existing + created)
                return self._note_refusal(replicaset, current, str(refused), now)
            self._event(replicaset, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        self._refusals.pop(meta["uid"], None)
        return None

    def _note_refusal(self, replicaset: Object, past: _Refusals, why: str, now: datetime) -> str:
        past.count += 1
        wait = min(_RETRY_MOST, _RETRY_FIRST * 2 ** min(past.count - 1, 12))
        past.retry_at = now + wait
        self._refusals[replicaset["metadata"]["uid"]] = past
        self._wake(past.retry_at)
        combined = "(combined from similar events): " if past.count > _SIMILAR_EVENTS else ""
        self._event(replicaset, "Warning", "FailedCreate", f"{combined}Error creating: {why}")
        return why

    def _wake(self, at: datetime) -> None:
        self._wake_at = min(self._wake_at or at, at)

    def _delete(self, replicaset: Object, active: list[Object], count: int) -> None:
        for pod in deletion_order(active)[:count]:
            meta = pod["metadata"]
            self._cluster.store.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"])
            self._event(replicaset, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")

    def _event(self, replicaset: Object, kind: EventType, reason: str, message: str) -> None:
        self._cluster.event(replicaset, kind, reason, message, _COMPONENT)

    def _write_status(self, replicaset: Object, failure: str | None, now: datetime) -> None:
        self._cluster.refresh()
        pods = [each for each in self._cluster.owned_by(replicaset) if each["kind"] == "Pod"]
        active = [pod for pod in pods if is_active(pod)]
        min_ready_s = float(replicaset["spec"].get("minReadySeconds") or 0)
        available = sum(is_available(pod, min_ready_s, now) for pod in active)
        if min_ready_s and available < len(active):
            self._wake(now + timedelta(seconds=1))
        counts = {
            "fullyLabeledReplicas": len(active),
            "readyReplicas": sum(is_ready(pod) for pod in active),
            "availableReplicas": available,
        }
        conditions = without(dig(replicaset, "status", "conditions", default=[]), "ReplicaFailure")
        if failure is not None:
            old = dig(replicaset, "status", "conditions", default=[])
            conditions = with_condition(old, "ReplicaFailure", "True", now=now, reason="FailedCreate", message=failure)
        status: Object = {
            "replicas": len(active),
            **{key: value for key, value in counts.items() if value},
            "terminatingReplicas": sum(is_terminating(pod) for pod in pods),
            "observedGeneration": dig(replicaset, "metadata", "generation", default=1),
            **({"conditions": conditions} if conditions else {}),
        }
        self._cluster.write_status(REPLICASETS, replicaset, status)


def deletion_order(pods: Sequence[Object]) -> list[Object]:
    """Order pods by how little is lost: unassigned, pending, unready, crowded and new ones go first."""
    crowd = Counter(dig(pod, "spec", "nodeName", default="") for pod in pods)

    def rank(pod: Object) -> tuple[object, ...]:
        since = ready_since(pod)
        restarts = sum(each["restartCount"] for each in dig(pod, "status", "containerStatuses", default=[]))
        node = dig(pod, "spec", "nodeName", default="")
        cost = int(dig(pod, "metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost", default=0))
        return (
            bool(node),
            dig(pod, "status", "phase") == "Running",
            since is not None,
            cost,
            -crowd[node],
            -since.timestamp() if since else 0,
            -restarts,
            _newest_first(pod["metadata"]["creationTimestamp"]),
            pod["metadata"]["name"],
        )

    return sorted(pods, key=rank)


def _newest_first(created: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in created)


def _may_adopt(replicaset: Object, pod: Object) -> bool:
    same_namespace = pod["metadata"]["namespace"] == replicaset["metadata"]["namespace"]
    selector = replicaset["spec"]["selector"]
    return same_namespace and not is_terminating(replicaset) and selects(selector, labels_of(pod))


def _failure_message(replicaset: Object) -> str | None:
    conditions = dig(replicaset, "status", "conditions", default=[])
    return next((each["message"] for each in conditions if each["type"] == "ReplicaFailure"), None)

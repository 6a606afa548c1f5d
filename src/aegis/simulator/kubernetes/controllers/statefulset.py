"""StatefulSets: pods with names that stay, made one after the other and renewed from the highest."""

from datetime import datetime

from aegis.simulator.kubernetes.controllers.cluster import (
    Cluster,
    is_active,
    owner_reference,
    pod_from,
    template_hash,
)
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import (
    Object,
    copy_of,
    dig,
    is_finished,
    is_ready,
    is_terminating,
    labels_of,
)
from aegis.simulator.kubernetes.resources import CONTROLLERREVISIONS, PODS, STATEFULSETS

REVISION_LABEL = "controller-revision-hash"
_COMPONENT = "statefulset-controller"


class StatefulSetController:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen = -1

    def step(self, now: datetime) -> None:  # noqa: ARG002 - all controllers are called alike
        version = self._cluster.version_of(STATEFULSETS, PODS)
        if version == self._seen:
            return
        self._seen = version
        for stateful in self._cluster.all(STATEFULSETS):
            self._cluster.attempt(self._reconcile, stateful)

    def _reconcile(self, stateful: Object) -> None:
        update = self._revision(stateful)
        pods = {_ordinal(pod): pod for pod in self._cluster.owned_by(stateful)}
        if not is_terminating(stateful):
            self._act(stateful, pods, update)
        self._write_status(stateful, update)

    def _act(self, stateful: Object, pods: dict[int, Object], update: str) -> None:
        """Do the one thing whose turn it is; with OrderedReady everything waits for the first sick pod."""
        wanted = int(stateful["spec"].get("replicas", 1))
        in_order = stateful["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for ordinal in range(wanted):
            pod = pods.get(ordinal)
            if pod is None:
                self._create(stateful, ordinal, update)
            elif is_finished(pod) and not is_terminating(pod):
                self._delete(stateful, pod)
            elif is_active(pod) and is_ready(pod):
                continue
            if in_order:
                return
        extra = sorted((ordinal for ordinal in pods if ordinal >= wanted), reverse=True)
        for ordinal in extra:
            if not is_terminating(pods[ordinal]):
                self._delete(stateful, pods[ordinal])
            if in_order:
                return
        if dig(stateful, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate":
            self._renew(stateful, pods, update)

    def _renew(self, stateful: Object, pods: dict[int, Object], update: str) -> None:
        partition = dig(stateful, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)
        for ordinal in sorted(pods, reverse=True):
            pod = pods[ordinal]
            if ordinal < partition:
                return
            if labels_of(pod).get(REVISION_LABEL) != update and not is_terminating(pod):
                self._delete(stateful, pod)
                return
            if not (is_active(pod) and is_ready(pod)):
                return

    def _create(self, stateful: Object, ordinal: int, revision: str) -> None:
        meta = stateful["metadata"]
        name = f"{meta['name']}-{ordinal}"
        owner = owner_reference(stateful, STATEFULSETS)
        pod = pod_from(stateful["spec"]["template"], name=name, namespace=meta["namespace"], owner=owner)
        pod["metadata"]["labels"] |= {
            "apps.kubernetes.io/pod-index": str(ordinal),
            REVISION_LABEL: revision,
            "statefulset.kubernetes.io/pod-name": name,
        }
        pod["spec"] |= {"hostname": name, "subdomain": stateful["spec"].get("serviceName", "")}
        try:
            self._cluster.store.create(PODS, pod)
        except ApiError as refused:
            message = f"create Pod {name} in StatefulSet {meta['name']} failed error: {refused}"
            self._cluster.event(stateful, "Warning", "FailedCreate", message, _COMPONENT)
            return
        message = f"Create Pod {name} in StatefulSet {meta['name']} successful"
        self._cluster.event(stateful, "Normal", "SuccessfulCreate", message, _COMPONENT)

    def _delete(self, stateful: Object, pod: Object) -> None:
        meta = pod["metadata"]
        self._cluster.store.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"])
        message = f"Delete Pod {meta['name']} in StatefulSet {stateful['metadata']['name']} successful"
        self._cluster.event(stateful, "Normal", "SuccessfulDelete", message, _COMPONENT)

    def _revision(self, stateful: Object) -> str:
        """Return the name of today's template's revision, kept as an object so that it can be undone."""
        meta = stateful["metadata"]
        template = stateful["spec"]["template"]
        name = f"{meta['name']}-{template_hash(template)}"
        known = self._cluster.store.find(CONTROLLERREVISIONS, meta["namespace"], name)
        numbers = [each["revision"] for each in self._revisions_of(stateful)]
        if known is None:
            self._cluster.store.create(CONTROLLERREVISIONS, _revision_from(stateful, name, max(numbers, default=0) + 1))
        elif known["revision"] < max(numbers, default=0):
            newest = {**copy_of(known), "revision": max(numbers) + 1}
            self._cluster.store.update(CONTROLLERREVISIONS, newest)
        return name

    def _revisions_of(self, stateful: Object) -> list[Object]:
        return self._cluster.store.dependents(stateful["metadata"]["uid"], CONTROLLERREVISIONS)

    def _write_status(self, stateful: Object, update: str) -> None:
        self._cluster.refresh()
        pods = self._cluster.owned_by(stateful)
        wanted = int(stateful["spec"].get("replicas", 1))
        active = [pod for pod in pods if is_active(pod)]
        updated = sum(labels_of(pod).get(REVISION_LABEL) == update for pod in active)
        ready = sum(is_ready(pod) for pod in pods)
        current = dig(stateful, "status", "currentRevision", default=update)
        if updated == wanted and ready == wanted:
            current = update
        on_current = sum(labels_of(pod).get(REVISION_LABEL) == current for pod in active)
        counts = {"readyReplicas": ready, "currentReplicas": on_current, "updatedReplicas": updated}
        status: Object = {
            "observedGeneration": dig(stateful, "metadata", "generation", default=1),
            "replicas": len(pods),
            "availableReplicas": ready,
            **{key: value for key, value in counts.items() if value},
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        self._cluster.write_status(STATEFULSETS, stateful, status)


def _ordinal(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _revision_from(stateful: Object, name: str, number: int) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": stateful["metadata"]["namespace"],
            "labels": labels_of(stateful["spec"]["template"]),
            "ownerReferences": [owner_reference(stateful, STATEFULSETS)],
        },
        "data": {"spec": {"template": {**copy_of(stateful["spec"]["template"]), "$patch": "replace"}}},
        "revision": number,
    }

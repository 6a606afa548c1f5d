"""EndpointSlices and disruption budgets: what follows from which pods are ready."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aegis.simulator.kubernetes.controllers.cluster import Cluster, is_active, owner_reference
from aegis.simulator.kubernetes.controllers.conditions import with_condition
from aegis.simulator.kubernetes.controllers.quantities import share_of
from aegis.simulator.kubernetes.objects import (
    Object,
    controller_of,
    dig,
    is_finished,
    is_ready,
    is_terminating,
)
from aegis.simulator.kubernetes.resources import (
    DEPLOYMENTS,
    ENDPOINTSLICES,
    PDBS,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
)


class EndpointsController:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen = -1

    def step(self, now: datetime) -> None:  # noqa: ARG002 - all controllers are called alike
        version = self._cluster.version_of(SERVICES, PODS)
        if version == self._seen:
            return
        self._seen = version
        for service in self._cluster.all(SERVICES):
            if dig(service, "spec", "selector") and not is_terminating(service):
                self._cluster.attempt(self._publish, service)

    def _publish(self, service: Object) -> None:
        namespace = service["metadata"]["namespace"]
        pods = self._cluster.pods_selected(namespace, {"matchLabels": service["spec"]["selector"]})
        endpoints = endpoints_of(service, pods)
        ports = _ports(service) if endpoints else []
        found = self._cluster.store.dependents(service["metadata"]["uid"], ENDPOINTSLICES)
        if not found:
            self._cluster.store.create(ENDPOINTSLICES, self._slice(service, endpoints, ports))
        elif (found[0].get("endpoints") or [], found[0].get("ports") or []) != (endpoints, ports):
            self._cluster.store.update(ENDPOINTSLICES, {**found[0], "endpoints": endpoints, "ports": ports})

    def _slice(self, service: Object, endpoints: list[Object], ports: list[Object]) -> Object:
        meta = service["metadata"]
        return {
            "metadata": {
                "name": f"{meta['name']}-{self._cluster.suffix()}",
                "generateName": f"{meta['name']}-",
                "namespace": meta["namespace"],
                "labels": {
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "kubernetes.io/service-name": meta["name"],
                },
                "ownerReferences": [owner_reference(service, SERVICES)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        }


def endpoints_of(service: Object, pods: Sequence[Object]) -> list[Object]:
    """List the pods behind a service; one that is ending serves on but gets nothing new."""
    open_early = bool(dig(service, "spec", "publishNotReadyAddresses"))
    with_address = [pod for pod in pods if dig(pod, "status", "podIP") and not is_finished(pod)]
    return [_endpoint(pod, open_early=open_early) for pod in with_address]


def _endpoint(pod: Object, *, open_early: bool) -> Object:
    serving = is_ready(pod) or open_early
    meta = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": serving and (open_early or not is_terminating(pod)),
            "serving": serving,
            "terminating": is_terminating(pod),
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
        "nodeName": pod["spec"]["nodeName"],
    }


def _ports(service: Object) -> list[Object]:
    return [
        {
            "name": each.get("name", ""),
            "port": each["targetPort"] if isinstance(each.get("targetPort"), int) else each["port"],
            "protocol": each.get("protocol", "TCP"),
        }
        for each in service["spec"].get("ports", [])
    ]


class DisruptionController:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen = -1

    def step(self, now: datetime) -> None:
        version = self._cluster.version_of(PDBS, PODS, REPLICASETS, DEPLOYMENTS, STATEFULSETS)
        if version == self._seen:
            return
        self._seen = version
        for budget in self._cluster.all(PDBS):
            self._cluster.attempt(self._count, budget, now)

    def _count(self, budget: Object, now: datetime) -> None:
        namespace = budget["metadata"]["namespace"]
        pods = [
            pod
            for pod in self._cluster.pods_selected(namespace, dig(budget, "spec", "selector"))
            if not is_finished(pod)
        ]
        expected = self._expected(pods)
        healthy = sum(is_ready(pod) and is_active(pod) for pod in pods)
        desired = desired_healthy(budget["spec"], expected)
        allowed = max(0, healthy - desired) if expected else 0
        status = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        conditions = with_condition(
            dig(budget, "status", "conditions", default=[]),
            "DisruptionAllowed",
            status[0],
            now=now,
            reason=status[1],
        )
        self._cluster.write_status(
            PDBS,
            budget,
            {
                # An eviction notes the pods it disrupts; what the server wrote there stays.
                **({"disruptedPods": noted} if (noted := dig(budget, "status", "disruptedPods")) else {}),
                "disruptionsAllowed": allowed,
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": expected,
                "observedGeneration": dig(budget, "metadata", "generation", default=1),
                "conditions": conditions,
            },
        )

    def _expected(self, pods: Sequence[Object]) -> int:
        """Count the pods that the owners ask for, not only those that exist."""
        sizes: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                sizes[pod["metadata"]["uid"]] = 1
            else:
                uid, size = self._scale_of(pod["metadata"]["namespace"], owner)
                sizes[uid] = size
        return sum(sizes.values())

    def _scale_of(self, namespace: str, owner: Object) -> tuple[str, int]:
        if owner["kind"] == "StatefulSet":
            found = self._cluster.store.find(STATEFULSETS, namespace, owner["name"])
            return owner["uid"], dig(found, "spec", "replicas", default=0)
        found = self._cluster.store.find(REPLICASETS, namespace, owner["name"])
        top = controller_of(found) if found else None
        if top is None:
            return owner["uid"], dig(found, "spec", "replicas", default=0)
        deployment = self._cluster.store.find(DEPLOYMENTS, namespace, top["name"])
        return top["uid"], dig(deployment, "spec", "replicas", default=0)


def desired_healthy(spec: Any, expected: int) -> int:
    """Say how many pods must stay.

    >>> desired_healthy({"maxUnavailable": 1}, 3), desired_healthy({"minAvailable": "50%"}, 3)
    (2, 2)
    """
    if spec.get("maxUnavailable") is not None:
        return max(0, expected - share_of(spec["maxUnavailable"], expected, round_up=True))
    return share_of(spec.get("minAvailable", 1), expected, round_up=True)

"""metrics.k8s.io: what `kubectl top` reads, from whoever knows what pods and nodes use."""

from collections.abc import Mapping
from typing import Protocol

from aegis.simulator.kubernetes.errors import ApiError, not_found
from aegis.simulator.kubernetes.objects import Object, is_finished, labels_of, name_of, namespace_of, timestamp
from aegis.simulator.kubernetes.reading import predicate
from aegis.simulator.kubernetes.requests import Answer, Request, Target, answer
from aegis.simulator.kubernetes.resources import NODES, PODS
from aegis.simulator.kubernetes.store import Store

GROUP = "metrics.k8s.io"

Usage = Mapping[str, str]
"""Amounts as quantities, e.g. `{"cpu": "250m", "memory": "64Mi"}`."""


class UsageSource(Protocol):
    """Who measures. None means there is no measurement (yet)."""

    def node(self, name: str) -> Usage | None: ...

    def pod(self, namespace: str, name: str) -> Mapping[str, Usage] | None:
        """Return the usage of each container."""
        ...


def measure(store: Store, request: Request, target: Target, source: UsageSource | None) -> Answer:
    """Answer a GET of one or all NodeMetrics or PodMetrics."""
    if source is None:
        message = f"the server is currently unable to handle the request (get {target.resource.qualified})"
        raise ApiError(503, "ServiceUnavailable", message)
    found = _nodes(store, target, source) if target.resource.plural == "nodes" else _pods(store, target, source)
    matches = predicate(request, target)
    found = [each for each in found if matches(each)]
    if target.name:
        if not found:
            raise not_found(target.resource, target.name)
        return answer(found[0])
    kind, version = f"{target.resource.kind}List", target.resource.api_version
    return answer({"kind": kind, "apiVersion": version, "metadata": {}, "items": found})


def _nodes(store: Store, target: Target, source: UsageSource) -> list[Object]:
    measured = ((node, source.node(name_of(node))) for node in store.list(NODES))
    return [
        {**_measurement(store, target, node), "usage": dict(usage)} for node, usage in measured if usage is not None
    ]


def _pods(store: Store, target: Target, source: UsageSource) -> list[Object]:
    pods = [pod for pod in store.list(PODS, target.namespace or None) if not is_finished(pod)]
    measured = ((pod, source.pod(namespace_of(pod), name_of(pod))) for pod in pods)
    return [
        {
            **_measurement(store, target, pod),
            "containers": [{"name": name, "usage": dict(usage)} for name, usage in usages.items()],
        }
        for pod, usages in measured
        if usages is not None
    ]


def _measurement(store: Store, target: Target, obj: Object) -> Object:
    now = timestamp(store.clock.now())
    metadata = {"name": name_of(obj), "creationTimestamp": now, "labels": labels_of(obj)}
    if namespace_of(obj):
        metadata["namespace"] = namespace_of(obj)
    return {
        "kind": target.resource.kind,
        "apiVersion": target.resource.api_version,
        "metadata": metadata,
        "timestamp": now,
        "window": "30s",
    }

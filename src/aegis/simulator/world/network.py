"""Which processes a service's requests reach: read from the cluster's own objects, never assumed."""

from dataclasses import dataclass, field

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import Object, controller_of, dig, labels_of
from aegis.simulator.kubernetes.resources import (
    DEPLOYMENTS,
    ENDPOINTSLICES,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.world.processes import Workload

ServiceKey = str
"""`namespace/name`."""

_WATCHED = {SERVICES, ENDPOINTSLICES, DEPLOYMENTS, STATEFULSETS}


def service_key(name: str, namespace: str) -> ServiceKey:
    """Complete a service's name.

    >>> service_key("cart", "shop"), service_key("data/store", "shop")
    ('shop/cart', 'data/store')
    """
    return name if "/" in name else f"{namespace}/{name}"


@dataclass
class Network:
    """Services, the pods that are ready behind them, and the workload each leads to."""

    store: Store
    endpoints: dict[ServiceKey, list[str]] = field(default_factory=dict)
    """Uids of ready pods; an empty list for a service that nobody serves."""
    workloads: dict[ServiceKey, Workload] = field(default_factory=dict)
    _seen: int = -1

    def refresh(self) -> bool:
        """Look at the cluster if it changed; tell whether anything here did."""
        latest = self.store.resource_version
        if latest == self._seen or not (self._is_touched() or self._seen < 0):
            self._seen = latest
            return False
        self._seen = latest
        self.endpoints = {_key(each): [] for each in self.store.list(SERVICES)}
        for each in self.store.list(ENDPOINTSLICES):
            name = labels_of(each).get("kubernetes.io/service-name", "")
            ready = [
                endpoint["targetRef"]["uid"]
                for endpoint in each.get("endpoints") or []
                if endpoint["conditions"]["ready"] and "targetRef" in endpoint
            ]
            self.endpoints.setdefault(f"{each['metadata']['namespace']}/{name}", []).extend(ready)
        self._find_workloads()
        return True

    def _is_touched(self) -> bool:
        try:
            return any(change.resource in _WATCHED for change in self.store.changes(self._seen))
        except ApiError:
            return True  # away for longer than the history reaches back

    def _find_workloads(self) -> None:
        """Remember where a service led, so that an edge keeps its name when nobody is left behind it."""
        for service in self.store.list(SERVICES):
            selector = dig(service, "spec", "selector", default={})
            found = self._selected_by(selector, service["metadata"]["namespace"])
            if found is not None:
                self.workloads[_key(service)] = found

    def _selected_by(self, selector: dict[str, str], namespace: str) -> Workload | None:
        wanted = selector.items()
        for resource in (DEPLOYMENTS, STATEFULSETS):
            for each in self.store.list(resource, namespace):
                if wanted and wanted <= labels_of(each["spec"]["template"]).items():
                    return Workload(namespace, resource.kind, each["metadata"]["name"])
        return None


def workload_of(store: Store, pod: Object) -> Workload:
    """Follow a pod's owners up to what a person would call the workload."""
    namespace, owner = pod["metadata"]["namespace"], controller_of(pod)
    if owner is None:
        return Workload(namespace, "Pod", pod["metadata"]["name"])
    if owner["kind"] == "ReplicaSet":
        found = store.find(REPLICASETS, namespace, owner["name"])
        owner = (controller_of(found) if found else None) or owner
    return Workload(namespace, owner["kind"], owner["name"])


def resource_of(kind: str) -> Resource:
    return {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFULSETS}[kind]


def _key(obj: Object) -> ServiceKey:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"

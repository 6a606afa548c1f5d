"""What a cluster has before anybody asks: its namespaces, and the roles everybody knows."""

from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.resources import CLUSTERROLES, NAMESPACES, Resource
from aegis.simulator.kubernetes.store import Store

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CORE = [
    "configmaps",
    "endpoints",
    "events",
    "limitranges",
    "namespaces",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "pods/status",
    "replicationcontrollers",
    "resourcequotas",
    "serviceaccounts",
    "services",
]
_APPS = [
    name
    for kind in ("deployments", "replicasets", "statefulsets", "daemonsets")
    for name in (kind, f"{kind}/scale", f"{kind}/status")
]
_OTHERS: dict[str, list[str]] = {
    "apps": [*_APPS, "controllerrevisions"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["jobs", "cronjobs"],
    "discovery.k8s.io": ["endpointslices"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}


def bootstrap(store: Store) -> None:
    """Create what is missing; a second time changes nothing."""
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        _ensure(store, NAMESPACES, {"metadata": {"name": name}})
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    _ensure(store, CLUSTERROLES, {"metadata": {"name": "cluster-admin"}, "rules": everything})
    _ensure(store, CLUSTERROLES, {"metadata": {"name": "view"}, "rules": _rules(_READ)})
    writing = [*_rules(_WRITE), {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}]
    _ensure(store, CLUSTERROLES, {"metadata": {"name": "edit"}, "rules": [*_rules(_READ), *writing]})


def _ensure(store: Store, resource: Resource, obj: Object) -> None:
    if store.find(resource, None, obj["metadata"]["name"]) is None:
        store.create(resource, obj)


def _rules(verbs: list[str]) -> list[Object]:
    core: Object = {"apiGroups": [""], "resources": _CORE, "verbs": verbs}
    return [core, *({"apiGroups": [group], "resources": names, "verbs": verbs} for group, names in _OTHERS.items())]

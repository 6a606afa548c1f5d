"""Where objects live in the API: the kinds the Executor has anything to do with."""

_PLURALS = {
    ("v1", "Pod"): "pods",
    ("v1", "Node"): "nodes",
    ("v1", "Namespace"): "namespaces",
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Event"): "events",
    ("v1", "ResourceQuota"): "resourcequotas",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "ReplicaSet"): "replicasets",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("apps/v1", "DaemonSet"): "daemonsets",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "horizontalpodautoscalers",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
}
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet")


def is_known(api_version: str, kind: str) -> bool:
    return (api_version, kind) in _PLURALS


def path_of(api_version: str, kind: str, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
    """Return an object's or a collection's path.

    >>> path_of("apps/v1", "Deployment", "shop", "web")
    '/apis/apps/v1/namespaces/shop/deployments/web'

    Raises:
        KeyError: a kind we have nothing to do with.
    """
    plural = _PLURALS[api_version, kind]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    tail = f"/{name}" if name else ""
    return f"{root}{scope}/{plural}{tail}" + (f"/{subresource}" if subresource else "")

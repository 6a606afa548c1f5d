"""What each service must be allowed to do on a cluster: generated from the catalogue, never typed twice."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aegis.catalogue.actions import ACTIONS, READS, ApiVerbs

WATCHED: tuple[ApiVerbs, ...] = tuple(
    ApiVerbs(group, resource, frozenset({"get", "list", "watch"}))
    for group, resource in (
        ("", "events"),
        ("", "namespaces"),
        ("", "nodes"),
        ("", "pods"),
        ("", "resourcequotas"),
        ("", "services"),
        ("apps", "daemonsets"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("batch", "cronjobs"),
        ("batch", "jobs"),
        ("discovery.k8s.io", "endpointslices"),
        ("metrics.k8s.io", "pods"),
        ("policy", "poddisruptionbudgets"),
    )
)
"""What the AI Engine watches; it never writes."""


EVERYWHERE = ""
"""Of a right: in all namespaces."""
CLUSTER_WIDE = frozenset({"namespaces", "nodes"})
"""Resources that are in no namespace: a right to them is given for the whole cluster, or not at all."""
_RESOURCE_PATH = re.compile(r"(/api|/apis/(?P<group>[^/]+))/v[^/]+/(?P<names>.+)")
"""Wherever the API begins: a proxy may have put something before it."""
_VERB_OF = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class NonResourceRight:
    """To read a path that is about no resource."""

    path: str

    def __str__(self) -> str:
        return f"get {self.path}"

    @property
    def rule(self) -> str:
        return f"{{nonResourceURLs: [{self.path}], verbs: [get]}}"


@dataclass(frozen=True)
class Right:
    """One thing that somebody may do on a cluster, or may not."""

    verb: str
    group: str
    resource: str
    """With its subresource, as in `pods/eviction`."""
    namespace: str

    def __str__(self) -> str:
        full = f"{self.resource}.{self.group}" if self.group else self.resource
        if self.resource in CLUSTER_WIDE:
            return f"{self.verb} {full}"
        return f"{self.verb} {full} in {self.namespace or 'all namespaces'}"

    @property
    def rule(self) -> str:
        """The rule that gives it, as a role has it."""
        group = self.group or '""'
        return f"{{apiGroups: [{group}], resources: [{self.resource}], verbs: [{self.verb}]}}"


def right_to(method: str, path: str, *, is_watch: bool = False) -> Right | NonResourceRight:
    """Return the right that a request to an API server needs.

    >>> str(right_to("GET", "/api/v1/pods", is_watch=True))
    'watch pods in all namespaces'
    >>> right_to("POST", "/api/v1/namespaces/shop/pods/web-1/eviction").rule
    '{apiGroups: [""], resources: [pods/eviction], verbs: [create]}'
    >>> str(right_to("GET", "/api/v1/namespaces/shop"))
    'get namespaces'
    >>> right_to("GET", "/version").rule
    '{nonResourceURLs: [/version], verbs: [get]}'
    """
    found = _RESOURCE_PATH.search(path)
    if found is None:
        return NonResourceRight(path)
    group, names = found["group"] or "", found["names"].strip("/").split("/")
    namespace = EVERYWHERE
    if names[0] == "namespaces" and len(names) > 2:  # noqa: PLR2004 - /namespaces/NAME is one of them itself
        _, namespace, *names = names
    resource, *name = names
    verb = _VERB_OF.get(method) or ("get" if name else "watch" if is_watch else "list")
    return Right(verb, group, "/".join([resource, *name[1:]]), namespace)


def executor_rules() -> list[dict[str, Any]]:
    """Return the rules of the Executor: what every check reads, and what the implemented actions write."""
    return rules([*READS, *(verbs for facts in ACTIONS.values() for verbs in facts.verbs)])


def ai_engine_rules() -> list[dict[str, Any]]:
    return rules(WATCHED)


def rules(needed: Iterable[ApiVerbs]) -> list[dict[str, Any]]:
    """Return RBAC rules, one per resource, with the union of the verbs."""
    union: dict[tuple[str, str], set[str]] = {}
    for one in needed:
        union.setdefault((one.group, one.resource), set()).update(one.verbs)
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs)}
        for (group, resource), verbs in sorted(union.items())
    ]


RULES_OF = {"ai-engine": ai_engine_rules, "executor": executor_rules}
"""What each service needs that works on a cluster; the Backend touches none."""


def manifests(*, namespace: str) -> list[dict[str, Any]]:
    """Return all that a cluster must hold before the services may work on it."""
    found: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}]
    for service, needed in RULES_OF.items():
        found += [
            service_account(service, namespace=namespace),
            cluster_role(service, needed()),
            cluster_role_binding(service, namespace=namespace),
        ]
    return found


def service_account(service: str, *, namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": service, "namespace": namespace}}


def cluster_role(service: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"aegis-{service}"},
        "rules": found,
    }


def cluster_role_binding(service: str, *, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"aegis-{service}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"aegis-{service}"},
        "subjects": [{"kind": "ServiceAccount", "name": service, "namespace": namespace}],
    }

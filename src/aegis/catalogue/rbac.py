"""What each service must be allowed to do on a cluster: generated from the catalogue, never typed twice."""

from collections.abc import Iterable
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

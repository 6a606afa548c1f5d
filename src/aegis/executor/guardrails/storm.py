"""The storm brake: if too much is unhealthy at once, stop acting and call a person. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aegis.executor.guardrails.facts import Object, is_node_ready, is_ready
from aegis.kit.selectors import selects


@dataclass(frozen=True)
class Reading:
    """The whole cluster's health at one moment, each workload once."""

    unhealthy: tuple[str, ...]
    workloads: int

    def is_storm(self, *, minimum: int, share: float) -> bool:
        return len(self.unhealthy) >= max(minimum, share * self.workloads)


def read_health(workloads: Sequence[Object], pods: Sequence[Object], nodes: Sequence[Object]) -> Reading:
    """Count unhealthy workloads; those that are so only through one lost node count as one."""
    lost = {node["metadata"]["name"] for node in nodes if not is_node_ready(node)}
    by_namespace: dict[str, list[Object]] = {}
    for pod in pods:
        by_namespace.setdefault(pod["metadata"]["namespace"], []).append(pod)
    unhealthy: dict[str, None] = {}
    wanted = [workload for workload in workloads if _desired(workload) > 0]
    for workload in wanted:
        if _is_unhealthy(workload):
            own = _pods_of(workload, by_namespace)
            blamed = _one_lost_node(own, lost)
            unhealthy[f"Node/{blamed}" if blamed else _name(workload)] = None
    return Reading(tuple(unhealthy), len(wanted))


def _desired(workload: Object) -> int:
    if workload["kind"] == "DaemonSet":
        return int(workload.get("status", {}).get("desiredNumberScheduled", 0))
    return int(workload["spec"].get("replicas", 1))


def _is_unhealthy(workload: Object) -> bool:
    """Fewer available pods than its own rolling updates would leave it."""
    status = workload.get("status", {})
    desired = _desired(workload)
    available = status.get("numberAvailable", 0) if workload["kind"] == "DaemonSet" else status.get("availableReplicas")
    if available is None:
        available = status.get("readyReplicas", 0) if workload["kind"] == "StatefulSet" else 0
    return bool(available < desired - max(1, desired // 4) + (1 if desired <= 1 else 0))


def _pods_of(workload: Object, by_namespace: Mapping[str, Sequence[Object]]) -> list[Object]:
    pods = by_namespace.get(workload["metadata"]["namespace"], ())
    return [pod for pod in pods if selects(workload["spec"].get("selector"), pod["metadata"].get("labels") or {})]


def _one_lost_node(pods: Sequence[Object], lost: set[str]) -> str | None:
    """Return the lost node that all unready pods of a workload were on, if it is one."""
    nodes = {pod["spec"].get("nodeName", "") for pod in pods if not is_ready(pod)}
    return next(iter(nodes)) if len(nodes) == 1 and nodes <= lost else None


def _name(workload: Object) -> str:
    return f"{workload['metadata']['namespace']}/{workload['kind']}/{workload['metadata']['name']}"

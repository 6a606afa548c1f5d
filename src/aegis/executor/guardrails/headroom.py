"""Whether more pods of a workload could be made, and placed: quotas, and nodes that would take them. Pure.

The scheduler decides in the end. What is counted here is what surely keeps a pod from being made or placed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from aegis.executor.guardrails.facts import Facts, Object, is_node_ready
from aegis.executor.guardrails.quantities import number_of

Amounts = Counter[str]
"""By resource, in its base unit; a float where a quantity is one."""

_KEEPS_AWAY = ("NoSchedule", "NoExecute")
_PODS_PER_NODE = 110
_BARE_IN_QUOTAS = ("cpu", "memory", "ephemeral-storage")
"""Of these a quota may speak without saying that it means requests."""


def quota_shortage(quota: Object, pod_spec: Object, added: int) -> str | None:
    """Say what a ResourceQuota has too little of for so many more pods."""
    status = quota.get("status") or {}
    hard, used = status.get("hard") or quota["spec"].get("hard") or {}, status.get("used") or {}
    for name, each in _counted_by_quotas(pod_spec).items():
        if name in hard and number_of(used.get(name, 0)) + added * each > number_of(hard[name]):
            return f"{name} {used.get(name, 0)} of {hard[name]}"
    return None


def _counted_by_quotas(pod_spec: Object) -> Mapping[str, float]:
    requests, limits = amounts(pod_spec, "requests"), amounts(pod_spec, "limits")
    return {
        "pods": 1,
        "count/pods": 1,
        **{name: requests[name] for name in _BARE_IN_QUOTAS},
        **{f"requests.{name}": amount for name, amount in requests.items()},
        **{f"limits.{name}": amount for name, amount in limits.items()},
    }


def nodes_have_room(facts: Facts, pod_spec: Object, added: int) -> bool:
    wanted = amounts(pod_spec, "requests")
    return sum(_room(node, facts, wanted) for node in facts.nodes if would_take(node, pod_spec)) >= added


def would_take(node: Object, pod_spec: Object) -> bool:
    """Whether a node is there, in use, of the kind that the pod asks for, and keeps it away by no taint."""
    if node["spec"].get("unschedulable") or not is_node_ready(node):
        return False
    labels = node["metadata"].get("labels") or {}
    taints = (taint for taint in node["spec"].get("taints") or [] if taint["effect"] in _KEEPS_AWAY)
    tolerations = pod_spec.get("tolerations") or []
    return (pod_spec.get("nodeSelector") or {}).items() <= labels.items() and all(
        any(_tolerates(toleration, taint) for toleration in tolerations) for taint in taints
    )


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Tell whether a toleration means a taint; an empty effect means all, as an empty key with `Exists` does."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def _room(node: Object, facts: Facts, wanted: Amounts) -> int:
    """Return how many such pods a node has room for."""
    allocatable = node["status"]["allocatable"]
    here = [pod for pod in facts.node_pods if pod["spec"].get("nodeName") == node["metadata"]["name"]]
    running = [pod for pod in here if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    taken = _sum(amounts(pod["spec"], "requests") for pod in running)
    slots = int(number_of(allocatable.get("pods", _PODS_PER_NODE))) - len(running)
    rooms = [
        int((number_of(allocatable.get(name, 0)) - taken[name]) / amount)
        for name, amount in wanted.items()
        if amount > 0
    ]
    return max(0, min([slots, *rooms]))


def amounts(pod_spec: Object, kind: Literal["requests", "limits"]) -> Amounts:
    """Return what a pod counts for: all its containers and sidecars together, or an init container that takes more.

    An init container with `restartPolicy: Always` is a sidecar: it runs on, beside those after it. The sandbox of a
    pod takes its overhead.
    """
    sidecars: Amounts = Counter()
    at_start: Amounts = Counter()
    for container in pod_spec.get("initContainers") or []:
        own = _of_container(container, kind)
        at_start |= sidecars + own
        if container.get("restartPolicy") == "Always":
            sidecars += own
    running = sidecars + _sum(_of_container(container, kind) for container in pod_spec["containers"])
    overhead = pod_spec.get("overhead") or {}
    return (running | at_start) + _numbers(overhead)


def _of_container(container: Object, kind: Literal["requests", "limits"]) -> Amounts:
    """Return a container's requests, which are its limits where it names none, or its limits."""
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    return _numbers(limits if kind == "limits" else {**limits, **(resources.get("requests") or {})})


def _numbers(quantities: Mapping[str, Any]) -> Amounts:
    found: Any = {name: number_of(quantity) for name, quantity in quantities.items()}
    return Counter(found)


def _sum(several: Iterable[Amounts]) -> Amounts:
    total: Amounts = Counter()
    for one in several:
        total += one
    return total

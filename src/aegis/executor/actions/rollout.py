"""How much a change of a workload's template disturbs it, by the workload's own update strategy. Pure."""

from collections.abc import Sequence
from typing import Any

from aegis.contracts.plans import Disturbance
from aegis.executor.guardrails.facts import Facts, Object, is_ready


def disturbance_of_rollout(facts: Facts, *, going: Sequence[Object] | None = None) -> Disturbance:
    """Return what a new template takes away: of these pods, or of all; an unhealthy one costs nothing."""
    assert facts.target is not None
    healthy = len(facts.healthy_pods)
    healthy_going = sum(1 for pod in (facts.pods if going is None else going) if is_ready(pod))
    at_once = min(healthy_going, _healthy_lost_at_once(facts.target, healthy=healthy, pods=len(facts.pods)))
    return Disturbance(healthy_pods=healthy_going, of_healthy_pods=healthy, at_once=at_once)


def _healthy_lost_at_once(workload: Object, *, healthy: int, pods: int) -> int:
    """Return by how many a rollout may lower the number of healthy pods."""
    spec = workload["spec"]
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    match workload["kind"], strategy.get("type", "RollingUpdate"):
        case "Deployment", "Recreate":
            return healthy
        case _, "OnDelete":
            return 0  # whoever deletes the pods disturbs
        case "StatefulSet", _:
            # From the highest ordinal down, whether the others are healthy or not.
            return max(1, _share(rolling.get("maxUnavailable", 1), spec.get("replicas", 1), up=True))
        case "DaemonSet", _:
            wanted = int(workload.get("status", {}).get("desiredNumberScheduled", pods))
            unavailable = _share(rolling.get("maxUnavailable", 1), wanted, up=True)
            surge = _share(rolling.get("maxSurge", 0), wanted, up=True)
        case _:
            wanted = int(spec.get("replicas", 1))
            unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
            surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    if unavailable == surge == 0:
        unavailable = 1  # or it could not move at all, say both controllers
    # They take a healthy pod away only while more than this are healthy; a surplus is nobody's loss.
    least = max(0, wanted - unavailable)
    return max(0, min(healthy, wanted) - least)


def _share(amount: Any, whole: int, *, up: bool) -> int:
    """Return a number, or a percentage of the whole, rounded as Kubernetes rounds that field.

    >>> _share("25%", 10, up=False), _share("25%", 10, up=True), _share(2, 10, up=True)
    (2, 3, 2)
    """
    if not isinstance(amount, str):
        return int(amount)
    hundredths = whole * int(amount.removesuffix("%"))
    return -(-hundredths // 100) if up else hundredths // 100

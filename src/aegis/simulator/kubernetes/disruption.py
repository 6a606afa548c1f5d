"""PodDisruptionBudgets: how many pods may go, and the eviction that asks first."""

import math
from collections.abc import Iterable
from typing import Any

from aegis.kit.selectors import selects
from aegis.simulator.kubernetes.errors import ApiError, details_of
from aegis.simulator.kubernetes.objects import (
    Object,
    controller_of,
    dig,
    is_finished,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
)
from aegis.simulator.kubernetes.resources import PDBS, PODS, Resource, resource_for
from aegis.simulator.kubernetes.store import Store


def status_of(store: Store, pdb: Object) -> Object:
    """Compute the status a disruption controller would write, from the pods as they are."""
    pods = [pod for pod in store.list(PODS, namespace_of(pdb)) if _covers(pdb, pod) and not is_finished(pod)]
    expected, desired = _expected_and_desired(store, pdb, pods)
    healthy = sum(1 for pod in pods if is_ready(pod) and not is_terminating(pod))
    return {
        "observedGeneration": dig(pdb, "metadata", "generation", default=1),
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": max(0, healthy - desired) if expected > 0 else 0,
    }


def refresh(store: Store, namespace: str | None = None) -> None:
    """Write the status of every budget, as a disruption controller would."""
    for pdb in store.list(PDBS, namespace):
        kept = {name: value for name, value in pdb.get("status", {}).items() if name == "conditions"}
        store.update(PDBS, {**pdb, "status": {**kept, **status_of(store, pdb)}}, subresource="status")


def evict(store: Store, pod: Object, options: Object, *, dry_run: bool) -> None:
    """Delete a pod unless a budget needs it.

    Raises:
        ApiError: 429 a budget has none to spare, 409 the uid is another, 500 two budgets cover the pod.
    """
    budgets = [pdb for pdb in store.list(PDBS, namespace_of(pod)) if _covers(pdb, pod)]
    uid = dig(options, "preconditions", "uid")
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", message)
    if budgets and not _is_free_to_go(pod, budgets[0], store):
        _refuse_unless_spare(store, pod, budgets[0])
    store.delete(
        PODS,
        namespace_of(pod),
        name_of(pod),
        uid=uid,
        grace_s=options.get("gracePeriodSeconds"),
        dry_run=dry_run,
    )


def _covers(pdb: Object, pod: Object) -> bool:
    return selects(dig(pdb, "spec", "selector"), labels_of(pod))


def _is_free_to_go(pod: Object, pdb: Object, store: Store) -> bool:
    """Tell whether the pod counts for nothing: it never ran, has ended, is going, or is broken anyway."""
    if dig(pod, "status", "phase") == "Pending" or is_finished(pod) or is_terminating(pod):
        return True
    if is_ready(pod):
        return False
    status = status_of(store, pdb)
    is_guarded = dig(pdb, "spec", "unhealthyPodEvictionPolicy", default="IfHealthyBudget") != "AlwaysAllow"
    return not is_guarded or status["currentHealthy"] >= status["desiredHealthy"] > 0


def _refuse_unless_spare(store: Store, pod: Object, pdb: Object) -> None:
    status = status_of(store, pdb)
    if status["disruptionsAllowed"] > 0:
        return
    needs = (
        f"The disruption budget {name_of(pdb)} needs {status['desiredHealthy']} healthy pods and has "
        f"{status['currentHealthy']} currently"
    )
    raise ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details=details_of(PODS, name_of(pod), causes=[{"reason": "DisruptionBudget", "message": needs}]),
    )


def _expected_and_desired(store: Store, pdb: Object, pods: list[Object]) -> tuple[int, int]:
    unavailable, available = dig(pdb, "spec", "maxUnavailable"), dig(pdb, "spec", "minAvailable")
    if unavailable is not None:
        expected = _expected_of_owners(store, pods)
        return expected, max(0, expected - _share(unavailable, expected))
    if isinstance(available, str):
        expected = _expected_of_owners(store, pods)
        return expected, _share(available, expected)
    return len(pods), int(available if available is not None else 1)


def _share(amount: Any, total: int) -> int:
    """Read an absolute number or a percentage, rounded up."""
    if isinstance(amount, str) and amount.endswith("%"):
        return math.ceil(int(amount[:-1]) * total / 100)
    return int(amount)


def _expected_of_owners(store: Store, pods: Iterable[Object]) -> int:
    """Add up the scale of everything that controls these pods; a pod of nobody's counts itself."""
    owners: dict[str, int] = {}
    for pod in pods:
        uid, replicas = _scale_of(store, pod)
        owners[uid] = replicas
    return sum(owners.values())


def _scale_of(store: Store, pod: Object) -> tuple[str, int]:
    owner = _controller(store, pod)
    if owner is None:
        return str(pod["metadata"]["uid"]), 1
    above = _controller(store, owner)
    top = above if above is not None else owner
    replicas = dig(top, "spec", "replicas", default=dig(top, "status", "desiredNumberScheduled", default=1))
    return str(top["metadata"]["uid"]), int(replicas)


def _controller(store: Store, obj: Object) -> Object | None:
    reference = controller_of(obj)
    resource = _resource_of(reference) if reference else None
    return store.find(resource, namespace_of(obj), reference["name"]) if reference and resource else None


def _resource_of(reference: Object) -> Resource | None:
    try:
        return resource_for(reference["kind"], reference["apiVersion"])
    except KeyError:
        return None

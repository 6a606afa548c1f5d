"""How much of a namespace's ResourceQuotas its pods use, and the refusal of a pod too many."""

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from aegis.simulator.kubernetes.objects import Object, dig, is_finished, name_of
from aegis.simulator.kubernetes.quantities import quantity, written

Usage = dict[str, Fraction]


def refusal(pod: Object, quotas: Iterable[Object], pods: Iterable[Object]) -> str | None:
    """Say why this pod may not be created beside `pods`, in the words of a real server."""
    existing = list(pods)
    for quota in quotas:
        hard = dig(quota, "spec", "hard", default={})
        reason = _unspecified(pod, quota, hard) or _exceeded(pod, quota, hard, existing)
        if reason is not None:
            return reason
    return None


def used(quota: Object, pods: Iterable[Object]) -> dict[str, str]:
    """Return `status.used` of a quota, for what it limits that pods use."""
    hard: dict[str, str] = dig(quota, "spec", "hard", default={})
    total = _total(pods)
    return {name: written(total[name], like=str(limit)) for name, limit in hard.items() if _is_counted(name)}


def _unspecified(pod: Object, quota: Object, hard: dict[str, str]) -> str | None:
    missing: dict[str, list[str]] = {}
    for container in dig(pod, "spec", "containers", default=[]):
        given = _of_container(container)
        for name in sorted(hard):
            if name.rpartition(".")[2] in ("cpu", "memory") and name not in given:
                missing.setdefault(name, []).append(str(container.get("name", "")))
    if not missing:
        return None
    parts = [f"{name} for: {','.join(sorted(containers))}" for name, containers in missing.items()]
    return f"failed quota: {name_of(quota)}: must specify {'; '.join(parts)}"


def _exceeded(pod: Object, quota: Object, hard: dict[str, str], existing: list[Object]) -> str | None:
    asked, total = _of_pod(pod), _total(existing)
    over = sorted(
        name
        for name, limit in hard.items()
        if _is_counted(name) and asked[name] > 0 and total[name] + asked[name] > quantity(limit)
    )
    if not over:
        return None
    requested = ",".join(f"{name}={written(asked[name], like=str(hard[name]))}" for name in over)
    already = ",".join(f"{name}={written(total[name], like=str(hard[name]))}" for name in over)
    limited = ",".join(f"{name}={hard[name]}" for name in over)
    return f"exceeded quota: {name_of(quota)}, requested: {requested}, used: {already}, limited: {limited}"


def _is_counted(name: str) -> bool:
    return name in ("pods", "count/pods", "cpu", "memory") or name.startswith(("requests.", "limits."))


def _total(pods: Iterable[Object]) -> Usage:
    total: Usage = defaultdict(Fraction)
    for pod in pods:
        for name, amount in _of_pod(pod).items():
            total[name] += amount
    return total


def _of_pod(pod: Object) -> Usage:
    usage: Usage = defaultdict(Fraction)
    usage["count/pods"] = Fraction(1)
    if is_finished(pod):
        return usage
    usage["pods"] = Fraction(1)
    for container in dig(pod, "spec", "containers", default=[]):
        for name, amount in _of_container(container).items():
            usage[name] += amount
    for container in dig(pod, "spec", "initContainers", default=[]):
        for name, amount in _of_container(container).items():
            usage[name] = max(usage[name], amount)
    return usage


def _of_container(container: Object) -> Usage:
    usage: Usage = {}
    for kind in ("requests", "limits"):
        for name, amount in dig(container, "resources", kind, default={}).items():
            usage[f"{kind}.{name}"] = quantity(amount)
            if kind == "requests" and name in ("cpu", "memory"):
                usage[name] = quantity(amount)
    return usage

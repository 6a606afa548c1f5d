"""Conditions of a status: set one, drop one, ask one."""

from collections.abc import Sequence
from datetime import datetime

from aegis.simulator.kubernetes.objects import Object, timestamp


def condition_of(conditions: Sequence[Object], kind: str) -> Object | None:
    return next((each for each in conditions if each["type"] == kind), None)


def is_true(conditions: Sequence[Object], kind: str) -> bool:
    found = condition_of(conditions, kind)
    return found is not None and found["status"] == "True"


def without(conditions: Sequence[Object], kind: str) -> list[Object]:
    return [each for each in conditions if each["type"] != kind]


def with_condition(
    conditions: Sequence[Object], kind: str, status: str, *, now: datetime, reason: str = "", message: str = ""
) -> list[Object]:
    """Set a condition in its place; the time of transition moves only when the status does.

    >>> at = datetime.fromisoformat("2026-01-05T00:00:00Z")
    >>> with_condition([], "Ready", "True", now=at)[0]["lastTransitionTime"]
    '2026-01-05T00:00:00Z'
    """
    old = condition_of(conditions, kind)
    if old and (old["status"], old.get("reason", ""), old.get("message", "")) == (status, reason, message):
        return list(conditions)
    changed_at = old["lastTransitionTime"] if old and old["status"] == status else timestamp(now)
    new: Object = {"type": kind, "status": status, "lastTransitionTime": changed_at}
    if old and "lastUpdateTime" in old:
        new["lastUpdateTime"] = timestamp(now)
    if old and "lastProbeTime" in old:
        new["lastProbeTime"] = None
    new |= ({"reason": reason} if reason else {}) | ({"message": message} if message else {})
    if old is None:
        return [*conditions, new]
    return [new if each is old else each for each in conditions]


def with_updated_condition(
    conditions: Sequence[Object], kind: str, status: str, *, now: datetime, reason: str, message: str
) -> list[Object]:
    """Set a condition that also says when it was last updated, as a Deployment's do."""
    changed = with_condition(conditions, kind, status, now=now, reason=reason, message=message)
    return [
        {**each, "lastUpdateTime": timestamp(now)} if each["type"] == kind and each not in conditions else each
        for each in changed
    ]

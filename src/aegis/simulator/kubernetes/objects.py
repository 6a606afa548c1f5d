"""Small readings of a Kubernetes object: a path through it, its times, a copy of it."""

from datetime import UTC, datetime
from typing import Any

import orjson

Object = dict[str, Any]
"""One Kubernetes object as JSON has it."""


def copy_of(obj: Object) -> Object:
    """Return a deep copy; quicker than `copy.deepcopy` and refuses what JSON cannot say."""
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


def dig(obj: Any, *path: str, default: Any = None) -> Any:
    """Follow `path` through nested mappings.

    >>> dig({"spec": {"replicas": 3}}, "spec", "replicas")
    3
    """
    for step in path:
        if not isinstance(obj, dict) or obj.get(step) is None:
            return default
        obj = obj[step]
    return obj


def without_nulls(value: Any) -> Any:
    """Drop fields that are null: to a Go server they were never sent.

    >>> without_nulls({"a": None, "b": [{"c": None}]})
    {'b': [{}]}
    """
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


def drop_empty_metadata(obj: Object) -> None:
    """Remove the maps and lists of `metadata` that have nothing in them, as `omitempty` does."""
    metadata = obj.get("metadata", {})
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if name in metadata and not metadata[name]:
            del metadata[name]


def name_of(obj: Object) -> str:
    return str(dig(obj, "metadata", "name", default=""))


def namespace_of(obj: Object) -> str:
    return str(dig(obj, "metadata", "namespace", default=""))


def labels_of(obj: Object) -> dict[str, str]:
    labels: dict[str, str] = dig(obj, "metadata", "labels", default={})
    return labels


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference marked as controller."""
    owners: list[Object] = dig(obj, "metadata", "ownerReferences", default=[])
    return next((owner for owner in owners if owner.get("controller")), None)


def is_terminating(obj: Object) -> bool:
    return dig(obj, "metadata", "deletionTimestamp") is not None


def is_finished(pod: Object) -> bool:
    """Tell whether none of the pod's containers will ever run again."""
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in dig(pod, "status", "conditions", default=[])
    )


def timestamp(at: datetime) -> str:
    """Write a time as the API does, to the second.

    >>> timestamp(datetime(2026, 1, 5, tzinfo=UTC))
    '2026-01-05T00:00:00Z'
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(at: datetime) -> str:
    """Write a time as the API writes its MicroTime."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """Read what `timestamp` or `micro_timestamp` wrote."""
    return datetime.fromisoformat(text)

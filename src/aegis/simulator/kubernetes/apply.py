"""Server-side apply: merge what one manager wants into what is, without taking others' fields by accident."""

from typing import Any

import orjson

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.managed_fields import (
    Path,
    Paths,
    compare,
    entry_for,
    from_fields_v1,
    in_order,
    is_same_manager,
    key_step,
    owned_when_applied,
    parts_of,
    path_text,
    without,
)
from aegis.simulator.kubernetes.objects import Object, copy_of, dig
from aegis.simulator.kubernetes.schema import Field

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_KUBECTL = "kubectl"
_NOBODY = "before-first-apply"

_Conflicts = list[tuple[Object, Path]]


def server_side_apply(
    live: Object, wanted: Object, shape: Field | None, *, manager: str, subresource: str = "", force: bool, time: str
) -> Object:
    """Return `live` after `manager` applied `wanted`, with its managedFields.

    Raises:
        ApiError: 409, others own fields that would change, and `force` is not set.
    """
    entries: list[Object] = dig(live, "metadata", "managedFields", default=[]) or _before_first_apply(live, shape, time)
    claimed = owned_when_applied(wanted, shape)
    draft = entry_for(
        manager=manager,
        operation="Apply",
        api_version=wanted["apiVersion"],
        subresource=subresource,
        time=time,
        paths=claimed,
    )
    mine = next((each for each in entries if is_same_manager(each, draft)), None)
    others = [each for each in entries if each is not mine]
    merged = copy_of(_merged(live, wanted, shape))
    abandoned = (from_fields_v1(mine["fieldsV1"]) if mine else frozenset()) - claimed
    _prune(merged, abandoned, owned_by(others) | claimed, shape)
    found = compare(live, merged, shape)
    if not force:
        _refuse_conflicts(others, found.changed - _taken_over(live, shape, manager))
    kept = without(others, found.changed | found.removed)
    is_unchanged = mine is not None and mine["fieldsV1"] == draft["fieldsV1"]
    own = mine if is_unchanged and not found.changed and not found.removed else draft
    if manager == _KUBECTL:
        _keep_last_applied(merged, wanted)
    merged.setdefault("metadata", {})["managedFields"] = in_order([*kept, *([own] if own and claimed else [])])
    return merged


def _before_first_apply(live: Object, shape: Field | None, time: str) -> list[Object]:
    """Return who owns what was there before anybody's fields were told apart."""
    if not live:
        return []
    paths = owned_when_applied({name: value for name, value in live.items() if name != "status"}, shape)
    entry = entry_for(
        manager=_NOBODY, operation="Update", api_version=live["apiVersion"], subresource="", time=time, paths=paths
    )
    return [entry]


def owned_by(entries: list[Object]) -> Paths:
    return frozenset().union(*(from_fields_v1(each["fieldsV1"]) for each in entries))


def _taken_over(live: Object, shape: Field | None, manager: str) -> set[Path]:
    """Return what kubectl may take without force: what it applied client-side before."""
    text = dig(live, "metadata", "annotations", _LAST_APPLIED)
    if manager != _KUBECTL or text is None:
        return set()
    return owned_when_applied(orjson.loads(text), shape)


def _keep_last_applied(merged: Object, wanted: Object) -> None:
    """Keep up the annotation of client-side apply where there is one, so that one may return to it."""
    annotations = dig(merged, "metadata", "annotations", default={})
    if _LAST_APPLIED in annotations:
        text = orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS).decode()
        annotations[_LAST_APPLIED] = f"{text}\n"


def _merged(live: Any, wanted: Any, shape: Field | None) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict) and not (shape and shape.is_atomic):
        merged = dict(live)
        for name, value in wanted.items():
            child = shape.child(name) if shape else None
            merged[name] = _merged(live[name], value, child) if name in live else value
        return merged
    if isinstance(wanted, list) and isinstance(live, list) and shape is not None:
        if shape.list_type == "map":
            return _merged_items(live, wanted, shape)
        if shape.list_type == "set":
            return [*live, *(each for each in wanted if each not in live)]
    return wanted


def _merged_items(live: list[Object], wanted: list[Object], shape: Field) -> list[Object]:
    ours = {key_step(each, shape): each for each in wanted}
    merged = [_merged(each, ours.pop(key_step(each, shape), {}), shape.item) for each in live]
    return [*merged, *ours.values()]


def _refuse_conflicts(others: list[Object], changed: set[Path]) -> None:
    conflicts = [(entry, path) for entry in others for path in sorted(from_fields_v1(entry["fieldsV1"]) & changed)]
    if conflicts:
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {_manager_text(entry)}",
                "field": path_text(path),
            }
            for entry, path in conflicts
        ]
        raise ApiError(409, "Conflict", _conflict_message(conflicts), details={"causes": causes})


def _conflict_message(conflicts: _Conflicts) -> str:
    if len(conflicts) == 1:
        entry, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {_manager_text(entry)}: {path_text(path)}"
    by_manager: dict[str, list[str]] = {}
    for entry, path in conflicts:
        by_manager.setdefault(_manager_text(entry), []).append(f"- {path_text(path)}")
    lines = [line for manager, paths in sorted(by_manager.items()) for line in (f"conflicts with {manager}:", *paths)]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def _manager_text(entry: Object) -> str:
    text = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return f"{text} using {entry['apiVersion']}" if entry["operation"] == "Update" else text


def _prune(merged: Object, abandoned: Paths, kept: Paths, shape: Field | None) -> None:
    """Remove what its manager no longer applies and nobody else owns, whole items before their parts."""
    targets = {path[:-1] if path[-1] == "." else path for path in abandoned if not _is_key(path)}
    for target in sorted(targets, key=lambda path: (len(path), path)):
        if not any(each[: len(target)] == target for each in kept):
            _remove(merged, target, shape)


def _is_key(path: Path) -> bool:
    """Tell whether a path is one of the keys its list item is known by; those go with the item only."""
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return path[-1].removeprefix("f:") in orjson.loads(path[-2].removeprefix("k:"))


def _remove(value: Any, path: Path, shape: Field | None) -> None:
    parts = parts_of(value, shape) or {}
    step, *rest = path
    if step not in parts:
        return
    child, child_shape = parts[step]
    if rest:
        _remove(child, tuple(rest), child_shape)
        is_emptied_map = child == {} and child_shape is not None and child_shape.is_map
        if not is_emptied_map:
            return
    if isinstance(value, dict):
        del value[step.removeprefix("f:")]
    elif step.startswith("v:"):
        value.remove(orjson.loads(step.removeprefix("v:")))
    else:
        value[:] = [each for each in value if each is not child]

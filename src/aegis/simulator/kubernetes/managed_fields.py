"""Who set which field: the `managedFields` of Kubernetes, as sets of paths.

A path is a tuple of steps: `f:name` a field, `k:{...}` an item of a list by its keys, `v:...` an item of a set
by its value, and `.` the thing itself where it also has parts.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.schema import Field

Path = tuple[str, ...]
Paths = frozenset[Path]

_NOBODYS: frozenset[Path] = frozenset(
    [
        ("f:apiVersion",),
        ("f:kind",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "generation",
                "managedFields",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "selfLink",
                "generateName",
            )
        ),
    ]
)
# Structs a Go object always has: nobody adds them, so nobody owns them as such.
_ALWAYS_THERE = frozenset(
    f"f:{name}"
    for name in ("metadata", "spec", "status", "template", "strategy", "updateStrategy", "jobTemplate", "containers")
)
_KEY_DEFAULTS = {"protocol": "TCP"}


@dataclass
class Comparison:
    """The leaves that are new or other than before, and those that are gone."""

    changed: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def parts_of(value: Any, shape: Field | None) -> dict[str, tuple[Any, Field | None]] | None:
    """Return the parts that are owned separately, by step; None when the value is owned as a whole."""
    if isinstance(value, dict):
        if shape is not None and shape.is_atomic:
            return None
        return {f"f:{name}": (each, shape.child(name) if shape else None) for name, each in value.items()}
    if isinstance(value, list) and shape is not None:
        if shape.list_type == "map":
            return {key_step(each, shape): (each, shape.item) for each in value}
        if shape.list_type == "set":
            return {f"v:{orjson.dumps(each).decode()}": (each, None) for each in value}
    return None


def key_step(item: Object, shape: Field) -> str:
    keys = {name: item.get(name, _KEY_DEFAULTS.get(name)) for name in sorted(shape.list_keys)}
    return "k:" + orjson.dumps({name: value for name, value in keys.items() if value is not None}).decode()


def compare(old: Object, new: Object, shape: Field | None) -> Comparison:
    """Find what somebody who turns `old` into `new` sets and removes."""
    comparison = Comparison()
    _compare((), old, new, shape, comparison)
    return comparison


def _compare(path: Path, old: Any, new: Any, shape: Field | None, found: Comparison) -> None:
    if old == new or path in _NOBODYS:
        return
    before, after = parts_of(old, shape), parts_of(new, shape)
    if before is None or after is None:
        found.changed.add(path)
        return
    for step, (value, child) in after.items():
        if step in before:
            _compare((*path, step), before[step][0], value, child, found)
        else:
            found.changed |= owned_when_created(value, child, (*path, step))
    for step in before.keys() - after.keys():
        value, child = before[step]
        found.removed |= owned_when_created(value, child, (*path, step))


def owned_when_created(value: Any, shape: Field | None, path: Path) -> set[Path]:
    """Return the paths of a value that was not there before."""
    if path in _NOBODYS:
        return set()
    parts = parts_of(value, shape)
    if not parts:
        return {path}
    own = set() if path[-1] in _ALWAYS_THERE else {(*path, ".")}
    return own.union(*(owned_when_created(each, child, (*path, step)) for step, (each, child) in parts.items()))


def owned_when_applied(value: Any, shape: Field | None, path: Path = ()) -> set[Path]:
    """Return the paths somebody claims who applies this value."""
    if path in _NOBODYS:
        return set()
    parts = parts_of(value, shape)
    if not parts:
        return {path} if path else set()
    own = {(*path, ".")} if path and path[-1].startswith("k:") else set()
    return own.union(*(owned_when_applied(each, child, (*path, step)) for step, (each, child) in parts.items()))


def to_fields_v1(paths: set[Path] | Paths) -> Object:
    """Write paths as the tree `fieldsV1` holds."""
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree


def from_fields_v1(tree: Object, path: Path = ()) -> Paths:
    """Read the paths out of a `fieldsV1` tree."""
    if not tree:
        return frozenset([path]) if path else frozenset()
    return frozenset().union(*(from_fields_v1(each, (*path, step)) for step, each in tree.items()))


def path_text(path: Path) -> str:
    """Write a path as messages do: `.spec.containers[name="c"].image`."""
    return "".join(_step_text(step) for step in path if step != ".")


def _step_text(step: str) -> str:
    kind, _, rest = step.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = orjson.loads(rest)
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in keys.items()) + "]"
    return f"[={rest}]"


# Entries: one per manager, operation, version and subresource


def is_reset(entries: list[Object]) -> bool:
    """Tell whether somebody asked to forget all owners, by one empty entry."""
    return len(entries) == 1 and not any(entries[0].values())


def without(entries: list[Object], paths: set[Path]) -> list[Object]:
    """Return the entries with these paths taken away, and without those that own nothing any more."""
    if not paths:
        return entries
    kept = []
    for entry in entries:
        own = from_fields_v1(entry["fieldsV1"])
        left = own - paths
        if len(left) == len(own):
            kept.append(entry)
        elif left:
            kept.append({**entry, "fieldsV1": to_fields_v1(left)})
    return kept


def entry_for(
    *, manager: str, operation: str, api_version: str, subresource: str, time: str, paths: set[Path] | Paths
) -> Object:
    written = {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_fields_v1(paths),
    }
    return {**written, "subresource": subresource} if subresource else written


def is_same_manager(entry: Object, other: Object) -> bool:
    """Tell whether two entries are by the same manager, doing the same kind of thing."""
    return all(
        entry.get(name, "") == other.get(name, "") for name in ("manager", "operation", "apiVersion", "subresource")
    )


def after_update(
    *, old: Object | None, new: Object, shape: Field | None, manager: str, subresource: str, time: str
) -> list[Object]:
    """Return the entries after `manager` turned `old` into `new` by anything but an apply."""
    entries: list[Object] = (old or {}).get("metadata", {}).get("managedFields", [])
    if not subresource:
        sent = new["metadata"].get("managedFields") or []
        if is_reset(sent):
            return []
        entries = sent or entries
    found = compare(_owned_part(old or {}, subresource), _owned_part(new, subresource), shape)
    if not found.changed and not found.removed:
        return entries
    draft = entry_for(
        manager=manager,
        operation="Update",
        api_version=new["apiVersion"],
        subresource=subresource,
        time=time,
        paths=set(),
    )
    mine = next((each for each in entries if is_same_manager(each, draft)), None)
    others = without([each for each in entries if each is not mine], found.changed | found.removed)
    own = ((from_fields_v1(mine["fieldsV1"]) if mine else frozenset()) - found.removed) | found.changed
    if not own:
        return others
    return in_order([*others, {**draft, "fieldsV1": to_fields_v1(own)}])


def _owned_part(obj: Object, subresource: str) -> Object:
    """Return what such a write may set: a status only through its subresource."""
    return obj if subresource == "status" else {name: part for name, part in obj.items() if name != "status"}


def in_order(entries: list[Object]) -> list[Object]:
    return sorted(entries, key=lambda each: (each["operation"], each.get("time", ""), each["manager"]))

"""What every action is made of: JSON Patches that carry their own preconditions, and the undo with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from aegis.contracts.plans import Disturbance, FieldChange
from aegis.contracts.proposals import Proposal
from aegis.executor.cluster.paths import path_of
from aegis.executor.cluster.spelling import spelled
from aegis.executor.guardrails.facts import Facts
from aegis.executor.ports import ExactRequest, Object

JSON_PATCH = "application/json-patch+json"
STAMP_PREFIX = "order.aegis.dev/"
"""Before an order's id: the annotation that says that the order was carried out. Each order has its own."""
_STAMPED = "carried out"
ABSENT = object()
"""The value of a field that is not there."""

_SECRET_PATHS = ("/env", "/envFrom", "/data", "/stringData", "/args", "/command")


class CannotPlanError(Exception):
    """This action makes no sense for this target now; the message says why."""


@dataclass(frozen=True)
class FieldEdit:
    """One field's change: JSON Pointer, old value (or ABSENT), new value (or ABSENT)."""

    pointer: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Draft:
    """What an action would do, before it is made into a plan."""

    summary: str
    request: ExactRequest
    undo: ExactRequest | None
    changes: tuple[FieldChange, ...] = ()
    undo_changes: tuple[FieldChange, ...] = ()
    disturbance: Disturbance = field(default_factory=Disturbance)


class Action(Protocol):
    """One kind of action. Its facts (verbs, reversibility, durations) stand in the catalogue."""

    def draft(self, proposal: Proposal, facts: Facts, *, order_id: str) -> Draft:
        """Work out the exact request and its undo; CannotPlanError where it makes no sense. Pure."""
        ...


def edit_object(target: Object, edits: Sequence[FieldEdit], *, order_id: str) -> tuple[ExactRequest, ExactRequest]:
    """Return the patch that makes the edits and the one that takes them back.

    Both test the UID and the value of every field they touch, never the resourceVersion, which every status
    update moves. The order's own stamp goes on with the edits and off with the undo; those of other orders, which may
    still be held, stay as they are.
    """
    back = _operations([FieldEdit(edit.pointer, edit.after, edit.before) for edit in edits])
    do, undo = _operations([*edits, _stamping(target, order_id)]), [*back, *taking_off_stamp(order_id)]
    return patch_of(target, do), patch_of(target, undo)


def is_stamped(target: Object | None, order_id: str) -> bool:
    """Whether the cluster itself says that this order was carried out."""
    return STAMP_PREFIX + order_id in ((target or {"metadata": {}})["metadata"].get("annotations") or {})


def _stamping(target: Object, order_id: str) -> FieldEdit:
    if target["metadata"].get("annotations") is None:
        return FieldEdit("/metadata/annotations", ABSENT, {STAMP_PREFIX + order_id: _STAMPED})
    return FieldEdit(_stamp_pointer(order_id), ABSENT, _STAMPED)


def _stamp_pointer(order_id: str) -> str:
    return "/metadata/annotations/" + _escaped(STAMP_PREFIX + order_id)


def taking_off_stamp(order_id: str) -> list[dict[str, Any]]:
    """Return the operations of a patch that fails where the stamp is not on."""
    return _operations([FieldEdit(_stamp_pointer(order_id), _STAMPED, ABSENT)])


def stamped_again(target: Object, undo: ExactRequest, order_id: str) -> ExactRequest:
    """Return an undo for an object whose stamp was taken off when the order was kept.

    It puts the stamp on first and takes it off at its end: the write still tells which order it is about.
    """
    is_this_object, *steps = orjson.loads(undo.body)
    return replace(undo, body=spelled([is_this_object, *_operations([_stamping(target, order_id)]), *steps]))


def redacted(edits: Iterable[FieldEdit], *, reverse: bool = False) -> tuple[FieldChange, ...]:
    """Return the edits as people may see them: no value of a variable, an argument or a Secret."""
    changes = []
    for edit in edits:
        before, after = (edit.after, edit.before) if reverse else (edit.before, edit.after)
        changes.extend(_differences(edit.pointer, before, after))
    return tuple(changes)


def _differences(pointer: str, before: Any, after: Any) -> list[FieldChange]:
    """Descend to the fields that differ, so that a whole template shows as what changes in it."""
    if before == after:
        return []
    if any(part in pointer for part in _SECRET_PATHS):
        return [FieldChange(path=pointer, before=_hidden(before), after=_hidden(after))]
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [
            change
            for key in keys
            for change in _differences(f"{pointer}/{_escaped(key)}", before.get(key, ABSENT), after.get(key, ABSENT))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [change for i, (old, new) in pairs for change in _differences(f"{pointer}/{i}", old, new)]
    return [FieldChange(path=pointer, before=_shown(before), after=_shown(after))]


def _hidden(value: Any) -> str | None:
    return None if value is ABSENT else "(hidden)"


def _shown(value: Any) -> str | None:
    if value is ABSENT:
        return None
    if isinstance(value, dict | list):
        # A container that comes or goes whole may hold variables.
        return "(hidden)"
    return str(value)[:200]


def _operations(edits: Iterable[FieldEdit]) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = []
    for edit in edits:
        # A test for null passes where there is nothing: what somebody has put there meanwhile is not overwritten.
        before = None if edit.before is ABSENT else edit.before
        operations.append({"op": "test", "path": edit.pointer, "value": before})
        if edit.after is ABSENT:
            operations.append({"op": "remove", "path": edit.pointer})
        else:
            op = "add" if edit.before is ABSENT else "replace"
            operations.append({"op": op, "path": edit.pointer, "value": edit.after})
    return operations


def patch_of(target: Object, operations: Sequence[dict[str, Any]]) -> ExactRequest:
    """Return the request that carries out a patch on this very object, and on no namesake."""
    metadata = target["metadata"]
    path = path_of(target["apiVersion"], target["kind"], metadata.get("namespace"), metadata["name"])
    is_this_object = {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]}
    return ExactRequest("PATCH", path, JSON_PATCH, spelled([is_this_object, *operations]))


def _escaped(key: str) -> str:
    """Escape a key for a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")

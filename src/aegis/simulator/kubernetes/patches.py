"""JSON patch, merge patch and strategic merge patch: pure functions from one object to the next."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from aegis.simulator.kubernetes.errors import ApiError, bad_request
from aegis.simulator.kubernetes.objects import Object, copy_of
from aegis.simulator.kubernetes.schema import Field

_ORDER = "$setElementOrder/"
_DELETIONS = "$deleteFromPrimitiveList/"

# JSON patch (RFC 6902)

_SPELLING = re.compile(rb"""\\(?:u[0-9a-fA-F]{4}|.)|[<>&]|\xe2\x80[\xa8\xa9]""")
_GO_ESCAPES = frozenset(rb"\" \\ \b \f \n \r \t \u003c \u003e \u0026 \u2028 \u2029".split())
_OTHERWISE = "\ue000".encode()


def as_written(body: bytes) -> Any:
    r"""Read a JSON patch, keeping how the values of its tests are spelled.

    A real server compares the bytes of a test's value with its own, and Go writes `<`, `>` and `&` in strings as
    `\u003c`, `\u003e` and `\u0026`: a string that is spelled otherwise is another one, whatever it means.
    What is spelled otherwise gets a mark here, so that it equals nothing.

    >>> as_written(b'[{"op": "test", "path": "/a", "value": "x>y"}]')[0]["value"] == "x>y"
    False
    """
    operations, marked = orjson.loads(body), orjson.loads(_SPELLING.sub(_marked, body))
    if not isinstance(operations, list):
        return operations
    return [_read(one, tested) for one, tested in zip(operations, marked, strict=True)]


def _read(operation: Any, marked: Any) -> Any:
    is_test = isinstance(operation, dict) and operation.get("op") == "test" and "value" in operation
    return {**operation, "value": marked["value"]} if is_test else operation


def _marked(match: re.Match[bytes]) -> bytes:
    found = match.group()
    return found if found in _GO_ESCAPES or found.startswith((b"\\u000", b"\\u001")) else found + _OTHERWISE


def json_patch(current: Object, operations: Sequence[Object]) -> Object:
    """Apply the operations in order.

    Raises:
        ApiError: 422, a `test` failed or a path does not exist; a real server does not say which.
    """
    document: Any = copy_of(current)
    try:
        for operation in operations:
            document = _apply_operation(document, operation)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message) from error
    patched: Object = document
    return patched


def _apply_operation(document: Any, operation: Object) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _added(document, path, operation["value"])
        case "remove":
            return _removed(document, path)
        case "replace":
            return _replaced(document, path, operation["value"])
        case "move":
            origin = _pointer(operation["from"])
            value = _at(document, origin)
            return _added(_removed(document, origin), path, value)
        case "copy":
            value = copy_of({"it": _at(document, _pointer(operation["from"]))})["it"]
            return _added(document, path, value)
        case "test":
            _test(document, path, operation.get("value"))
            return document
        case unknown:
            raise ValueError(f"unexpected kind: {unknown}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"{text} does not start with a slash")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _at(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        document = document[_index(step, document) if isinstance(document, list) else step]
    return document


def _index(step: str, items: list[Any]) -> int:
    if not step.isdigit() or int(step) >= len(items):
        raise IndexError(f"no item {step}")
    return int(step)


def _added(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        if last != "-" and not (last.isdigit() and int(last) <= len(parent)):
            raise IndexError(f"cannot add an item at {last}")
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value
    return document


def _removed(document: Any, path: list[str]) -> Any:
    parent, last = _at(document, path[:-1]), path[-1]
    del parent[_index(last, parent) if isinstance(parent, list) else last]
    return document


def _replaced(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    parent[_index(last, parent) if isinstance(parent, list) else last] = value
    return document


def _test(document: Any, path: list[str], expected: Any) -> None:
    parent = _at(document, path[:-1])
    # A test for null passes where there is nothing, as on a real server.
    there = not path or isinstance(parent, list) or path[-1] in parent
    actual = _at(document, path) if there else None
    if orjson.dumps(actual, option=orjson.OPT_SORT_KEYS) != orjson.dumps(expected, option=orjson.OPT_SORT_KEYS):
        raise ValueError(f"testing value {'/'.join(path)} failed")


# Merge patch (RFC 7386)


def merge_patch(current: Any, patch: Any) -> Any:
    """Return `current` with the fields of `patch`; null removes one.

    >>> merge_patch({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


# Strategic merge patch


def strategic_merge_patch(current: Object, patch: Object, field: Field | None) -> Object:
    """Merge like a merge patch, but lists with a merge key item by item.

    Raises:
        ApiError: 400, an item of the patch lacks its merge key.
    """
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    merged = _retained(current, patch.get("$retainKeys"))
    for name, value in patch.items():
        if name.startswith(_DELETIONS):
            listed = name.removeprefix(_DELETIONS)
            merged[listed] = [each for each in merged.get(listed) or [] if each not in value]
        elif not name.startswith("$"):
            _merge_field(merged, name, value, field.child(name) if field else None)
    _restore_orders(merged, current, patch, field)
    return merged


def _retained(current: Object, names: Sequence[str] | None) -> Object:
    return {name: value for name, value in current.items() if names is None or name in names}


def _merge_field(merged: Object, name: str, value: Any, field: Field | None) -> None:
    strategies = field.strategies if field else frozenset[str]()
    if value is None:
        merged.pop(name, None)
    elif isinstance(value, dict):
        known = merged.get(name)
        base = known if isinstance(known, dict) and "replace" not in strategies else {}
        merged[name] = strategic_merge_patch(base, value, field)
    elif isinstance(value, list) and field is not None and "merge" in strategies:
        merged[name] = _merge_list(merged.get(name) or [], value, field)
    else:
        merged[name] = value


def _merge_list(current: list[Any], patch: list[Any], field: Field) -> list[Any]:
    if not field.merge_key:
        return current + [each for each in patch if each not in current]
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    merged, added = list(current), []
    for item in patch:
        index = _index_of(merged, item, field.merge_key)
        if item.get("$patch") == "delete":
            merged = [each for position, each in enumerate(merged) if position != index]
        elif index is None:
            added.append(strategic_merge_patch({}, item, field.item))
        else:
            merged[index] = strategic_merge_patch(merged[index], item, field.item)
    return merged + added


def _index_of(items: list[Any], item: Object, merge_key: str) -> int | None:
    if merge_key not in item:
        raise bad_request(f"map: {item} does not contain declared merge key: {merge_key}")
    return next((index for index, each in enumerate(items) if each.get(merge_key) == item[merge_key]), None)


def _restore_orders(merged: Object, current: Object, patch: Object, field: Field | None) -> None:
    """Order merged lists by `$setElementOrder`, or else with the patch's items in the patch's order."""
    orders = {name: value for name, value in patch.items() if isinstance(value, list) and name[0] != "$"}
    orders |= {name.removeprefix(_ORDER): value for name, value in patch.items() if name.startswith(_ORDER)}
    for name, order in orders.items():
        child = field.child(name) if field else None
        if child is not None and "merge" in child.strategies and merged.get(name):
            merged[name] = _in_order(merged[name], current.get(name) or [], order, child.merge_key)


def _in_order(items: list[Any], live: list[Any], order: list[Any], merge_key: str) -> list[Any]:
    """Interleave the items the patch orders with those only the server knows, as apimachinery does."""
    identity: Callable[[Any], Any] = (lambda item: item.get(merge_key)) if merge_key else lambda item: item
    wanted, known = [identity(each) for each in order], [identity(each) for each in live]
    ordered = sorted(
        (each for each in items if identity(each) in wanted), key=lambda each: wanted.index(identity(each))
    )
    others = [each for each in items if identity(each) not in wanted]
    merged: list[Any] = []
    while ordered and others:
        first, second = identity(ordered[0]), identity(others[0])
        other_was_first = first in known and second in known and known.index(second) < known.index(first)
        merged.append((others if other_was_first else ordered).pop(0))
    return merged + ordered + others

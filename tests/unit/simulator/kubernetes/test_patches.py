"""JSON patch, merge patch and strategic merge patch."""

from contextlib import nullcontext
from typing import Any

import pytest

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.patches import as_written, json_patch, merge_patch, strategic_merge_patch
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, NODES
from aegis.simulator.kubernetes.schema import root_of

Object = dict[str, Any]


def pod_spec(**fields: Any) -> Object:
    return {"spec": {"template": {"spec": fields}}}


def merged(current: Object, patch: Object) -> Object:
    """Merge two pod specs as parts of a Deployment."""
    result = strategic_merge_patch(pod_spec(**current), pod_spec(**patch), root_of(DEPLOYMENTS))
    spec: Object = result["spec"]["template"]["spec"]
    return spec


def names(items: list[Object]) -> list[str]:
    return [each["name"] for each in items]


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/list/1", "value": "x"}], {"a": 1, "list": ["p", "x", "q"]}),
        ([{"op": "add", "path": "/list/-", "value": "x"}], {"a": 1, "list": ["p", "q", "x"]}),
        ([{"op": "remove", "path": "/list/0"}], {"a": 1, "list": ["q"]}),
        ([{"op": "replace", "path": "/a", "value": 2}], {"a": 2, "list": ["p", "q"]}),
        ([{"op": "replace", "path": "/b", "value": 2}], {"a": 1, "b": 2, "list": ["p", "q"]}),
        ([{"op": "move", "from": "/a", "path": "/b"}], {"b": 1, "list": ["p", "q"]}),
        ([{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1, "list": ["p", "q"]}),
        ([{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/list"}], {"a": 1}),
        ([{"op": "add", "path": "/x~1y", "value": 1}, {"op": "remove", "path": "/list"}], {"a": 1, "x/y": 1}),
    ],
)
def test_a_json_patch_does_its_operations_in_order(operations: list[Object], expected: Object) -> None:
    assert json_patch({"a": 1, "list": ["p", "q"]}, operations) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "replace", "path": "/list/9", "value": 1},
        {"op": "test", "path": "/a", "value": 1.0},
        {"op": "test", "path": "/missing/deeper", "value": None},
        {"op": "remove", "path": "/missing"},
        {"op": "add", "path": "/missing/deeper", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "dance", "path": "/a"},
        {"path": "/a"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_invalid_without_saying_why(operation: Object) -> None:
    with pytest.raises(ApiError) as refusal:
        json_patch({"a": 1, "list": ["p"]}, [operation])

    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")
    assert refusal.value.message == "the server rejected our request due to an error in our request"


def test_a_json_patch_leaves_the_object_it_starts_from_alone() -> None:
    current = {"list": ["p"]}

    json_patch(current, [{"op": "add", "path": "/list/-", "value": "x"}])

    assert current == {"list": ["p"]}


def test_testing_for_null_passes_where_nothing_is() -> None:
    assert json_patch({"a": 1}, [{"op": "test", "path": "/b", "value": None}]) == {"a": 1}


@pytest.mark.parametrize(
    ("spelling", "fits"),
    [
        (rb"test $A \u003e log \u0026\u0026 say \"no\"\n", True),
        (rb"test $A > log && say \"no\"\n", False),
        (rb"test $A \u003E log \u0026\u0026 say \"no\"\n", False),
        (rb"test $A \u003e log \u0026\u0026 s\u0061y \"no\"\n", False),
    ],
)
def test_a_test_compares_bytes_with_what_go_writes(spelling: bytes, *, fits: bool) -> None:
    current = {"command": 'test $A > log && say "no"\n'}
    operations = as_written(b'[{"op": "test", "path": "/command", "value": "' + spelling + b'"}]')

    with nullcontext() if fits else pytest.raises(ApiError):
        json_patch(current, operations)


def test_a_value_that_is_written_may_be_spelled_in_any_way() -> None:
    operations = as_written(b'[{"op": "add", "path": "/a", "value": "<\\u0061>"}]')

    assert json_patch({}, operations) == {"a": "<a>"}


def test_a_merge_patch_replaces_lists_and_removes_nulls() -> None:
    current = {"spec": {"replicas": 2, "list": [1, 2], "keep": "this"}}

    patched = merge_patch(current, {"spec": {"list": [3], "replicas": None, "new": {"a": None, "b": 1}}})

    assert patched == {"spec": {"list": [3], "keep": "this", "new": {"b": 1}}}


def test_a_strategic_patch_merges_containers_by_name() -> None:
    current = {"containers": [{"name": "web", "image": "web:1", "tty": True}, {"name": "log", "image": "log:1"}]}

    patched = merged(current, {"containers": [{"name": "web", "image": "web:2"}]})

    assert patched["containers"] == [
        {"name": "web", "image": "web:2", "tty": True},
        {"name": "log", "image": "log:1"},
    ]


def test_items_new_to_a_list_go_to_its_front_unless_an_order_is_given() -> None:
    current = {"containers": [{"name": "web"}]}
    added = [{"name": "side"}]
    order = [{"name": "web"}, {"name": "side"}]

    without_order = merged(current, {"containers": added})
    with_order = merged(current, {"containers": added, "$setElementOrder/containers": order})

    assert names(without_order["containers"]) == ["side", "web"]
    assert names(with_order["containers"]) == ["web", "side"]


def test_an_order_alone_sorts_what_is_there() -> None:
    current = {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    order = [{"name": "c"}, {"name": "a"}]

    patched = merged(current, {"$setElementOrder/containers": order})

    assert names(patched["containers"]) == ["b", "c", "a"]


def test_directives_delete_and_replace() -> None:
    current = {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"disk": "ssd", "zone": "1"}}

    deleted = merged(current, {"containers": [{"$patch": "delete", "name": "a"}]})
    replaced = merged(current, {"nodeSelector": {"$patch": "replace", "zone": "2"}})
    exchanged = merged(current, {"containers": [{"$patch": "replace"}, {"name": "z"}]})

    assert names(deleted["containers"]) == ["b"]
    assert replaced["nodeSelector"] == {"zone": "2"}
    assert names(exchanged["containers"]) == ["z"]


def test_retain_keys_drops_the_rest() -> None:
    current = {"volumes": [{"name": "v", "emptyDir": {}}]}
    change = {"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}

    patched = merged(current, {"volumes": [change]})

    assert patched["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_lists_without_a_merge_key_are_replaced() -> None:
    patched = strategic_merge_patch(
        {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
        {"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}},
        root_of(NODES),
    )

    assert patched["spec"]["taints"] == [{"key": "b", "effect": "NoSchedule"}]


def test_primitive_lists_merge_and_lose_named_values() -> None:
    current = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}

    patched = strategic_merge_patch(current, patch, root_of(DEPLOYMENTS))

    assert sorted(patched["metadata"]["finalizers"]) == ["b", "c"]


def test_an_item_without_its_merge_key_is_refused() -> None:
    with pytest.raises(ApiError, match="does not contain declared merge key: name"):
        merged({"containers": []}, {"containers": [{"image": "web:2"}]})

"""What a JSON Pointer points at."""

from typing import Any

import pytest

from aegis.kit.pointers import value_at

THING = {"spec": {"containers": [{"image": "web:1"}]}, "annotations": {"a/b": 1, "c~d": 2}, "none": None}


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", THING),
        ("/spec/containers/0/image", "web:1"),
        ("/annotations/a~1b", 1),
        ("/annotations/c~0d", 2),
        ("/spec/containers/1/image", None),
        ("/spec/containers/first", None),
        ("/none/of/it", None),
        ("/spec/replicas", None),
    ],
)
def test_a_pointer_finds_what_is_there_and_nothing_where_nothing_is(pointer: str, expected: Any) -> None:
    assert value_at(THING, pointer) == expected

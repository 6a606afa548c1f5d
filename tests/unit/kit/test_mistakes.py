"""What is wrong is said in words, and not in those of the library."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from aegis.contracts.actions import Action
from aegis.contracts.base import Moment
from aegis.kit.mistakes import Mistake, mistake_of

KINDS = "'rollback_rollout', 'restart_workload', 'scale_workload', 'raise_memory', 'evict_pod'"


def only_mistake(kind: Any, value: Any) -> Mistake:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(kind).validate_python(value)
    [error] = refusal.value.errors()
    return mistake_of(error)


@pytest.mark.parametrize(
    ("kind", "value", "field", "message", "shown"),
    [
        (Action, {"kind": "fry_eggs"}, "kind", f"is not one of {KINDS}", "fry_eggs"),
        (Action, {}, "kind", "is missing", None),
        (Action, {"kind": "scale_workload"}, "scale_workload.replicas", "is missing", None),
        (dict[str, list[bool]], {"a": [True, "x"]}, "a[1]", "must be true or false", "x"),
        (list[int], ["x"], "[0]", "must be a whole number", "x"),
        (list[int], 3, "", "must be a list", 3),
        (timedelta, "x", "", "must be a length of time such as PT30S", "x"),
        (Moment, "2026-01-01T00:00:00", "", "must say its time zone", "2026-01-01T00:00:00"),
    ],
)
def test_a_mistake_names_field_and_value_and_what_would_be_right(
    kind: Any, value: Any, field: str, message: str, shown: Any
) -> None:
    assert (mistake := only_mistake(kind, value)).field == field
    assert (mistake.message, mistake.value) == (message, shown)

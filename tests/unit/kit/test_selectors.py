"""What a label selector of a workload or a budget means."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.kit.selectors import selector_text, selects
from aegis.simulator.kubernetes.selectors import label_selector

LABELS = {"app": "web", "tier": "front"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {}, "matchExpressions": []}, True),
        ({"matchLabels": None, "matchExpressions": None}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "missing": "x"}}, False),
        ({"matchExpressions": [expression("app", "In", "api", "web")]}, True),
        ({"matchExpressions": [expression("missing", "In", "web")]}, False),
        ({"matchExpressions": [expression("app", "NotIn", "web")]}, False),
        ({"matchExpressions": [expression("missing", "NotIn", "web")]}, True),
        ({"matchExpressions": [expression("app", "Exists")]}, True),
        ({"matchExpressions": [expression("missing", "Exists")]}, False),
        ({"matchExpressions": [expression("app", "DoesNotExist")]}, False),
        ({"matchExpressions": [expression("missing", "DoesNotExist")]}, True),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [expression("tier", "In", "back")]}, False),
        ({"matchExpressions": [expression("app", "Exists"), expression("tier", "NotIn", "front")]}, False),
    ],
)
def test_a_selector_means_what_all_its_requirements_mean(selector: dict[str, Any] | None, *, is_meant: bool) -> None:
    assert selects(selector, LABELS) is is_meant


def test_an_operator_that_nobody_knows_is_never_guessed() -> None:
    with pytest.raises(ValueError, match="Near"):
        selects({"matchExpressions": [expression("app", "Near", "web")]}, LABELS)


KEYS, VALUES = st.sampled_from(["app", "tier", "track"]), st.sampled_from(["web", "api", "front"])
EXPRESSIONS = st.one_of(
    st.builds(expression, KEYS, st.sampled_from(["In", "NotIn"]), VALUES, VALUES),
    st.builds(expression, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
)


@given(st.dictionaries(KEYS, VALUES), st.lists(EXPRESSIONS, max_size=3), st.dictionaries(KEYS, VALUES))
def test_the_api_server_means_the_same_by_it_when_it_is_written_out(
    wanted: dict[str, str], expressions: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    selector = {"matchLabels": wanted, "matchExpressions": expressions}

    assert label_selector(selector_text(selector))({"metadata": {"labels": labels}}) is selects(selector, labels)


def test_a_selector_is_written_as_kubectl_would_take_it() -> None:
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [expression("tier", "In", "a", "b")]}

    assert selector_text(selector) == "app=web,tier in (a,b)"

"""Label and field selectors of requests."""

import pytest

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import EVENTS, NODES, PODS
from aegis.simulator.kubernetes.selectors import field_selector, label_selector

WEB = {"metadata": {"name": "web-1", "labels": {"app": "web", "tier": "front"}}}


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("other!=x", True),
        ("app in (api, web)", True),
        ("app in (api)", False),
        ("app notin (api, db)", True),
        ("missing notin (a)", True),
        ("tier", True),
        ("!tier", False),
        ("!missing", True),
        ("app in (web,api),tier=front,!legacy", True),
        ("app=", False),
    ],
)
def test_a_label_selector_means_what_kubectl_says(selector: str, *, is_meant: bool) -> None:
    assert label_selector(selector)(WEB) is is_meant


def test_a_label_selector_that_cannot_be_read_is_a_bad_request() -> None:
    with pytest.raises(ApiError) as refusal:
        label_selector("app ~ web")

    assert refusal.value.code == 400


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        ("spec.nodeName=n1", True),
        ("spec.nodeName!=n1", False),
        ("status.phase=Running,metadata.name=web-1", True),
        ("status.podIP=", True),
    ],
)
def test_a_field_selector_compares_fields(selector: str, *, is_meant: bool) -> None:
    pod = {"metadata": {"name": "web-1"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}

    assert field_selector(selector, PODS)(pod) is is_meant


def test_events_are_found_by_what_they_are_about() -> None:
    event = {"involvedObject": {"kind": "Pod", "name": "web-1", "uid": "u"}, "reason": "Killing", "type": "Normal"}

    found = field_selector("involvedObject.kind=Pod,involvedObject.uid=u,type!=Warning", EVENTS)

    assert found(event)


def test_a_bool_is_selected_as_text() -> None:
    assert field_selector("spec.unschedulable=true", NODES)({"spec": {"unschedulable": True}})


def test_a_field_nobody_indexes_is_refused() -> None:
    with pytest.raises(ApiError, match=r"field label not supported: spec\.bogus"):
        field_selector("spec.bogus=1", PODS)

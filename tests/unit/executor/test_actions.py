"""What each action would send: preconditions in, undo with it, nothing secret shown."""

from dataclasses import replace

import orjson
import pytest
from cryptography.exceptions import InvalidTag
from tests.builders import NOW, deployment, plan, pod, proposal, replicaset

from aegis.contracts.actions import RaiseMemory, RollbackRollout, ScaleWorkload
from aegis.executor.actions.base import CannotPlanError
from aegis.executor.actions.registry import REGISTRY
from aegis.executor.guardrails.facts import Facts
from aegis.executor.journal.plan import ExactPlan, KeptPlan, PlanCipher, exact_plan_from
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.patches import as_written, json_patch

WEB = deployment()
FACTS = Facts(
    now=NOW, target=WEB, owner=WEB, pods=[pod("a", template="old"), pod("b", ready=False)],
    replicasets=[replicaset("old", revision=1), replicaset("new", revision=2, image="web:2")],
)  # fmt: skip


def test_scaling_tests_uid_and_old_value_and_carries_its_stamp() -> None:
    asked = proposal(ScaleWorkload(replicas=5))

    draft = REGISTRY[asked.action.kind].draft(asked, FACTS, order_id="ord-1")

    steps = orjson.loads(draft.request.body)
    assert {"op": "test", "path": "/metadata/uid", "value": "uid-web"} in steps
    assert {"op": "test", "path": "/spec/replicas", "value": 3} in steps
    assert steps[-2:] == [
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {"order.aegis.dev/ord-1": "carried out"}},
    ]
    assert not any("resourceVersion" in step["path"] for step in steps)


def test_the_undo_runs_only_where_the_fields_still_hold_what_was_written() -> None:
    asked = proposal(ScaleWorkload(replicas=5))

    undo = REGISTRY[asked.action.kind].draft(asked, FACTS, order_id="ord-1").undo

    assert undo is not None
    steps = orjson.loads(undo.body)
    assert {"op": "test", "path": "/spec/replicas", "value": 5} in steps
    assert {"op": "replace", "path": "/spec/replicas", "value": 3} in steps
    assert {"op": "remove", "path": "/metadata/annotations/order.aegis.dev~1ord-1"} in steps


def test_annotations_that_came_since_the_rehearsal_are_not_written_over() -> None:
    asked = proposal(ScaleWorkload(replicas=5))
    draft = REGISTRY[asked.action.kind].draft(asked, FACTS, order_id="ord-1")

    with pytest.raises(ApiError):
        json_patch(deployment(annotations={"team": "shop"}), as_written(draft.request.body))


def test_what_is_added_is_added_only_where_nothing_is() -> None:
    asked = proposal(ScaleWorkload(replicas=5))
    annotated = {**WEB, "metadata": {**WEB["metadata"], "annotations": {"somebody": "was here"}}}

    draft = REGISTRY[asked.action.kind].draft(asked, FACTS, order_id="ord-1")

    assert json_patch(WEB, as_written(draft.request.body))["spec"]["replicas"] == 5
    with pytest.raises(ApiError):
        json_patch(annotated, as_written(draft.request.body))


def test_a_rollback_goes_to_the_last_revision_that_was_healthy() -> None:
    draft = REGISTRY[proposal().action.kind].draft(proposal(), FACTS, order_id="ord-1")

    written = next(step for step in orjson.loads(draft.request.body) if step["op"] == "replace")
    assert written["value"]["spec"]["containers"][0]["image"] == "web:1"
    assert "pod-template-hash" not in written["value"]["metadata"]["labels"]


def test_what_is_tested_is_spelled_as_the_api_server_spells_it() -> None:
    web = deployment()
    web["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", "test -n $A && exec web <in >out"]
    found = replace(FACTS, target=web, owner=web)

    draft = REGISTRY[proposal().action.kind].draft(proposal(), found, order_id="ord-1")

    assert draft.undo is not None
    rolled_back = json_patch(web, as_written(draft.request.body))
    assert json_patch(rolled_back, as_written(draft.undo.body))["spec"] == web["spec"]


def test_without_a_healthy_revision_there_is_nothing_to_go_back_to() -> None:
    unknown = replace(FACTS, pods=[])

    with pytest.raises(CannotPlanError, match="healthy"):
        REGISTRY[proposal().action.kind].draft(proposal(RollbackRollout()), unknown, order_id="ord-1")


def test_memory_is_raised_by_the_factor_and_never_by_more_than_the_catalogue_allows() -> None:
    draft = REGISTRY[RaiseMemory(container="web", factor=1.5).kind].draft(
        proposal(RaiseMemory(container="web", factor=1.5)), FACTS, order_id="o"
    )

    assert [(change.before, change.after) for change in draft.changes] == [("100Mi", "150Mi")]
    too_much = proposal(RaiseMemory(container="web", factor=2))
    with pytest.raises(CannotPlanError):
        REGISTRY[too_much.action.kind].draft(too_much, FACTS, order_id="o")


def test_values_of_variables_are_never_shown() -> None:
    secret = replicaset("old", revision=1)
    secret["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": "canary"}]
    found = replace(FACTS, replicasets=[secret, replicaset("new", revision=2, image="web:2")])

    draft = REGISTRY[proposal().action.kind].draft(proposal(), found, order_id="o")

    assert "canary" in draft.request.body.decode()
    assert "canary" not in repr(draft.changes) + repr(draft.undo_changes) + draft.summary


def test_a_stored_plan_comes_back_to_the_byte_and_cannot_be_exchanged() -> None:
    draft = REGISTRY[proposal().action.kind].draft(proposal(), FACTS, order_id="ord-1")
    exact = ExactPlan("ord-1", "uid-web", draft.request, draft.undo)
    cipher = PlanCipher(bytes(32))

    kept = KeptPlan(proposal(), exact, plan(hash=exact.hash))

    stored = cipher.encrypt(kept)

    assert cipher.decrypt(exact.hash, stored) == kept
    assert exact_plan_from(exact.to_bytes()).hash == exact.hash
    with pytest.raises(InvalidTag):
        cipher.decrypt("b" * 64, stored)


EARLIER_DOCUMENT = (
    b'{"order_id":"ord-1","request":{"body":"W10=","content_type":"application/json-patch+json","method":"PATCH",'
    b'"path":"/apis/apps/v1/namespaces/shop/deployments/web"},"target_uid":"uid-web","undo":null,"version":0}'
)


def test_a_plan_that_an_earlier_release_made_keeps_the_hash_that_was_approved() -> None:
    approved = "46dc28515255ef1ed33691c9835177545b57a8d635755f77a053023f9532e8c3"

    read = exact_plan_from(EARLIER_DOCUMENT)

    assert (read.order_id, read.request.body, read.undo) == ("ord-1", b"[]", None)
    assert read.hash == approved

"""A remediation from proposal to conclusion, as the AI Engine, the Executor and people see it over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text
from tests.builders import target
from tests.servers import CLUSTER
from tests.services.backend.rig import Rig, field_of, opened, plan_for, policy, problem_of, result_of

from aegis.contracts.actions import RaiseMemory, RestartWorkload, ScaleWorkload
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.plans import RehearsalStatus
from aegis.contracts.targets import TargetFacts
from aegis.contracts.verifications import Judgement, Verification


async def test_what_policy_allows_is_ordered_carried_out_and_kept(rig: Rig) -> None:
    remediation_id = await rig.propose()
    planned = await rig.rehearse()
    order = await rig.order()

    await rig.report(order, Stage.ACTING, Stage.SETTLING, Stage.KEPT, reason="all is well")

    assert (order.id, order.plan_hash) == (planned.order_id, planned.hash)
    assert order.expires_at - order.issued_at <= timedelta(minutes=15)
    assert await rig.state(remediation_id) == "kept"
    told = [entry.partition(" ")[2] for entry in await rig.audit(remediation_id)]
    assert {"remediation:proposed", "decision:allow", "order:issued", "remediation:kept"} <= set(told)


async def test_the_same_proposal_sent_twice_is_one_remediation(rig: Rig) -> None:
    ids = await asyncio.gather(*(rig.propose() for _ in range(5)))

    assert len(set(ids)) == 1
    assert len((await rig.as_("vic").get("/api/v1/remediations")).json()["remediations"]) == 1


async def test_the_same_thing_proposed_under_another_id_joins_the_one_that_is_under_way(rig: Rig) -> None:
    first = await rig.propose(id="pro-1")

    assert await rig.propose(id="pro-2") == first
    assert await rig.propose(id="pro-3", action=RestartWorkload()) != first
    assert await rig.propose(id="pro-4", incident_key="another") != first


async def test_a_proposal_for_another_cluster_is_refused(rig: Rig) -> None:
    elsewhere = target(cluster_id="elsewhere")
    body = rig.proposal(target=elsewhere, owner=elsewhere).model_dump(mode="json")

    assert field_of(await rig.as_("ai-engine").post("/api/v1/proposals", json=body)) == (
        "owner.cluster_id", "elsewhere",
    )  # fmt: skip


async def test_a_proposal_whose_owner_is_somebody_else_is_refused(rig: Rig) -> None:
    owner = target("other", cluster_id=CLUSTER, namespace="free").model_dump()
    body = rig.proposal().model_dump(mode="json") | {"owner": owner}

    answer = await rig.as_("ai-engine").post("/api/v1/proposals", json=body)

    assert answer.status_code == 422
    assert "the owner of shop/Deployment/web is itself" in answer.text


async def test_who_proposed_it_is_who_sent_it_whatever_the_body_says(rig: Rig) -> None:
    remediation_id = await rig.propose(proposed_by="person:ada")

    assert (await rig.show(remediation_id))["proposal"]["proposed_by"] == "service:ai-engine"


async def test_a_proposal_with_a_field_we_do_not_know_is_refused(rig: Rig) -> None:
    body = rig.proposal().model_dump(mode="json") | {"force": True}

    assert field_of(await rig.as_("ai-engine").post("/api/v1/proposals", json=body)) == ("force", True)


# Rehearsing and deciding


async def test_a_rehearsal_is_handed_out_once_and_again_when_its_claim_runs_out(rig: Rig) -> None:
    await rig.propose()
    await rig.backend.step()

    assert len((await rig.fetch("executor-0")).rehearsals) == 1
    assert (await rig.fetch("executor-1")).is_empty
    await rig.pass_time(seconds=61)
    assert len((await rig.fetch("executor-1")).rehearsals) == 1


async def test_what_the_executor_refuses_is_refused_with_its_checks(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.backend.step()
    [rehearsal] = (await rig.fetch()).rehearsals
    check = {"name": "target_is_there", "verdict": "refused", "reason": "it is gone"}

    await rig.executor.report_rehearsal(result_of(rehearsal, None, reason="it is gone", checks=(check,)))

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["reason"], shown["checks"]) == ("refused", "it is gone", [check])


async def test_a_rehearsal_that_failed_is_tried_again_until_it_expires(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.backend.step()
    [rehearsal] = (await rig.fetch()).rehearsals
    failed = result_of(rehearsal, None, status=RehearsalStatus.FAILED, reason="the API server is away")
    await rig.executor.report_rehearsal(failed)
    assert await rig.state(remediation_id) == "rehearsing"

    await rig.pass_time(minutes=6)
    await rig.backend.step()

    shown = await rig.show(remediation_id)
    assert shown["state"] == "expired"
    assert shown["reason"].endswith("one that tried said: the API server is away")
    assert await rig.propose(id="pro-again") != remediation_id


async def test_a_rehearsals_answer_that_comes_twice_or_late_changes_nothing(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.backend.step()
    [rehearsal] = (await rig.fetch()).rehearsals
    await rig.executor.report_rehearsal(result_of(rehearsal, plan_for(rehearsal)))

    await rig.executor.report_rehearsal(result_of(rehearsal, None, reason="no after all"))
    await rig.executor.report_rehearsal(result_of(rehearsal, plan_for(rehearsal, hash="b" * 64)))

    assert (await rig.show(remediation_id))["plan"]["hash"] == "a" * 64


async def test_modes_decide_before_anybody_is_asked(rig: Rig) -> None:
    ends = {}
    for mode in ("off", "observe", "approve", "auto"):
        remediation_id = await rig.propose(id=f"pro-{mode}", incident_key=mode)
        await rig.rehearse(mode=mode)
        ends[mode] = await rig.state(remediation_id)

    assert ends == {"off": "denied", "observe": "observed", "approve": "awaiting_approval", "auto": "ordered"}


async def test_silence_means_no(rig: Rig) -> None:
    await rig.as_("ada").delete("/api/v1/policies/default")
    remediation_id = await rig.propose()
    await rig.rehearse()

    shown = await rig.show(remediation_id)
    assert shown["state"] == "denied"
    assert "silence means no" in shown["reason"]


async def spoil(rig: Rig, remediation_id: str, **columns: str) -> None:
    """Let somebody alter the Backend's database, or an earlier version have written what this one cannot read."""
    changed = ", ".join(f"{name} = '{value}'" for name, value in columns.items())
    async with rig.database.transaction() as tx:
        await tx.execute(text(f"UPDATE remediations SET {changed} WHERE id = '{remediation_id}'"))


@pytest.mark.parametrize(
    ("at", "spoilt", "ends"),
    [
        ("proposed", {"proposal": "{}"}, "cancelled"),
        ("deciding", {"plan": "{}"}, "cancelled"),
        ("awaiting_approval", {"decision": "{}"}, "cancelled"),
        ("settling", {"proposal": "{}"}, "escalated"),
    ],
)
async def test_what_nobody_can_read_is_handed_to_a_person_and_keeps_nothing_else_waiting(
    rig: Rig, at: str, spoilt: dict[str, str], ends: str
) -> None:
    first, second = await rig.propose(), await rig.propose(id="pro-2", incident_key="another")
    if at != "proposed":
        await rig.put_policy(policy("{name: ask, effect: require_approval}", name="ask"))
        await rig.backend.step()
        for rehearsal in (await rig.fetch()).rehearsals:
            await rig.executor.report_rehearsal(result_of(rehearsal, plan_for(rehearsal)))
    if at not in ("proposed", "deciding"):
        await rig.backend.step()
        for one in (first, second):
            await rig.approve("ann", one, "a" * 64)
    if at == "settling":
        await rig.backend.step()
        for order in map(opened, (await rig.fetch()).orders):
            await rig.report(order, Stage.ACTING, Stage.SETTLING)
        await rig.pass_time(minutes=21)
    await spoil(rig, first, **spoilt)

    await rig.backend.step()

    assert await rig.state(second) == {
        "proposed": "rehearsing", "deciding": "awaiting_approval", "awaiting_approval": "ordered",
        "settling": "escalated",
    }[at]  # fmt: skip
    async with rig.database.transaction() as tx:
        found = (await tx.execute(text(f"SELECT state FROM remediations WHERE id = '{first}'"))).scalar_one()
    assert found == ends
    assert first in [one["detail"]["remediation_id"] for one in await rig.notifications("escalated")]
    assert f"service:backend remediation:{ends}" in await rig.audit(first)


# The clock jumps


async def test_a_clock_that_goes_back_keeps_no_claimed_work_from_being_handed_out_again(rig: Rig) -> None:
    await rig.propose()
    await rig.backend.step()
    assert len((await rig.fetch("executor-0")).rehearsals) == 1

    await rig.pass_time(hours=-2)

    assert len((await rig.fetch("executor-1")).rehearsals) == 1


async def test_a_clock_that_jumps_ahead_ends_every_yes_and_what_it_took_for_silence_is_believed_when_heard(
    rig: Rig,
) -> None:
    waiting, planned = await rig.awaiting()
    await rig.approve("ann", waiting, planned.hash)
    await rig.pass_time(hours=2)
    await rig.backend.step()
    assert (await rig.state(waiting), (await rig.fetch()).orders) == ("denied", ())

    await rig.put_policy(policy("{name: ask, effect: allow}", name="ask"))
    acting = await rig.propose(id="pro-2", incident_key="another")
    await rig.rehearse()
    order = await rig.order()
    await rig.report(order, Stage.ACTING, Stage.SETTLING)
    await rig.pass_time(hours=2)
    await rig.backend.step()
    assert await rig.state(acting) == "escalated"

    await rig.report(order, Stage.KEPT, first=3)
    assert await rig.state(acting) == "kept"


# Requests by people


async def test_a_person_requests_and_the_target_is_the_object_that_has_the_name_now(rig: Rig) -> None:
    remediation_id = (await rig.request("ole")).json()["remediation_id"]

    proposal = (await rig.show(remediation_id))["proposal"]
    assert (proposal["proposed_by"], proposal["target"]["uid"]) == ("person:ole", "uid-web")
    assert "person:ole remediation:proposed" in await rig.audit(remediation_id)


async def test_a_person_may_name_a_pod_whose_workload_then_owns_what_is_done(rig: Rig) -> None:
    web = target(cluster_id=CLUSTER)
    pod = web.model_copy(update={"api_version": "v1", "kind": "Pod", "name": "web-1", "uid": "uid-web-1"})
    rig.directory.add(pod, owner=web)

    asked = await rig.request(kind="Pod", name="web-1", action={"kind": "evict_pod"})

    proposed = (await rig.show(asked.json()["remediation_id"]))["proposal"]
    assert (proposed["target"]["uid"], proposed["owner"]["uid"]) == ("uid-web-1", web.uid)


async def test_a_request_for_what_is_not_there_says_so(rig: Rig) -> None:
    assert "shop/Deployment/nowhere" in problem_of(await rig.request(name="nowhere"), 404)["detail"]


async def test_a_request_that_makes_no_sense_names_its_field(rig: Rig) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"action": {"kind": "reboot"}}, "action.kind"),
        ({"action": {"kind": "scale_workload", "replicas": 0}}, "action.scale_workload.replicas"),
        ({"action": {"kind": "scale_workload", "replicas": 3, "now": True}}, "action.scale_workload.now"),
        ({"reason": ""}, "reason"),
        ({"namespace": ""}, "namespace"),
        ({"kind": ""}, "kind"),
        ({"proposed_by": "service:ai-engine"}, "proposed_by"),
    )
    for changes, field in cases:
        assert field_of(await rig.request(**changes))[0] == field


async def test_whoever_requests_what_is_under_way_already_becomes_a_requester(rig: Rig) -> None:
    first = (await rig.request("ole")).json()["remediation_id"]
    again = await rig.request("ada")

    assert again.json()["remediation_id"] == first
    assert "person:ada remediation:requested" in await rig.audit(first)
    assert problem_of(await rig.request("ann"), 403)["detail"] == "person:ann may not request here"


async def test_whoever_requests_the_same_action_otherwise_is_told_what_is_under_way(rig: Rig) -> None:
    await rig.request("ole", action={"kind": "scale_workload", "replicas": 4})

    again = await rig.request("ada", action={"kind": "scale_workload", "replicas": 6})

    assert "scale_workload replicas=4" in problem_of(again, 409)["detail"]
    assert field_of(again, 409) == ("action", "scale_workload replicas=6")


async def test_a_person_who_asks_for_the_rollback_that_was_proposed_joins_it_whomever_it_blames(rig: Rig) -> None:
    proposed = await rig.propose(action={"kind": "rollback_rollout", "to_revision": 1, "blamed_template": "6c9f"})

    asked = await rig.request("ole", action={"kind": "rollback_rollout", "to_revision": 1})

    assert asked.json()["remediation_id"] == proposed


async def an_incident(rig: Rig, *, steps: bool = True, **changes: Any) -> str:
    """Let the AI Engine report a problem of shop/web, or report it anew; return the incident's id."""
    report = {
        "key": "problem-1", "reported_at": rig.clock.now().isoformat(),
        "workload": {"cluster_id": CLUSTER, "namespace": "shop", "kind": "Deployment", "name": "web"},
    }  # fmt: skip
    await rig.pass_time(seconds=1)
    await rig.as_("ai-engine").post("/api/v1/incidents/reports", json=report | changes)
    if steps:
        await rig.backend.step()
    [incident] = (await rig.as_("ada").get("/api/v1/incidents")).json()["incidents"]
    return str(incident["id"])


async def test_a_request_stands_by_itself_whatever_becomes_of_an_incident_of_its_target(rig: Rig) -> None:
    await an_incident(rig)
    remediation_id = (await rig.request("ole")).json()["remediation_id"]

    await an_incident(rig, resolved=True)

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["incident_id"], shown["proposal"]["cause"]) == ("rehearsing", "", "unknown")


async def test_a_request_for_an_incident_ends_with_it(rig: Rig) -> None:
    incident_id = await an_incident(rig)
    remediation_id = (await rig.request("ole", incident_id=incident_id)).json()["remediation_id"]
    assert (await rig.show(remediation_id))["incident_id"] == incident_id

    await an_incident(rig, resolved=True)

    assert await rig.state(remediation_id) == "cancelled"
    assert field_of(await rig.request("ole", incident_id=incident_id), 409) == ("incident_id", incident_id)
    problem_of(await rig.request("ole", incident_id="inc-nowhere"), 404)


async def test_what_a_person_wants_too_no_longer_ends_with_the_incident_it_was_proposed_for(rig: Rig) -> None:
    await an_incident(rig)
    remediation_id = await rig.propose(incident_key="problem-1")
    assert (await rig.request("ole")).json()["remediation_id"] == remediation_id

    await an_incident(rig, resolved=True)

    assert await rig.state(remediation_id) == "rehearsing"


async def test_an_incident_that_a_remedy_healed_did_not_resolve_by_itself(rig: Rig) -> None:
    await rig.put_policy(policy("{name: go, effect: allow}", name="always"))
    await an_incident(rig)
    helped = await rig.propose(id="pro-1", incident_key="problem-1")
    await rig.rehearse()
    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING)
    waiting = await rig.propose(
        id="pro-2", incident_key="problem-1", action=ScaleWorkload(replicas=4), proposed_at=rig.clock.now()
    )

    await an_incident(rig, resolved=True)

    assert (await rig.show(waiting))["reason"] == f"the incident is resolved, after {helped}"


# Approvals


async def test_nothing_is_ordered_before_somebody_says_yes_to_exactly_this_plan(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    assert (await rig.fetch()).orders == ()

    refused = await rig.approve("ann", remediation_id, "b" * 64)
    assert field_of(refused, 409) == ("plan_hash", "b" * 64)
    assert (await rig.approve("ann", remediation_id, planned.hash)).status_code == 202
    await rig.backend.step()

    order = await rig.order()
    assert order.plan_hash == planned.hash
    assert [(one.approver, one.plan_hash) for one in order.approvals] == [("person:ann", planned.hash)]


async def test_people_are_told_once_that_somebody_is_needed_with_all_they_need(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    await rig.backend.step()

    [asked] = await rig.notifications("approval_needed")
    assert asked["detail"]["plan_hash"] == planned.hash
    assert remediation_id in asked["detail"]["how"]


async def test_whoever_requested_it_cannot_approve_it_even_as_admin(rig: Rig) -> None:
    await rig.put_policy(policy("{name: ask, effect: require_approval}", name="ask"))
    remediation_id = (await rig.request("ada")).json()["remediation_id"]
    planned = await rig.rehearse()

    refusal = problem_of(await rig.approve("ada", remediation_id, planned.hash), 403)
    assert "somebody else" in refusal["detail"]
    assert (await rig.approve("ann", remediation_id, planned.hash)).status_code == 202


async def test_joining_a_proposal_as_a_requester_costs_the_right_to_approve_it(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting(incident_key="problem-1")

    joined = await rig.request("ada")

    assert joined.json()["remediation_id"] == remediation_id
    problem_of(await rig.approve("ada", remediation_id, planned.hash), 403)


async def test_a_role_counts_only_in_the_namespaces_it_was_granted_for(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    problem_of(await rig.approve("eve", remediation_id, planned.hash), 404)
    problem_of(await rig.as_("eve").get(f"/api/v1/remediations/{remediation_id}"), 404)
    assert (await rig.as_("eve").get("/api/v1/remediations")).json()["remediations"] == []

    grants = [{"role": "viewer", "namespaces": ["*"]}, {"role": "approver", "namespaces": ["else*"]}]
    await rig.as_("ada").patch("/api/v1/people/eve", json={"grants": grants})
    token = await log_in_as(rig, "eve")
    async with rig.client({"Authorization": f"Bearer {token}"}) as eve:
        body = {"plan_hash": planned.hash}
        answer = await eve.post(f"/api/v1/remediations/{remediation_id}/approve", json=body)

    assert "namespace shop" in problem_of(answer, 403)["detail"]


async def test_where_an_admin_is_asked_for_an_approvers_yes_does_not_count(rig: Rig) -> None:
    await rig.put_policy(
        policy("{name: ask, effect: require_approval, approvals: {count: 1, role: admin}}", name="ask")
    )
    remediation_id = await rig.propose()
    planned = await rig.rehearse()

    assert "role admin" in problem_of(await rig.approve("ann", remediation_id, planned.hash), 403)["detail"]
    assert (await rig.approve("ada", remediation_id, planned.hash)).status_code == 202


async def test_two_different_people_are_needed_where_two_are_asked_for(rig: Rig) -> None:
    await rig.put_policy(policy("{name: ask, effect: require_approval, approvals: {count: 2}}", name="ask"))
    remediation_id = await rig.propose()
    planned = await rig.rehearse()

    await rig.approve("ann", remediation_id, planned.hash)
    problem_of(await rig.approve("ann", remediation_id, planned.hash), 409)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "awaiting_approval"

    await rig.approve("bob", remediation_id, planned.hash)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "ordered"


async def no_longer_trusted(rig: Rig) -> None:
    await rig.as_("ada").patch("/api/v1/people/ann", json={"disabled": True})


async def viewer_only(rig: Rig) -> None:
    await rig.as_("ada").patch("/api/v1/people/ann", json={"grants": [{"role": "viewer"}]})


async def wants_it_too(rig: Rig) -> None:
    grants = [{"role": "approver"}, {"role": "operator"}]
    await rig.as_("ada").patch("/api/v1/people/ann", json={"grants": grants})
    async with rig.client({"Authorization": f"Bearer {await log_in_as(rig, 'ann')}"}) as ann:
        asked = {
            "namespace": "shop", "name": "web", "reason": "at once", "action": {"kind": "rollback_rollout"},
        }  # fmt: skip
        assert (await ann.post("/api/v1/remediations", json=asked)).status_code == 202


@pytest.mark.parametrize("then", [no_longer_trusted, viewer_only, wants_it_too])
async def test_a_yes_does_not_outlive_the_right_to_give_it(rig: Rig, then: Callable[[Rig], Awaitable[None]]) -> None:
    await rig.put_policy(policy("{name: ask, effect: require_approval, approvals: {count: 2}}", name="ask"))
    remediation_id = await rig.propose()
    planned = await rig.rehearse()
    await rig.approve("ann", remediation_id, planned.hash)
    await then(rig)

    await rig.approve("bob", remediation_id, planned.hash)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "awaiting_approval"

    await rig.approve("ada", remediation_id, planned.hash)
    await rig.backend.step()
    assert [one.approver for one in (await rig.order()).approvals] == ["person:bob", "person:ada"]


async def test_nobody_says_yes_in_time(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    await rig.pass_time(minutes=15)

    late = problem_of(await rig.approve("ann", remediation_id, planned.hash), 409)
    await rig.backend.step()

    assert "waited for approval until" in late["detail"]
    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["reason"]) == ("denied", "nobody approved it in time")


async def test_a_yes_expires_while_the_second_is_awaited(rig: Rig) -> None:
    rig.ports.settings.approval_lifetime = timedelta(minutes=2)
    await rig.put_policy(policy("{name: ask, effect: require_approval, approvals: {count: 2}}", name="ask"))
    remediation_id = await rig.propose()
    planned = await rig.rehearse()
    await rig.approve("ann", remediation_id, planned.hash)

    rig.ports.settings.approval_lifetime = timedelta(minutes=15)
    await rig.pass_time(minutes=1, seconds=59)
    await rig.approve("bob", remediation_id, planned.hash)
    await rig.pass_time(seconds=1)
    await rig.backend.step()

    assert await rig.state(remediation_id) == "denied"
    assert (await rig.fetch()).orders == ()


async def test_a_policy_that_denies_it_by_now_wins_over_a_yes(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    await rig.approve("ann", remediation_id, planned.hash)

    await rig.put_policy(policy("{name: never, effect: deny}", name="never"))
    await rig.backend.step()

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["decision"]["rule"]) == ("denied", "never/never")
    assert (await rig.fetch()).orders == ()


async def test_a_policy_that_asks_for_more_by_now_asks_anew(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    await rig.approve("ann", remediation_id, planned.hash)

    await rig.put_policy(policy("{name: ask, effect: require_approval, approvals: {count: 2}}", name="ask"))
    await rig.backend.step()

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["decision"]["approvals_needed"], shown["approvals"]) == ("awaiting_approval", 2, [])
    assert (await rig.fetch()).orders == ()
    for name in ("ann", "bob"):
        await rig.approve(name, remediation_id, planned.hash)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "ordered"


async def test_one_no_is_a_no(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()

    no = await rig.as_("bob").post(f"/api/v1/remediations/{remediation_id}/reject", json={"comment": "not today"})
    assert no.status_code == 202

    problem_of(await rig.approve("ann", remediation_id, planned.hash), 409)
    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["reason"]) == ("denied", "rejected by person:bob: not today")


async def test_a_service_approves_nothing(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()

    for service in ("ai-engine", "executor", "alertmanager"):
        problem_of(await rig.approve(service, remediation_id, planned.hash), 403)


async def test_an_approvers_own_signature_travels_with_the_order(rig: Rig) -> None:
    remediation_id, planned = await rig.awaiting()
    await rig.approve("ann", remediation_id, planned.hash, key_id="k1", signature="c2lnbmVk")
    await rig.backend.step()

    [approval] = (await rig.order()).approvals
    assert (approval.key_id, approval.signature) == ("k1", "c2lnbmVk")


# Orders and outcomes


async def test_an_order_is_handed_out_until_the_executor_has_said_something(rig: Rig) -> None:
    await rig.propose()
    await rig.rehearse()
    first = await rig.order()
    await rig.pass_time(seconds=61)
    again = await rig.order()

    await rig.report(again, Stage.ACTING)
    await rig.pass_time(seconds=61)

    assert first == again
    assert (await rig.fetch()).orders == ()


async def test_an_outcome_that_comes_twice_moves_and_tells_once(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()
    order = await rig.order()

    for _ in range(3):
        await rig.report(order, Stage.ACTING)

    told = await rig.audit(remediation_id)
    assert told.count("service:executor remediation:acting") == 1
    assert len((await rig.show(remediation_id))["outcomes"]) == 1


async def test_a_report_that_may_not_follow_is_written_down_and_moves_nothing(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()
    order = await rig.order()
    await rig.report(order, Stage.REFUSED)

    await rig.report(order, Stage.KEPT, first=2)

    assert await rig.state(remediation_id) == "refused"
    assert "service:executor outcome:late" in await rig.audit(remediation_id)


async def test_a_report_about_nothing_known_changes_nothing(rig: Rig) -> None:
    body = {
        "order_id": "ord-x",
        "remediation_id": "rem-x",
        "sequence": 1,
        "stage": "kept",
        "at": "2026-01-05T12:00:00Z",
    }

    answer = await rig.as_("executor").post("/api/v1/orders/ord-x/outcomes", json=body)
    mixed_up = await rig.as_("executor").post("/api/v1/orders/ord-y/outcomes", json=body)

    assert answer.status_code == 204
    assert field_of(mixed_up) == ("order_id", "ord-x")


async def test_outcomes_are_handed_on_to_the_ai_engine_in_order(rig: Rig) -> None:
    await rig.propose()
    await rig.rehearse()
    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.KEPT)

    first = (await rig.as_("ai-engine").get("/api/v1/outcomes", params={"limit": 2})).json()
    rest = (await rig.as_("ai-engine").get("/api/v1/outcomes", params={"after": first["after"]})).json()

    assert [one["stage"] for one in first["outcomes"] + rest["outcomes"]] == ["acting", "settling", "kept"]
    assert (await rig.as_("ai-engine").get("/api/v1/outcomes", params={"after": rest["after"]})).json() == {
        "outcomes": [], "after": rest["after"],
    }  # fmt: skip


async def test_what_was_worse_and_undone_is_handed_to_a_person_with_the_evidence(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()
    order = await rig.order()
    worse = Verification(judgement=Judgement.WORSE, reasons=("errors doubled",), at=rig.clock.now())

    await rig.report(order, Stage.ACTING, Stage.SETTLING, Stage.UNDOING)
    await rig.report(order, Stage.UNDONE, first=4, verification=worse)

    assert await rig.state(remediation_id) == "escalated"
    [told] = await rig.notifications("escalated")
    assert told["detail"]["evidence"] == ["errors doubled"]


async def test_after_an_undo_the_ladders_next_rung_is_proposed(rig: Rig) -> None:
    remediation_id = await rig.propose(ladder=(ScaleWorkload(replicas=4),))
    await rig.rehearse()
    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.UNDOING, Stage.UNDONE)

    found = (await rig.as_("vic").get("/api/v1/remediations")).json()["remediations"]
    assert await rig.state(remediation_id) == "undone"
    assert [one["proposal"]["action"]["kind"] for one in found if one["state"] == "proposed"] == ["scale_workload"]


async def rungs(rig: Rig) -> dict[int, str]:
    """Return the state of each scaling, by how many replicas it is to."""
    found = (await rig.as_("vic").get("/api/v1/remediations")).json()["remediations"]
    return {one["proposal"]["action"]["replicas"]: one["state"] for one in found}


async def test_the_next_rung_may_be_the_same_action_with_other_settings(rig: Rig) -> None:
    await rig.propose(action=ScaleWorkload(replicas=6), ladder=(ScaleWorkload(replicas=8),))
    await rig.rehearse()

    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.UNDOING, Stage.UNDONE)

    assert await rungs(rig) == {6: "undone", 8: "proposed"}


async def test_what_policy_denies_or_time_takes_leaves_the_next_rung_to_be_tried(rig: Rig) -> None:
    only_small = "{name: no-jumps, effect: deny, when: plan.changes > 1}"
    await rig.put_policy(policy(only_small, "{name: go, effect: allow}", name="small"))
    await rig.propose(action=ScaleWorkload(replicas=9), ladder=(ScaleWorkload(replicas=7), ScaleWorkload(replicas=6)))
    changes = [{"path": path, "before": "1", "after": "2"} for path in ("/a", "/b")]

    await rig.rehearse(changes=changes)
    assert await rungs(rig) == {9: "denied", 7: "proposed"}

    await rig.rehearse()
    await rig.report(await rig.order(), Stage.EXPIRED)
    assert await rungs(rig) == {9: "denied", 7: "expired", 6: "proposed"}


async def refused_at_rehearsal(rig: Rig, mode: str = "auto") -> None:
    await rig.backend.step()
    [rehearsal] = (await rig.fetch()).rehearsals
    facts = TargetFacts(mode=mode)
    await rig.executor.report_rehearsal(result_of(rehearsal, None, reason="a budget forbids it", facts=facts))


async def refused_as_an_order(rig: Rig) -> None:
    await rig.rehearse()
    await rig.report(await rig.order(), Stage.REFUSED, reason="it changed")


async def expired_as_an_order(rig: Rig) -> None:
    await rig.rehearse()
    await rig.report(await rig.order(), Stage.EXPIRED, reason="blocked by a freeze")


async def denied_by_policy(rig: Rig) -> None:
    await rig.put_policy(policy("{name: never, effect: deny}", name="never"))
    await rig.rehearse()


async def approved_by_nobody(rig: Rig) -> None:
    await rig.put_policy(policy("{name: ask, effect: require_approval}", name="ask"))
    await rig.rehearse()
    await rig.pass_time(minutes=16)
    await rig.backend.step()


async def rehearsed_by_nobody(rig: Rig) -> None:
    await rig.backend.step()
    await rig.pass_time(hours=1)
    await rig.backend.step()


@pytest.mark.parametrize(
    ("comes_to_nothing", "why"),
    [
        (refused_at_rehearsal, "refused: a budget forbids it"),
        (refused_as_an_order, "refused: it changed"),
        (expired_as_an_order, "expired: blocked by a freeze"),
        (denied_by_policy, "denied: "),
        (approved_by_nobody, "denied: nobody approved it in time"),
        (rehearsed_by_nobody, "expired: no Executor rehearsed it in time"),
    ],
)
async def test_where_nothing_is_done_and_nothing_is_left_to_try_a_person_is_called(
    rig: Rig, comes_to_nothing: Callable[[Rig], Awaitable[None]], why: str
) -> None:
    incident_id = await an_incident(rig)
    remediation_id = await rig.propose(incident_key="problem-1")

    await comes_to_nothing(rig)

    [told] = await rig.notifications("needs_person")
    assert told["detail"]["why"].startswith(why)
    assert (told["detail"]["remediation_id"], told["detail"]["incident_id"]) == (remediation_id, incident_id)


async def test_a_person_is_called_once_for_an_incident(rig: Rig) -> None:
    await an_incident(rig)
    await rig.propose(incident_key="problem-1")
    await expired_as_an_order(rig)

    await rig.propose(id="pro-again", incident_key="problem-1")
    await expired_as_an_order(rig)

    assert len(await rig.notifications("needs_person")) == 1


async def test_nobody_is_called_for_what_is_over(rig: Rig) -> None:
    await an_incident(rig)
    remediation_id = await rig.propose(incident_key="problem-1")
    await rig.rehearse()
    order = await rig.order()
    await an_incident(rig, steps=False, resolved=True)

    await rig.report(order, Stage.REFUSED, reason="it is healthy again")

    assert await rig.state(remediation_id) == "refused"
    assert await rig.notifications("needs_person") == []


async def test_nobody_is_called_where_aegis_only_looks_on(rig: Rig) -> None:
    await an_incident(rig)
    await rig.propose(incident_key="problem-1")

    await refused_at_rehearsal(rig, mode="observe")

    assert await rig.notifications("needs_person") == []


async def test_whoever_asked_alone_is_not_called(rig: Rig) -> None:
    await rig.request()

    await refused_at_rehearsal(rig)

    assert await rig.notifications("needs_person") == []


async def test_an_executor_that_says_nothing_is_reported_to_a_person(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()
    await rig.order()
    await rig.pass_time(minutes=26)
    await rig.backend.step()

    assert await rig.state(remediation_id) == "escalated"
    assert "has not said" in (await rig.notifications("escalated"))[0]["detail"]["why"]


async def silent_while(rig: Rig, *stages: Stage, **planned: Any) -> tuple[str, Order]:
    """Return a remediation whose Executor has brought it so far and is then away, and its order."""
    remediation_id = await rig.propose()
    await rig.rehearse(**planned)
    order = await rig.order()
    await rig.report(order, *stages)
    await rig.pass_time(minutes=21)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "escalated"
    return remediation_id, order


async def test_what_an_executor_that_was_away_holds_is_told_and_can_be_concluded(rig: Rig) -> None:
    remediation_id, order = await silent_while(rig, Stage.ACTING, Stage.SETTLING)

    await rig.report(order, Stage.HELD, first=3, escalate=True, reason="nobody knows whether it helped")

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["reason"]) == ("held", "nobody knows whether it helped")
    assert len(await rig.notifications("escalated")) == 2
    assert (await conclude(rig, "keep", "ole", remediation_id)).status_code == 202
    await rig.report(order, Stage.KEPT, first=4)
    assert await rig.state(remediation_id) == "kept"


async def test_what_is_undone_after_a_long_silence_is_undone(rig: Rig) -> None:
    remediation_id, order = await silent_while(rig, Stage.ACTING, Stage.SETTLING, Stage.UNDOING)

    await rig.report(order, Stage.UNDONE, first=4, reason="errors doubled")

    assert "service:executor remediation:undone" in await rig.audit(remediation_id)
    assert (await rig.show(remediation_id))["reason"] == "undone, and nothing else is left to try: errors doubled"


async def test_people_conclude_what_is_settling_although_the_executor_is_silent(rig: Rig) -> None:
    remediation_id, order = await silent_while(rig, Stage.ACTING, Stage.SETTLING)

    assert (await undo(rig, "ole", remediation_id)).status_code == 202
    await rig.report(order, Stage.UNDOING, Stage.UNDONE, first=3)

    assert await rig.state(remediation_id) == "undone"


async def test_what_the_executor_itself_gave_up_stays_escalated(rig: Rig) -> None:
    remediation_id, order = await silent_while(rig, Stage.ACTING, Stage.SETTLING)
    await rig.report(order, Stage.ESCALATED, first=3, reason="it got worse, and it has no undo")

    assert "nothing to undo" in problem_of(await undo(rig, "ole", remediation_id), 409)["detail"]
    await rig.report(order, Stage.KEPT, first=4)

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["reason"]) == ("escalated", "it got worse, and it has no undo")


async def test_an_executor_that_says_that_it_is_still_at_it_is_not_silent(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()
    order = await rig.order()
    await rig.report(order, Stage.ACTING, Stage.SETTLING, Stage.UNDOING)
    await rig.pass_time(minutes=19)
    await rig.report(order, Stage.UNDOING, first=4, escalate=True, reason="not undone yet, and tried on")

    await rig.pass_time(minutes=19)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "undoing"

    await rig.pass_time(minutes=2)
    await rig.backend.step()
    assert await rig.state(remediation_id) == "escalated"
    assert len(await rig.notifications("escalated")) == 2


async def test_what_happened_is_announced_as_an_event_until_it_was_written(rig: Rig) -> None:
    await rig.propose()
    await rig.rehearse()
    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.KEPT)

    [announcement] = (await rig.fetch()).announcements
    assert (announcement.reason, announcement.type) == ("AegisKept", "Normal")
    await rig.executor.report_announced([announcement.id])
    await rig.pass_time(seconds=61)
    assert (await rig.fetch()).announcements == ()


# Undo


async def kept(rig: Rig, **planned: Any) -> str:
    remediation_id = await rig.propose()
    await rig.rehearse(**planned)
    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.KEPT)
    return remediation_id


async def undo(rig: Rig, name: str, remediation_id: str) -> httpx.Response:
    return await conclude(rig, "undo", name, remediation_id)


async def conclude(rig: Rig, purpose: str, name: str, remediation_id: str) -> httpx.Response:
    return await rig.as_(name).post(f"/api/v1/remediations/{remediation_id}/{purpose}")


async def test_a_person_takes_back_what_was_kept_with_an_order_of_its_own(rig: Rig) -> None:
    remediation_id = await kept(rig)

    answer = await undo(rig, "ole", remediation_id)

    orders = [opened(envelope) for envelope in (await rig.fetch()).orders]
    [order] = [one for one in orders if one.purpose == "undo"]
    shown = await rig.show(remediation_id)
    assert (answer.json()["order_id"], order.concerns) == (order.id, shown["order_id"])
    assert order.plan_hash == shown["plan"]["hash"]
    assert "person:ole order:issued" in await rig.audit(remediation_id)


async def test_what_a_person_took_back_is_undone_and_nothing_else_is_tried(rig: Rig) -> None:
    remediation_id = await rig.propose(ladder=(ScaleWorkload(replicas=4),))
    await rig.rehearse()
    order = await rig.order()
    await rig.report(order, Stage.ACTING, Stage.SETTLING, Stage.KEPT)
    await undo(rig, "ole", remediation_id)

    await rig.report(order, Stage.UNDOING, Stage.UNDONE, first=4, reason="a person takes it back")

    found = (await rig.as_("vic").get("/api/v1/remediations")).json()["remediations"]
    assert [one["state"] for one in found] == ["undone"]
    assert await rig.notifications("escalated") == []


async def test_asking_to_undo_again_gives_the_order_that_was_given(rig: Rig) -> None:
    remediation_id = await kept(rig)

    first, again = await conclude(rig, "undo", "ole", remediation_id), await undo(rig, "ada", remediation_id)

    assert again.json() == first.json()


async def test_a_persons_order_that_no_executor_answers_is_not_forgotten(rig: Rig) -> None:
    remediation_id = await kept(rig)
    await undo(rig, "ole", remediation_id)

    await rig.pass_time(minutes=15)
    await rig.backend.step()
    assert await rig.notifications("escalated") == []

    await rig.pass_time(minutes=2)
    await rig.backend.step()
    await rig.backend.step()
    [told] = await rig.notifications("escalated")
    assert "no Executor answered" in told["detail"]["why"]
    assert "service:backend order:unheard" in await rig.audit(remediation_id)
    assert (await undo(rig, "ole", remediation_id)).status_code == 202


async def test_a_persons_order_that_the_executor_declines_calls_a_person(rig: Rig) -> None:
    remediation_id = await kept(rig)
    order_id = (await undo(rig, "ole", remediation_id)).json()["order_id"]
    [order] = [one for one in map(opened, (await rig.fetch()).orders) if one.id == order_id]

    await rig.report(order, Stage.REFUSED, reason="order ord-1 is undone")

    [told] = await rig.notifications("escalated")
    assert "order ord-1 is undone" in told["detail"]["why"]
    assert (await rig.state(remediation_id)) == "kept"


async def test_what_is_held_can_be_kept_for_good(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()
    order = await rig.order()
    await rig.report(order, Stage.ACTING, Stage.SETTLING)
    assert "nothing to keep" in problem_of(await conclude(rig, "keep", "ole", remediation_id), 409)["detail"]
    await rig.report(order, Stage.HELD, first=3)

    await conclude(rig, "keep", "ole", remediation_id)
    assert "ordered to keep" in problem_of(await undo(rig, "ada", remediation_id), 409)["detail"]

    keeping = await rig.order()
    assert (keeping.purpose, keeping.concerns) == ("keep", order.id)
    await rig.report(order, Stage.KEPT, first=4, reason="a person keeps it")
    assert await rig.state(remediation_id) == "kept"
    await rig.pass_time(hours=1)
    await rig.backend.step()
    assert await rig.notifications("escalated") == []


async def test_a_second_escalation_is_told_as_well(rig: Rig) -> None:
    await rig.propose()
    await rig.rehearse()
    order = await rig.order()
    await rig.report(order, Stage.ACTING, Stage.SETTLING)
    await rig.report(order, Stage.HELD, first=3, escalate=True, reason="nobody knows whether it helped")
    await rig.report(order, Stage.UNDOING, first=4)
    await rig.report(order, Stage.ESCALATED, first=5, reason="not undone: the fields hold something else")

    assert len(await rig.notifications("escalated")) == 2


async def one_more(rig: Rig, number: int) -> str:
    await rig.pass_time(minutes=1)
    remediation_id = await rig.propose(id=f"pro-{number}", incident_key=f"incident-{number}")
    await rig.rehearse()
    return remediation_id


async def fail_three_times(rig: Rig) -> None:
    await rig.put_policy(policy("{name: go, effect: allow}", name="always"))
    for number in range(3):
        await one_more(rig, number)
        await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.UNDOING, Stage.UNDONE)


async def test_a_rule_that_failed_three_times_in_a_row_asks_a_person_until_it_helps_again(rig: Rig) -> None:
    await fail_three_times(rig)

    fourth = await rig.show(await one_more(rig, 4))
    assert fourth["state"] == "awaiting_approval"
    assert "always/go has failed 3 times in a row" in fourth["reason"]
    await rig.approve("ann", fourth["id"], fourth["plan"]["hash"])
    await rig.backend.step()
    await rig.report(await rig.order(), Stage.ACTING, Stage.SETTLING, Stage.KEPT)

    assert await rig.state(await one_more(rig, 5)) == "ordered"


async def test_what_nobody_can_judge_takes_no_failure_back(rig: Rig) -> None:
    await fail_three_times(rig)
    fourth = await rig.show(await one_more(rig, 4))
    await rig.approve("ann", fourth["id"], fourth["plan"]["hash"])
    await rig.backend.step()
    order = await rig.order()
    await rig.report(order, Stage.ACTING, Stage.SETTLING)

    await rig.report(order, Stage.HELD, first=3, escalate=True, reason="nobody can tell whether it helped")

    assert await rig.state(fourth["id"]) == "held"
    assert await rig.state(await one_more(rig, 5)) == "awaiting_approval"


async def test_what_failed_a_month_ago_is_no_longer_held_against_a_rule(rig: Rig) -> None:
    await fail_three_times(rig)

    await rig.pass_time(minutes=31 * 24 * 60)

    assert await rig.state(await one_more(rig, 4)) == "ordered"


async def test_what_has_no_undo_or_nothing_to_undo_is_a_conflict(rig: Rig) -> None:
    proposed = await rig.propose(id="pro-2", incident_key="another")
    problem_of(await undo(rig, "ole", proposed), 409)
    await rig.rehearse(reversible=False)

    assert "no undo" in problem_of(await undo(rig, "ole", proposed), 409)["detail"]
    problem_of(await undo(rig, "ole", "rem-unknown"), 404)


async def test_what_is_ordered_and_not_yet_done_cannot_be_undone(rig: Rig) -> None:
    remediation_id = await rig.propose()
    await rig.rehearse()

    assert "nothing to undo" in problem_of(await undo(rig, "ole", remediation_id), 409)["detail"]


# What an approval is shown


async def test_a_remediation_is_shown_whole_and_lists_filter(rig: Rig) -> None:
    first = await rig.propose()
    await rig.propose(id="pro-2", action=RaiseMemory(container="web", factor=1.5))

    async def listed(**query: Any) -> list[str]:
        answer = await rig.as_("vic").get("/api/v1/remediations", params=query)
        return [one["id"] for one in answer.json()["remediations"]]

    assert len(await listed()) == 2
    assert await listed(state="kept") == []
    assert len(await listed(limit=1)) == 1
    assert await listed(incident_id="inc-none") == []
    assert (await rig.show(first))["proposal"] == orjson.loads(rig.proposal().model_dump_json())
    assert field_of(await rig.as_("vic").get("/api/v1/remediations?state=done"))[0] == "query.state"


async def log_in_as(rig: Rig, name: str) -> str:
    """Give somebody a password and log in with it."""
    await rig.as_("ada").patch(f"/api/v1/people/{name}", json={"password": "a long enough one"})
    answer = await rig.anybody().post("/api/v1/sessions", json={"name": name, "password": "a long enough one"})
    return str(answer.json()["token"])

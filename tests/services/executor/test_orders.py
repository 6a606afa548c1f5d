"""What a good order does, so that what stops one is known to be why: exactly one write, and its report."""

from datetime import timedelta

import pytest
from tests.services.executor.rig import Rig, killed

from aegis.contracts.actions import Action, EvictPod, RaiseMemory, RestartWorkload, RollbackRollout, ScaleWorkload
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.plans import RehearsalStatus
from aegis.contracts.verifications import Judgement
from aegis.executor.journal import repository
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, PODS

ACTIONS: tuple[Action, ...] = (
    RollbackRollout(),
    RestartWorkload(),
    ScaleWorkload(replicas=5),
    RaiseMemory(container="web", factor=1.5),
    EvictPod(),
)


@pytest.fixture(params=ACTIONS, ids=lambda action: str(action.kind))
def action(request: pytest.FixtureRequest, rig: Rig) -> Action:
    """Every action, in a cluster where it makes sense."""
    asked: Action = next(one for one in ACTIONS if request.param in (one, one.kind))
    if isinstance(asked, RaiseMemory):
        for pod in ("web-new-0", "web-new-1"):
            rig.change(PODS, pod, killed(rig))
    return asked


async def test_a_good_order_is_carried_out_by_exactly_one_write(rig: Rig, action: Action) -> None:
    proposal = rig.proposal(action)
    plan = await rig.plan(proposal)
    order = rig.order(proposal, plan)

    await rig.give(order)

    assert [(one.verb, one.code < 300, one.manager) for one in rig.written] == [
        ("create" if isinstance(action, EvictPod) else "patch", True, "aegis-executor")
    ]
    assert [one.stage for one in rig.backend.outcomes] == [Stage.ACTING, Stage.SETTLING]


async def test_an_executor_that_only_rehearses_sends_nothing_but_dry_runs(rig: Rig, action: Action) -> None:
    before = {one["metadata"]["name"]: one for one in [*rig.store.list(DEPLOYMENTS), *rig.store.list(PODS)]}

    result = await rig.rehearse(rig.proposal(action))
    await rig.executor.step()
    await rig.executor.monitor()

    assert result.status is RehearsalStatus.PLANNED
    assert [one.dry_run for one in rig.sent] == [True]
    assert rig.written == []
    assert {one["metadata"]["name"]: one for one in [*rig.store.list(DEPLOYMENTS), *rig.store.list(PODS)]} == before


async def test_what_is_rehearsed_is_what_is_sent_to_the_byte(rig: Rig, action: Action) -> None:
    proposal = rig.proposal(action)
    plan = await rig.plan(proposal)
    assert "canary" not in plan.model_dump_json()

    await rig.give(rig.order(proposal, plan))

    rehearsed, checked_again, written = rig.sent
    assert (rehearsed.dry_run, checked_again.dry_run, written.dry_run) == (True, True, False)
    assert rehearsed.path == checked_again.path == written.path
    assert plan.requests[0].endswith(written.path)


async def test_the_stamp_goes_on_with_the_change(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)

    await rig.give(rig.order(proposal, plan))

    web = rig.find(DEPLOYMENTS, "web")
    assert f"order.aegis.dev/{plan.order_id}" in web["metadata"]["annotations"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"


# What is given back


async def test_a_held_change_is_given_back_whatever_other_order_was_carried_out_meanwhile(rig: Rig) -> None:
    held = await carried_out(rig, ScaleWorkload(replicas=5))
    rig.verifier.says_of_release = Judgement.NOT_YET
    await rig.look_for(seconds=90)
    assert stage_of(rig, held) is Stage.HELD
    await rig.pass_time(minutes=6)
    kept = await carried_out(rig, RestartWorkload())
    await rig.look_for(seconds=200)
    assert (stage_of(rig, kept), rig.find(DEPLOYMENTS, "web")["spec"]["replicas"]) == (Stage.KEPT, 5)

    await rig.pass_time(minutes=60)
    await rig.executor.step()
    await rig.look_for(seconds=10)

    web = rig.find(DEPLOYMENTS, "web")
    assert (stage_of(rig, held), web["spec"]["replicas"]) == (Stage.RELEASED, 3)
    assert not any(key.startswith("order.aegis.dev/") for key in web["metadata"].get("annotations") or {})


async def carried_out(rig: Rig, action: Action) -> Order:
    """Return an order that has helped, as everybody says."""
    proposal = rig.proposal(action)
    order = rig.order(proposal, await rig.plan(proposal))
    rig.verifier.says = Judgement.BETTER
    await rig.give(order)
    rig.roll_out()
    return order


# What a person makes of it


async def a_held_one(rig: Rig) -> Order:
    """Return an order to roll back of which nobody knows whether it helped: a person has to conclude it."""
    proposal = rig.proposal(RollbackRollout())
    order = rig.order(proposal, await rig.plan(proposal))
    rig.verifier.says = None
    await rig.give(order)
    rig.roll_out()
    await rig.pass_time(seconds=301)
    await rig.executor.step()
    assert stage_of(rig, order) is Stage.HELD
    return order


def concluding(order: Order, purpose: str) -> Order:
    return order.model_copy(update={"id": f"ord-{purpose}", "purpose": purpose, "concerns": order.id})


def stage_of(rig: Rig, order: Order) -> Stage | None:
    outcome = rig.outcome(order)
    return outcome.stage if outcome is not None else None


async def test_what_a_person_keeps_is_kept_as_it_is_and_owned_by_nobody_of_us(rig: Rig) -> None:
    order = await a_held_one(rig)
    asked = concluding(order, "keep").model_copy(update={"expires_at": rig.clock.now() + timedelta(minutes=15)})

    await rig.give(asked)

    deployment = rig.find(DEPLOYMENTS, "web")
    assert (stage_of(rig, order), stage_of(rig, asked)) == (Stage.KEPT, None)
    assert all(one.get("manager") != "aegis-executor" for one in deployment["metadata"].get("managedFields", []))
    await rig.pass_time(hours=2)
    await rig.executor.step()
    assert stage_of(rig, order) is Stage.KEPT


@pytest.mark.parametrize("action", ["rollback_rollout", "raise_memory"], indirect=True)
async def test_what_was_kept_is_taken_back_whole(rig: Rig, action: Action) -> None:
    before = rig.find(DEPLOYMENTS, "web")["spec"]["template"]
    order = await carried_out(rig, action)
    while stage_of(rig, order) is Stage.SETTLING:
        await rig.pass_time(seconds=30)
        await rig.executor.step()
    assert stage_of(rig, order) is Stage.KEPT
    asked = concluding(order, "undo").model_copy(update={"expires_at": rig.clock.now() + timedelta(minutes=15)})

    await rig.give(asked)

    deployment = rig.find(DEPLOYMENTS, "web")
    assert stage_of(rig, order) is Stage.UNDONE
    assert deployment["spec"]["template"] == before
    assert all(one.get("manager") != "aegis-executor" for one in deployment["metadata"].get("managedFields", []))


async def test_what_a_person_takes_back_waits_for_another_order_on_the_same_owner(rig: Rig) -> None:
    order = await a_held_one(rig)
    await rig.remember(0, owner_uid=rig.ref().uid, minutes_ago=1, stage=Stage.SETTLING)
    asked = concluding(order, "undo").model_copy(update={"expires_at": rig.clock.now() + timedelta(minutes=15)})

    await rig.give(asked)
    assert (stage_of(rig, order), len(rig.written)) == (Stage.HELD, 1)
    async with rig.database.transaction() as tx:
        await repository.change(tx, "past-0", in_stage=Stage.SETTLING, stage=Stage.KEPT, concluded=True)
    await rig.look_for(seconds=10)

    assert stage_of(rig, order) is Stage.UNDONE


async def test_what_a_person_could_not_take_back_in_time_says_what_was_in_the_way(rig: Rig) -> None:
    order = await a_held_one(rig)
    await rig.remember(0, owner_uid=rig.ref().uid, minutes_ago=1, stage=Stage.ACTING)
    asked = concluding(order, "undo").model_copy(update={"expires_at": rig.clock.now() + timedelta(seconds=10)})
    await rig.give(asked)

    await rig.look_for(seconds=10)

    assert rig.said(asked).stage is Stage.EXPIRED
    assert "order past-0 is under way on the same owner" in rig.said(asked).reason
    assert stage_of(rig, order) is Stage.HELD


@pytest.mark.parametrize(
    ("purpose", "late", "ends"),
    [("keep", False, Stage.REFUSED), ("keep", True, Stage.EXPIRED), ("undo", True, Stage.EXPIRED)],
)
async def test_a_persons_order_that_cannot_be_followed_says_so(
    rig: Rig, purpose: str, *, late: bool, ends: Stage
) -> None:
    order = await a_held_one(rig)
    now = rig.clock.now()
    if not late:
        await rig.give(concluding(order, "undo").model_copy(update={"expires_at": now + timedelta(minutes=15)}))
        assert stage_of(rig, order) is Stage.UNDONE
    before = (stage_of(rig, order), len(rig.written))
    expires_at = now if late else now + timedelta(minutes=15)
    asked = concluding(order, purpose).model_copy(update={"id": "ord-late", "expires_at": expires_at})

    await rig.give(asked)

    assert stage_of(rig, asked) is ends
    assert (stage_of(rig, order), len(rig.written)) == before


async def test_what_a_workload_selects_by_expressions_is_found_as_well(rig: Rig) -> None:
    newest = {"key": "pod-template-hash", "operator": "NotIn", "values": ["old"]}

    found = await rig.ports.cluster.list(
        "v1", "Pod", "shop", selector={"matchLabels": {"app": "web"}, "matchExpressions": [newest]}
    )

    assert [one["metadata"]["name"] for one in found] == ["web-new-0", "web-new-1", "web-new-2"]

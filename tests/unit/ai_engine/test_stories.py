"""From what is seen to what is proposed: the whole pipeline, a story a test."""

from datetime import timedelta

import pytest
from tests.unit.ai_engine.builders import SHOP, World, meta, stamp

from aegis.ai_engine.ports import Conclusion, ObjectChange
from aegis.catalogue.signals import (
    CALL_ERROR_RATIO,
    CONNECTIONS_USAGE,
    CPU_THROTTLED,
    CPU_USAGE,
    ERROR_RATIO,
    LATENCY,
    MEMORY_USAGE,
    POOL_USAGE,
    QUEUE_LENGTH,
    REQUEST_RATE,
    REVISION_ERROR_RATIO,
)
from aegis.contracts.actions import RaiseMemory, RollbackRollout, ScaleWorkload
from aegis.contracts.outcomes import Outcome, Stage

# From here on the shipped policy rolls back unasked.
UNASKED = 0.7


def usual(world: World, *names: str) -> None:
    for name in names:
        for signal, value in ((REQUEST_RATE, 20.0), (ERROR_RATIO, 0.0), (LATENCY, 0.05), (CPU_USAGE, 0.3),
                              (CPU_THROTTLED, 0.0), (MEMORY_USAGE, 0.4)):  # fmt: skip
            world.show(signal, name, value)


@pytest.fixture
def world() -> World:
    """A shop: web calls cart calls store; five minutes of peace behind it."""
    made = World()
    made.node("n1")
    made.deploy("web", env={"UPSTREAM": "http://cart:8080"})
    made.deploy("cart", env={"DATABASE": "store.shop.svc.cluster.local:5432"})
    made.deploy("store")
    usual(made, "web", "cart", "store")
    made.run(300)
    return made


# -- rollouts


def test_a_revision_that_crashes_is_rolled_back_to_the_one_that_served(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert (world.cause, world.subject) == ("bad_revision", "shop/Deployment/web")
    [proposal] = world.proposals
    assert proposal.action == RollbackRollout(to_revision=1, blamed_template="h2")
    assert proposal.target.uid == "uid-web"
    assert "healthy" in proposal.rationale


def test_a_revision_whose_predecessor_crashed_as_well_is_not_to_blame(world: World) -> None:
    world.crash("web", 1, revision=1, times=2)
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert world.cause == "unknown"
    assert world.proposals == []
    assert world.last.needs_person != ""


def test_two_bad_revisions_of_workloads_that_call_each_other_are_both_rolled_back(world: World) -> None:
    world.roll_out("cart", 2)
    world.crash("cart", 0, revision=2, times=2)
    world.run(80)
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert {one.target.name for one in world.proposals} == {"web", "cart"}
    assert len({one.incident_key for one in world.proposals}) == 1


def test_what_was_begun_for_an_incident_goes_on_in_the_one_it_is_merged_into(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    world.crash("cart", 0)
    world.pod("cart", 0, restarts=3)
    world.run(420)
    world.roll_out("store", 2)
    world.crash("store", 0, revision=2)
    [first, second] = world.proposals
    assert first.incident_key != second.incident_key

    world.crash("cart", 1)

    [merged] = {one.key for one in world.reports if one.merged_into is not None}
    assert merged == second.incident_key
    assert {one.merged_into for one in world.reports if one.key == merged and one.resolved} == {first.incident_key}
    assert len(world.proposals) == 2


def test_an_old_evicted_pod_that_nobody_removed_is_no_reason_to_keep_a_bad_revision(world: World) -> None:
    world.evicted("web", 9, at=world.now - timedelta(days=2))
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def test_a_first_revision_has_nothing_to_go_back_to() -> None:
    world = World()
    world.deploy("web", ready=False)
    world.crash("web", 0)
    world.run(60)

    assert world.proposals == []
    assert world.last.needs_person != ""


def test_old_trouble_is_not_a_new_rollouts_fault(world: World) -> None:
    world.crash("cart", 0, times=3)
    world.roll_out("cart", 2, ready=True)
    world.run(60)

    assert world.proposals == []


def test_a_revision_that_fails_requests_is_rolled_back(world: World) -> None:
    world.show(REVISION_ERROR_RATIO, "web", 0.001, revision="h1")
    world.run(60)
    world.roll_out("web", 2, surge=2, ready=True)
    world.show(REVISION_ERROR_RATIO, "web", 0.3, revision="h2")
    world.show(ERROR_RATIO, "web", 0.15)
    world.run(120)

    assert world.cause == "bad_revision"
    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def test_a_revision_that_served_well_for_a_while_is_not_taken_back_unasked_for_what_began_later(world: World) -> None:
    world.roll_out("web", 2, surge=2, ready=True)
    world.retire("web", 1)
    world.show(REVISION_ERROR_RATIO, "web", 0.001, revision="h1")
    world.run(60)
    world.show(REVISION_ERROR_RATIO, "web", None, revision="h1")
    world.show(REVISION_ERROR_RATIO, "web", 0.001, revision="h2")
    world.run(300)
    world.show(REVISION_ERROR_RATIO, "web", 0.3, revision="h2")
    world.show(ERROR_RATIO, "web", 0.3)
    world.run(120)

    [proposal] = world.proposals
    assert proposal.confidence < UNASKED
    assert "served well for" in proposal.rationale


def test_a_revision_that_fails_later_beside_one_that_does_not_is_taken_back(world: World) -> None:
    world.show(REVISION_ERROR_RATIO, "web", 0.001, revision="h1")
    world.roll_out("web", 2, surge=1, ready=True)
    world.show(REVISION_ERROR_RATIO, "web", 0.001, revision="h2")
    world.run(300)
    world.show(REVISION_ERROR_RATIO, "web", 0.3, revision="h2")
    world.show(ERROR_RATIO, "web", 0.1)
    world.run(120)

    [proposal] = world.proposals
    assert proposal.confidence >= UNASKED


def test_the_stores_last_connections_are_not_the_fault_of_who_was_rolled_out_before(world: World) -> None:
    world.roll_out("cart", 2, surge=2, ready=True)
    world.retire("cart", 1)
    world.show(CONNECTIONS_USAGE, "store", 0.6)
    world.run(400)
    for name in ("web", "cart"):
        world.show(ERROR_RATIO, name, 0.25)
    world.show(CONNECTIONS_USAGE, "store", 1.0)
    world.run(120)

    assert (world.cause, world.subject) == ("connections_exhausted", "shop/Deployment/store")
    assert all(one.confidence < UNASKED for one in world.proposals)


def test_a_slow_revision_is_rolled_back_unless_what_it_calls_is_slow_itself(world: World) -> None:
    world.roll_out("cart", 2, surge=2, ready=True)
    world.show(LATENCY, "cart", 0.9)
    world.show(LATENCY, "web", 1.0)
    world.run(120)

    assert (world.cause, world.subject) == ("bad_revision", "shop/Deployment/cart")
    assert [one.target.name for one in world.proposals] == ["cart"]


def test_a_revision_is_not_slow_because_its_store_is(world: World) -> None:
    world.roll_out("cart", 2, surge=2, ready=True)
    for name in ("web", "cart", "store"):
        world.show(LATENCY, name, 0.9)
    world.run(150)

    assert world.proposals == []
    assert world.subject == "shop/Deployment/store"


def test_more_latency_under_more_traffic_is_not_the_revisions_fault(world: World) -> None:
    world.roll_out("web", 2, surge=2, ready=True)
    world.show(LATENCY, "web", 0.5)
    world.show(REQUEST_RATE, "web", 60)
    world.run(120)

    assert world.proposals == []


@pytest.mark.parametrize(
    ("waiting", "cause"),
    [("ImagePullBackOff", "image_unavailable"), ("CreateContainerConfigError", "configuration_missing")],
)
def test_what_a_rollout_lacks_is_cured_by_taking_it_back(world: World, waiting: str, cause: str) -> None:
    world.roll_out("web", 2)
    world.pod("web", 0, revision=2, ready=False, waiting=waiting, phase="Pending")
    world.run(40)

    assert world.cause == cause
    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def test_an_image_that_the_old_revision_cannot_pull_either_is_a_persons_matter(world: World) -> None:
    world.roll_out("web", 2)
    for revision in (1, 2):
        world.pod("web", 0, revision=revision, ready=False, waiting="ImagePullBackOff", phase="Pending")
    world.run(60)

    assert world.cause == "image_unavailable"
    assert world.proposals == []
    assert "image" in world.last.needs_person


def test_a_rollout_past_its_deadline_is_taken_back(world: World) -> None:
    world.roll_out("web", 2)
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                 "lastTransitionTime": stamp(world.now)}  # fmt: skip
    world.deployment_status("web", ready=2, conditions=[condition])
    world.run(30)

    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def unschedulable(world: World) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes",
                 "lastTransitionTime": stamp(world.now)}  # fmt: skip
    world.pod("web", 0, revision=2, ready=False, phase="Pending", conditions=[condition], node="")
    world.run(60)


def test_a_cluster_without_room_is_not_the_revisions_fault(world: World) -> None:
    world.roll_out("web", 2)
    unschedulable(world)

    assert world.cause == "unschedulable"
    assert world.proposals == []


def test_a_quota_that_is_used_up_is_a_persons_decision(world: World) -> None:
    world.roll_out("web", 2, surge=0)
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: t",
                 "lastTransitionTime": stamp(world.now)}  # fmt: skip
    world.deployment_status("web", ready=2, conditions=[condition])
    world.run(60)

    assert world.cause == "quota_exhausted"
    assert world.proposals == []
    assert "quota" in world.last.needs_person


def test_what_was_rolled_back_is_never_gone_back_to(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    assert len(world.proposals) == 1
    world.remove_pod("web", 0, revision=2)
    world.run(300)

    world.roll_out("web", 3)
    world.crash("web", 0, revision=3)

    assert [one.action for one in world.proposals] == [
        RollbackRollout(to_revision=1, blamed_template=blamed) for blamed in ("h2", "h3")
    ]


def finish_rollout(world: World, name: str, revision: int) -> None:
    """Let all pods be of the new revision, and ready."""
    world.retire(name, revision - 1)
    for number in range(2):
        world.pod(name, number, revision=revision)
    world.scale(name, revision, replicas=2)


def test_a_revision_that_got_well_by_itself_may_be_gone_back_to(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    finish_rollout(world, "web", 2)
    world.run(7200)

    world.roll_out("web", 3)
    world.crash("web", 0, revision=3)

    assert [one.action for one in world.proposals] == [
        RollbackRollout(to_revision=1, blamed_template="h2"), RollbackRollout(to_revision=2, blamed_template="h3")
    ]  # fmt: skip


def test_a_bad_revision_that_looks_well_for_a_moment_is_not_gone_back_to(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    finish_rollout(world, "web", 2)
    world.run(300)

    world.roll_out("web", 3)
    world.crash("web", 0, revision=3)

    assert [one.action for one in world.proposals] == [
        RollbackRollout(to_revision=1, blamed_template=blamed) for blamed in ("h2", "h3")
    ]


def test_a_revision_that_failed_requests_until_just_now_is_not_gone_back_to(world: World) -> None:
    world.show(REVISION_ERROR_RATIO, "web", 0.001, revision="h1")
    world.run(60)
    world.roll_out("web", 2)
    finish_rollout(world, "web", 2)
    for share in (0.3, 0.0):
        world.show(REVISION_ERROR_RATIO, "web", share, revision="h2")
        world.show(ERROR_RATIO, "web", share)
        world.run(900 if share else 240)
    assert world.last.resolved

    world.roll_out("web", 3)
    world.crash("web", 0, revision=3)

    assert [one.action for one in world.proposals] == [
        RollbackRollout(to_revision=1, blamed_template=blamed) for blamed in ("h2", "h3")
    ]


# -- dependencies


def store_is_gone(world: World) -> None:
    world.crash("store", 0, times=1)
    world.crash("store", 1, times=1)
    world.deployment_status("store", ready=0)
    world.endpoints("store", 0)
    for name in ("web", "cart"):
        world.show(ERROR_RATIO, name, 0.9)
    world.run(120)


def test_an_outage_of_something_needed_names_it_and_touches_nobody(world: World) -> None:
    store_is_gone(world)

    assert (world.cause, world.subject) == ("dependency_outage", "shop/Deployment/store")
    assert world.proposals == []
    assert "store" in world.last.needs_person


def test_an_outage_goes_on_while_the_one_that_watches_is_restarted(world: World) -> None:
    selector = {"metadata": meta("web", created=world.now, uid="svc-web"), "spec": {"selector": {"app": "wbe"}}}
    world.put("services", selector)
    world.endpoints("web", 0)
    world.run(60)

    world.restart()
    world.run(300)

    [incident] = world.pipeline.incidents.all()
    assert incident.is_open
    assert not any(one.resolved for one in world.reports)
    world.endpoints("web", 2)
    world.run(300)
    assert world.last.resolved


def test_what_an_older_version_wrote_down_can_be_read(world: World) -> None:
    world.restart("services")
    world.run(60)

    assert world.reports == []


def test_a_rollout_that_was_just_there_is_no_scapegoat_for_an_outage(world: World) -> None:
    world.roll_out("cart", 2, surge=2, ready=True)
    world.run(30)
    store_is_gone(world)

    assert world.subject == "shop/Deployment/store"
    assert world.proposals == []


def test_a_part_that_was_scaled_to_nothing_after_a_rollout_is_no_reason_to_take_it_back(world: World) -> None:
    world.roll_out("cart", 2)
    finish_rollout(world, "cart", 2)
    world.run(30)
    world.deploy("store", replicas=0)
    world.crash("cart", 0, revision=2, times=60)

    assert world.subject == "shop/Deployment/store"
    assert world.proposals == []


@pytest.mark.parametrize("is_known_from_before", [True, False])
def test_a_part_that_has_long_been_scaled_to_nothing_is_no_excuse_for_a_new_revision(
    world: World, *, is_known_from_before: bool
) -> None:
    world.deploy("lab", replicas=2 if is_known_from_before else 0)
    world.deploy("web", env={"UPSTREAM": "http://cart:8080", "EXPERIMENT": "http://lab:8080"})
    world.run(60)
    world.deploy("lab", replicas=0)
    world.run(1800)

    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert (world.cause, world.subject) == ("bad_revision", "shop/Deployment/web")
    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def test_a_part_that_has_long_been_scaled_to_nothing_is_not_named_for_what_begins_now(world: World) -> None:
    world.deploy("lab", replicas=0)
    world.deploy("web", env={"UPSTREAM": "http://cart:8080", "EXPERIMENT": "http://lab:8080"})
    world.run(1800)

    for signal, value in ((REQUEST_RATE, 60.0), (CPU_USAGE, 0.95), (LATENCY, 1.0), (ERROR_RATIO, 0.3)):
        world.show(signal, "web", value)
    world.run(90)

    assert (world.cause, world.subject) == ("traffic_saturation", "shop/Deployment/web")


def test_all_who_suffer_from_one_outage_are_one_incident(world: World) -> None:
    store_is_gone(world)

    assert len({one.key for one in world.reports}) == 1
    assert {one.name for one in world.last.affected} | {world.last.workload.name} == {"web", "cart", "store"}


def test_calls_that_fail_point_at_whom_they_go_to(world: World) -> None:
    world.show(CALL_ERROR_RATIO, "cart", 0.0, peer_workload="store", peer_kind="Deployment", peer_namespace="shop")
    world.run(60)
    world.show(CALL_ERROR_RATIO, "cart", 0.9, peer_workload="store", peer_kind="Deployment", peer_namespace="shop")
    for name in ("web", "cart"):
        world.show(ERROR_RATIO, name, 0.9)
    world.run(120)

    assert (world.cause, world.subject) == ("dependency_outage", "shop/Deployment/store")
    assert world.proposals == []


def test_a_dry_pool_points_at_what_answers_slowly_and_is_not_scaled(world: World) -> None:
    world.show(POOL_USAGE, "cart", 0.2)
    world.show(CONNECTIONS_USAGE, "store", 0.4)
    world.run(150)
    world.show(POOL_USAGE, "cart", 1.0)
    world.show(CPU_USAGE, "cart", 0.95)
    world.show(REQUEST_RATE, "cart", 80)
    for name in ("web", "cart", "store"):
        world.show(LATENCY, name, 0.9)
    world.run(150)

    assert (world.cause, world.subject) == ("connections_exhausted", "shop/Deployment/store")
    assert world.proposals == []


def test_a_lost_node_is_one_incident_and_nothing_is_forced_away(world: World) -> None:
    world.node("n1", ready=False)
    for name in ("web", "cart", "store"):
        world.deployment_status(name, ready=0)
        world.endpoints(name, 0)
        world.show(ERROR_RATIO, name, None)
    world.run(90)

    assert world.cause == "node_lost"
    assert len({one.key for one in world.reports if not one.resolved}) == 1
    assert world.proposals == []


# -- memory


def test_memory_that_jumps_over_the_limit_again_and_again_gets_more(world: World) -> None:
    world.crash("cart", 0, times=3, reason="OOMKilled", code=137)
    world.run(20)

    assert world.cause == "memory_limit_too_low"
    assert [one.action for one in world.proposals] == [RaiseMemory(container="app", factor=1.5)]
    assert "memory_usage_ratio" in world.proposals[0].signals


def test_once_out_of_memory_is_not_enough_to_change_a_limit(world: World) -> None:
    world.crash("cart", 0, times=1, reason="OOMKilled", code=137)
    world.run(120)

    assert world.proposals == []


def test_a_limit_that_a_rollout_lowered_is_taken_back(world: World) -> None:
    world.roll_out("cart", 2, memory="64Mi")
    world.crash("cart", 0, revision=2, times=3, reason="OOMKilled", code=137)

    assert world.cause == "memory_limit_too_low"
    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def leak(world: World, *, start: float = 0.4, per_column: float = 0.02, columns: int = 28) -> None:
    for column in range(columns):
        world.show(MEMORY_USAGE, "cart", min(1.0, start + per_column * column))
        world.run(15)


def test_a_leak_is_restarted_before_it_is_killed(world: World) -> None:
    leak(world)

    assert world.cause == "memory_leak"
    assert [one.action.kind for one in world.proposals] == ["restart_workload"]


def test_a_leak_that_a_rollout_brought_is_rolled_back_not_restarted(world: World) -> None:
    world.roll_out("cart", 2, surge=2, ready=True)
    leak(world)

    assert world.cause == "memory_leak"
    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def test_memory_that_settles_high_is_left_alone(world: World) -> None:
    level = 0.4
    for _ in range(40):
        level += (0.88 - level) * 0.3
        world.show(MEMORY_USAGE, "cart", level)
        world.run(15)

    assert world.proposals == []


# -- load


def surge(world: World, *, cpu: float = 0.97, latency: float = 0.6) -> None:
    world.show(REQUEST_RATE, "web", 50)
    world.show(CPU_USAGE, "web", cpu)
    world.show(LATENCY, "web", latency)
    world.run(150)


def test_more_traffic_than_it_can_take_is_answered_with_replicas_within_bounds(world: World) -> None:
    surge(world)

    assert world.cause == "traffic_saturation"
    assert [one.action for one in world.proposals] == [ScaleWorkload(replicas=5)]


def test_traffic_that_is_taken_well_is_left_alone(world: World) -> None:
    surge(world, latency=0.05)
    world.show(REQUEST_RATE, "web", 20)
    world.run(120)

    assert world.proposals == []
    assert world.reports == []


def test_latency_without_traffic_or_cpu_is_not_saturation(world: World) -> None:
    world.show(LATENCY, "web", 0.6)
    world.run(300)

    assert world.proposals == []
    assert world.last.needs_person != ""


def test_what_an_autoscaler_owns_is_left_to_its_owner(world: World) -> None:
    at = stamp(world.now)
    world.put("horizontalpodautoscalers", {
        "metadata": meta("web", created=world.now, uid="hpa-web"),
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3},
        "status": {"conditions": [{"type": "ScalingActive", "status": "True", "lastTransitionTime": at}]},
    })  # fmt: skip
    surge(world)

    assert world.cause == "traffic_saturation"
    assert world.proposals == []
    assert "autoscaler" in world.last.needs_person


def test_throttling_at_the_usual_traffic_is_a_limit_that_is_too_low(world: World) -> None:
    world.show(CPU_THROTTLED, "web", 0.7)
    world.show(LATENCY, "web", 0.6)
    world.run(150)

    assert world.cause == "cpu_limit_too_low"
    assert world.proposals == []


def test_a_queue_that_grows_after_a_rollout_beside_it_is_the_rollouts_fault() -> None:
    world = World()
    world.deploy("packer")
    world.deploy("stock")
    usual(world, "packer", "stock")
    world.show(QUEUE_LENGTH, "stock", 1)
    world.run(300)
    world.roll_out("packer", 2, surge=2, ready=True)
    world.show(CPU_USAGE, "packer", 0.95)
    for length in range(20, 200, 20):
        world.show(QUEUE_LENGTH, "stock", length)
        world.run(15)

    assert (world.cause, world.subject) == ("bad_revision", "shop/Deployment/packer")
    assert [one.target.name for one in world.proposals] == ["packer"]


def test_a_queue_that_grows_because_a_person_stopped_its_worker_is_left_alone() -> None:
    world = World()
    world.deploy("packer")
    world.deploy("stock")
    usual(world, "packer", "stock")
    world.show(QUEUE_LENGTH, "stock", 1)
    world.run(300)
    world.deploy("packer", replicas=0)
    for length in range(20, 200, 20):
        world.show(QUEUE_LENGTH, "stock", length)
        world.run(15)

    assert world.reports == []


# -- one pod


def test_one_bad_pod_among_good_ones_is_evicted() -> None:
    world = World()
    world.node("n1")
    world.deploy("web", replicas=4)
    world.run(120)
    born = world.now - timedelta(minutes=2)
    for _ in range(60):
        world.pod("web", 0, ready=False, since=world.now if not world.reports and _ == 0 else born)
        world.run(5)
        born = min(born, world.now)

    assert [str(one.target) for one in world.proposals] in ([], ["shop/Pod/web-h1-0"])


def test_a_crashing_pod_whose_siblings_are_well_is_evicted() -> None:
    world = World()
    world.node("n1")
    world.deploy("web", replicas=4)
    world.run(120)
    world.crash("web", 0, times=4)

    assert [str(one.target) for one in world.proposals] == ["shop/Pod/web-h1-0"]
    assert str(world.proposals[0].owner) == "shop/Deployment/web"


def test_two_bad_pods_are_not_one_bad_pod() -> None:
    world = World()
    world.node("n1")
    world.deploy("web", replicas=4)
    world.run(120)
    for times in (1, 2, 3, 4):
        for number in (0, 1):
            world.pod("web", number, ready=False, restarts=times, ended=world.ended(), waiting="CrashLoopBackOff")
        world.run(20)

    assert world.proposals == []


# -- the life of an incident


def test_an_incident_is_resolved_when_it_has_been_quiet_for_a_while(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    world.remove_pod("web", 0, revision=2)
    world.run(85)
    before = world.last.resolved
    world.run(10)

    assert before is False
    assert world.last.resolved is True


def test_an_incident_is_reported_again_only_when_there_is_news(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    told = len(world.reports)

    world.run(60)

    assert len(world.reports) <= told + 1


def test_what_was_proposed_is_not_proposed_again_while_it_is_under_way(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2, times=8)

    assert len(world.proposals) == 1


def test_what_did_not_help_is_left_to_a_person(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    outcome = Outcome(order_id="o", remediation_id="r", sequence=1, stage=Stage.UNDONE, at=world.now)
    world.pipeline.learn(Conclusion(world.proposals[0].id, outcome))

    world.crash("web", 0, revision=2, times=3)

    assert len(world.proposals) == 1
    assert "did not help" in world.last.needs_person


def learn(world: World, *stages: Stage, reason: str = "") -> None:
    """Let the Executor say how far it came with the newest proposal."""
    for number, stage in enumerate(stages, start=1):
        outcome = Outcome(order_id="o", remediation_id="r", sequence=number, stage=stage, reason=reason, at=world.now)
        world.pipeline.learn(Conclusion(world.proposals[-1].id, outcome))


def calls(world: World) -> list[str]:
    return [one.needs_person for one in world.reports if one.needs_person]


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    "stages", [[Stage.REFUSED], [Stage.BLOCKED, Stage.EXPIRED], [Stage.ACTING, Stage.SETTLING, Stage.KEPT]]
)
def test_a_person_is_called_once_where_a_remedy_has_ended_and_the_trouble_has_not(
    world: World, stages: list[Stage], *, is_restarted: bool
) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    learn(world, *stages, reason="as the checks say")
    if is_restarted:
        world.restart()

    world.crash("web", 0, revision=2, times=25)
    assert calls(world) == []
    world.crash("web", 0, revision=2, times=30)

    [why] = calls(world)
    assert f"rollback_rollout was proposed and ended as {stages[-1]} (as the checks say)" in why
    assert len(world.proposals) == 1


def test_a_person_is_called_where_nothing_is_heard_of_a_remedy(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2, times=85)
    assert calls(world) == []

    world.crash("web", 0, revision=2, times=15)

    [why] = calls(world)
    assert "nothing came of it" in why


def test_nobody_is_called_while_the_executor_has_not_said_how_it_ended(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    learn(world, Stage.ACTING, Stage.SETTLING)

    world.crash("web", 0, revision=2, times=85)

    assert calls(world) == []


def test_a_person_is_called_where_what_spoke_for_a_remedy_was_gone_before_it_was_proposed(world: World) -> None:
    world.show(REQUEST_RATE, "web", 30.0)
    world.show(LATENCY, "web", 1.0)
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2, times=2, every=5)
    assert world.cause == "bad_revision"
    world.remove_pod("web", 0, revision=2)

    world.run(300)

    assert world.proposals == []
    [why] = calls(world)
    assert "rollback_rollout might help" in why


@pytest.mark.parametrize(
    ("stages", "is_held_against_it"),
    [
        ([Stage.REFUSED], False),  # withdrawn, or a guardrail said no: nothing was done
        ([Stage.BLOCKED, Stage.EXPIRED], False),
        ([Stage.ESCALATED], False),
        ([Stage.ACTING, Stage.SETTLING, Stage.ESCALATED], True),
        ([Stage.ACTING, Stage.SETTLING, Stage.UNDOING, Stage.UNDONE], True),
    ],
)
def test_only_what_was_done_can_have_been_of_no_help(
    world: World, stages: list[Stage], *, is_held_against_it: bool
) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2, times=4)
    [proposal] = world.proposals
    for number, stage in enumerate(stages, start=1):
        outcome = Outcome(order_id="o", remediation_id="r", sequence=number, stage=stage, at=world.now)
        world.pipeline.learn(Conclusion(proposal.id, outcome))
    world.pod("web", 0, revision=2, ready=True, restarts=4)
    world.run(400)
    assert world.last.resolved

    world.crash("web", 0, revision=2, times=5)
    world.run(120)

    assert ("did not help" in world.last.needs_person) is is_held_against_it


def test_what_did_not_help_may_be_tried_again_after_a_day(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)
    outcome = Outcome(
        order_id="o", remediation_id="r", sequence=1, stage=Stage.UNDONE, at=world.now - timedelta(days=1)
    )
    world.pipeline.learn(Conclusion(world.proposals[0].id, outcome))

    world.crash("web", 0, revision=2, times=3)

    assert "did not help" not in world.last.needs_person


def test_what_cannot_be_read_is_named_and_hides_nothing_else(world: World) -> None:
    odd = {"metadata": meta("odd", created=world.now), "spec": {"replicas": 1, "template": "none"}, "status": {}}
    annotated = {
        "metadata": meta("mine", created=world.now, annotations={"deployment.kubernetes.io/revision": "v2"}),
        "spec": {},
        "status": {},
    }
    pod = {"metadata": meta("beside", created=world.now), "spec": {}, "status": {}}
    changes = [("replicasets", odd), ("replicasets", annotated), ("pods", pod)]

    world.pipeline.apply([ObjectChange(resource, found, world.now) for resource, found in changes])

    assert world.pipeline.inventory.find_pod(SHOP, "beside") is not None
    assert {one.name for one in world.pipeline.inventory.revisions.values()} >= {"mine"}
    assert list(world.pipeline.unreadable) == [f"replicasets {SHOP}/odd"]
    world.pipeline.apply([ObjectChange("replicasets", odd | {"spec": {}}, world.now)])
    assert not world.pipeline.unreadable


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_rollout_before_our_time_is_recognised_in_whatever_order_its_revisions_are_listed(
    *, newest_first: bool
) -> None:
    world = World(metrics=False)
    with world.listed(newest_first=newest_first):
        world.node("n1")
        world.deploy("web")
        world.now += timedelta(hours=5)
        world.roll_out("web", 2)

    world.crash("web", 0, revision=2, times=6)

    assert world.cause == "bad_revision"
    assert [one.action for one in world.proposals] == [RollbackRollout(to_revision=1, blamed_template="h2")]


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_rollouts_before_our_time_the_revision_that_still_serves_is_gone_back_to(*, newest_first: bool) -> None:
    world = World(metrics=False)
    world.node("n1")
    with world.listed(newest_first=newest_first):
        world.deploy("web")
        world.roll_out("web", 2)
        world.retire("web", 2, pods=1)
        world.roll_out("web", 3)
    world.crash("web", 0, revision=3)

    assert [one.action for one in world.proposals] == [RollbackRollout(to_revision=1, blamed_template="h3")]


def test_on_old_metrics_nothing_is_proposed_that_rests_on_them(world: World) -> None:
    world.show(REQUEST_RATE, "web", 50)
    world.show(CPU_USAGE, "web", 0.97)
    world.show(LATENCY, "web", 0.6)
    world.run(20)
    world.metrics_answer = False
    world.run(300)

    assert world.proposals == []


def test_on_old_objects_nothing_is_concluded_at_all(world: World) -> None:
    world.cluster_answers = False
    world.run(60)
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert world.reports == []


def test_the_age_of_the_data_is_told_with_a_proposal(world: World) -> None:
    surge(world)

    [proposal] = world.proposals
    assert timedelta() <= proposal.proposed_at - proposal.data_as_of <= timedelta(seconds=45)


def test_without_a_metrics_system_objects_alone_are_enough_for_what_they_show() -> None:
    world = World(metrics=False)
    world.deploy("web")
    world.run(60)
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    assert [one.action.kind for one in world.proposals] == ["rollback_rollout"]


def test_without_a_metrics_system_nothing_has_to_be_shown_by_signals(world: World) -> None:
    world.has_metrics = False
    world.restart()
    world.run(60)
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    [proposal] = world.proposals
    assert proposal.signals == ()


def test_two_engines_that_see_the_same_say_the_same() -> None:
    def told() -> list[str]:
        world = World()
        world.deploy("web")
        world.run(60)
        world.roll_out("web", 2)
        world.crash("web", 0, revision=2)
        return [one.model_dump_json() for one in (*world.reports, *world.proposals)]

    assert told() == told()


# -- what must be left alone


def test_a_good_rollout_is_left_alone(world: World) -> None:
    world.roll_out("web", 2, surge=2, ready=True)
    world.retire("web", 1)
    world.run(300)

    assert world.reports == []


def test_a_person_who_scales_is_left_alone(world: World) -> None:
    world.deploy("web", replicas=5, env={"UPSTREAM": "http://cart:8080"})
    world.run(120)
    world.deploy("web", replicas=2, env={"UPSTREAM": "http://cart:8080"})
    world.run(120)

    assert world.reports == []

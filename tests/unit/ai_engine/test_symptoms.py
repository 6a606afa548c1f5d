"""What Kubernetes reports as bad becomes a finding; what only looks bad does not."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.ai_engine.builders import SHOP, World, meta, stamp

from aegis.ai_engine.detection.symptoms import symptoms
from aegis.contracts.findings import Symptom


def seen(world: World) -> dict[str, Symptom]:
    found = symptoms(world.pipeline.inventory, world.pipeline.history, world.now)
    return {one.reason: one for one in found}


@pytest.fixture
def world() -> World:
    made = World()
    made.node("n1")
    made.deploy("web")
    made.run(60)
    return made


def test_a_quiet_cluster_shows_nothing(world: World) -> None:
    assert seen(world) == {}


def test_one_exit_that_ends_well_is_no_symptom(world: World) -> None:
    world.pod("web", 0, restarts=1, ended=world.ended())
    world.run(60)

    assert seen(world) == {}


def test_a_second_exit_is(world: World) -> None:
    world.pod("web", 0, restarts=1, ended=world.ended())
    world.run(15)
    world.pod("web", 0, restarts=2, ended=world.ended())

    assert seen(world)["Restarting"].count == 2


def test_two_exits_far_apart_are_two_times_one_exit(world: World) -> None:
    world.pod("web", 0, restarts=1, ended=world.ended())
    world.run(400)
    world.pod("web", 0, restarts=2, ended=world.ended())

    assert seen(world) == {}


def test_a_crash_loop_names_the_revision_whose_pods_crash(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    found = seen(world)["CrashLoopBackOff"]
    assert (found.revision, found.severity) == ("h2", "critical")


def test_a_crash_loop_is_over_when_its_pods_are_gone(world: World) -> None:
    world.roll_out("web", 2)
    world.crash("web", 0, revision=2)

    world.remove_pod("web", 0, revision=2)

    assert seen(world) == {}


def test_out_of_memory_is_counted_per_container(world: World) -> None:
    world.crash("web", 0, times=3, reason="OOMKilled", code=137)

    assert (seen(world)["OOMKilled"].count, seen(world)["OOMKilled"].object_name) == (3, "app")


def test_containers_that_a_probe_ends_are_not_the_applications_crashes(world: World) -> None:
    name = world.pod("web", 0)
    for count in (1, 2, 3):
        world.event(name, "Killing", "Container app failed liveness probe, will be restarted")
        world.run(2)
        world.pod("web", 0, restarts=count, ended=world.ended("Completed", 0, lived=10))
        world.run(10)

    assert seen(world).keys() == {"LivenessKilled"}


def test_it_does_not_matter_whether_the_death_or_its_reason_is_seen_first(world: World) -> None:
    for count in (1, 2, 3):
        world.run(10)
        name = world.pod("web", 0, restarts=count, ended=world.ended("Completed", 0, lived=10))
        world.event(name, "Killing", "Container app failed liveness probe, will be restarted")

    assert seen(world).keys() == {"LivenessKilled"}


def test_an_image_that_cannot_be_pulled_is_given_a_moment(world: World) -> None:
    world.roll_out("web", 2)
    world.pod("web", 0, revision=2, ready=False, waiting="ErrImagePull", phase="Pending")
    at_once = seen(world)
    world.run(10)

    assert at_once == {}
    assert "ImagePullBackOff" in seen(world)


def test_configuration_that_is_missing_is_given_a_moment(world: World) -> None:
    world.pod("web", 0, ready=False, waiting="CreateContainerConfigError", message="key x not found", phase="Pending")
    at_once = seen(world)
    world.run(5)

    assert at_once == {}
    assert "key x not found" in seen(world)["CreateContainerConfigError"].summary


@pytest.mark.parametrize(("message", "grace"), [('configmap "x" not found', 15), ("attach failed: try later", 120)])
def test_a_mount_that_fails_has_to_last_unless_what_it_needs_does_not_exist(
    world: World, message: str, grace: int
) -> None:
    name = world.pod("web", 0, ready=False, waiting="ContainerCreating", phase="Pending")
    world.event(name, "FailedMount", message)
    world.run(grace - 5)
    before = seen(world)
    world.run(5)

    assert before == {}
    assert "FailedMount" in seen(world)


def test_a_pod_without_a_place_has_to_wait_for_half_a_minute(world: World) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes",
                 "lastTransitionTime": stamp(world.now)}  # fmt: skip
    world.pod("web", 0, ready=False, phase="Pending", conditions=[condition])
    world.run(25)
    before = seen(world)
    world.run(5)

    assert before == {}
    assert "Unschedulable" in seen(world)


def test_a_rollout_past_its_deadline_is_named_with_its_revision(world: World) -> None:
    world.roll_out("web", 2)
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                 "lastTransitionTime": stamp(world.now)}  # fmt: skip
    world.deployment_status("web", ready=2, conditions=[condition])

    assert seen(world)["ProgressDeadlineExceeded"].revision == "h2"


def test_pods_that_are_refused_are_seen_although_none_exists(world: World) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: t",
                 "lastTransitionTime": stamp(world.now)}  # fmt: skip
    world.deployment_status("web", ready=2, conditions=[condition])
    world.run(5)

    assert "exceeded quota" in seen(world)["FailedCreate"].summary


def test_a_service_without_endpoints_has_to_last(world: World) -> None:
    world.endpoints("web", 0)
    world.run(15)
    before = seen(world)
    world.run(5)

    assert before == {}
    assert seen(world)["NoReadyEndpoints"].object_name == "web"


def test_a_service_that_never_answered_is_still_coming_up() -> None:
    world = World()
    world.deploy("web", ready=False)
    world.run(60)

    assert "NoReadyEndpoints" not in seen(world)


def test_a_part_that_a_person_scaled_to_nothing_is_no_symptom(world: World) -> None:
    world.deploy("web", replicas=0)
    world.endpoints("web", 0)
    world.run(60)

    assert seen(world) == {}


def test_a_selector_that_matches_nothing_is_told_from_pods_that_are_not_ready(world: World) -> None:
    world.put(
        "services", {"metadata": meta("web", created=world.now, uid="svc-web"), "spec": {"selector": {"app": "wbe"}}}
    )
    world.endpoints("web", 0)
    world.run(25)

    assert str(seen(world)["SelectsNothing"].workload) == f"{SHOP}/Deployment/web"


def test_cluster_dns_is_missed_even_if_somebody_scaled_it_to_nothing() -> None:
    world = World()
    world.deploy("kube-dns")
    everything = [*world.pipeline.inventory.services.values()]
    assert everything[0].name == "kube-dns"
    world.endpoints("kube-dns", 0)
    world.run(60)

    assert "NoReadyEndpoints" in seen(world)


def test_a_pod_that_should_be_gone_names_what_holds_it(world: World) -> None:
    world.pod("web", 0, deletionTimestamp=stamp(world.now), finalizers=["example.com/hold"])
    world.run(25)
    before = seen(world)
    world.run(10)

    assert before == {}
    assert "example.com/hold" in seen(world)["StuckTerminating"].summary


def test_an_evicted_pod_counts_even_if_it_ended_well(world: World) -> None:
    name = world.pod("web", 0)
    world.event(name, "Evicted", "Usage of EmptyDir volume scratch exceeds the limit")

    assert seen(world)["Evicted"].count == 1


@pytest.mark.parametrize("told_by", ["condition", "container", "nothing"])
def test_a_pod_that_was_evicted_days_ago_and_still_lies_there_is_no_symptom(world: World, told_by: str) -> None:
    world.evicted("web", 9, at=world.now - timedelta(days=2), told_by=told_by)

    assert seen(world) == {}


@pytest.mark.parametrize("told_by", ["condition", "container"])
def test_a_pod_that_was_evicted_shortly_before_it_was_first_seen_counts_from_then_on(
    world: World, told_by: str
) -> None:
    world.evicted("web", 9, at=world.now - timedelta(minutes=2), told_by=told_by)

    assert seen(world)["Evicted"].started_at == world.now - timedelta(minutes=2)
    world.run(240)
    assert seen(world) == {}


def test_an_eviction_is_forgotten_however_often_its_pod_is_listed(world: World) -> None:
    world.evicted("web", 9, at=world.now)
    world.run(3600)

    world.relist()

    assert seen(world) == {}


def test_an_eviction_that_only_an_old_event_tells_of_is_no_symptom(world: World) -> None:
    world.event(world.pod("web", 0), "Evicted", "out of memory", last=world.now - timedelta(minutes=50))

    assert seen(world) == {}


def test_a_pod_that_was_seen_alive_was_evicted_when_that_was_seen(world: World) -> None:
    world.pod("web", 9)

    world.evicted("web", 9, at=world.now, told_by="nothing")

    assert seen(world)["Evicted"].started_at == world.now


def test_a_node_that_does_not_answer_is_a_symptom_after_ten_seconds(world: World) -> None:
    world.node("n1", ready=False)
    before = seen(world)
    world.run(10)

    assert before == {}
    assert seen(world)["NodeNotReady"].workload.kind == "Node"


def autoscaler(world: World, *, limited: bool = False, blind: bool = False, used: int = 90) -> None:
    at = stamp(world.now)
    world.put("horizontalpodautoscalers", {
        "metadata": meta("web", created=world.now - timedelta(minutes=10), uid="hpa-web"),
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3,
                 "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}]},
        "status": {
            "currentReplicas": 3,
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": used}}}],
            "conditions": [
                {"type": "ScalingLimited", "status": str(limited), "reason": "TooManyReplicas",
                 "lastTransitionTime": at},
                {"type": "ScalingActive", "status": str(not blind), "reason": "FailedGetResourceMetric",
                 "lastTransitionTime": at}]},
    })  # fmt: skip


def test_an_autoscaler_at_its_maximum_has_to_stay_there(world: World) -> None:
    autoscaler(world, limited=True)
    world.run(25)
    before = seen(world)
    world.run(5)

    assert before == {}
    assert "HpaAtMax" in seen(world)


def test_an_autoscaler_at_its_maximum_that_needs_no_more_is_fine(world: World) -> None:
    autoscaler(world, limited=True, used=30)
    world.run(60)

    assert seen(world) == {}


def test_an_autoscaler_that_sees_nothing_is_a_symptom(world: World) -> None:
    autoscaler(world, blind=True)
    world.run(30)

    assert "HpaBlind" in seen(world)


def job(world: World, name: str, *, failed: int = 0, condition: str = "", owner: str = "") -> None:
    owned = {"kind": "CronJob", "name": owner, "uid": f"uid-{owner}"} if owner else None
    conditions = [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded",
                   "lastTransitionTime": stamp(world.now)}] if condition else []  # fmt: skip
    world.put("jobs", {"metadata": meta(name, created=world.now, owner=owned), "spec": {},
                       "status": {"failed": failed, "conditions": conditions}})  # fmt: skip


def test_a_job_that_failed_for_good_is_a_symptom_and_one_failed_pod_is_not(world: World) -> None:
    job(world, "nightly", failed=1)
    before = seen(world)
    job(world, "nightly", failed=4, condition="Failed")

    assert before == {}
    assert "BackoffLimitExceeded" in seen(world)


def test_a_cron_job_is_judged_by_runs_in_a_row(world: World) -> None:
    world.put("cronjobs", {"metadata": meta("report", created=world.now), "spec": {}})
    for name, condition in (("r1", "Failed"), ("r2", "Complete"), ("r3", "Failed")):
        world.run(60)
        job(world, name, condition=condition, owner="report")
    before = seen(world)
    world.run(60)
    job(world, "r4", condition="Failed", owner="report")

    assert before == {}
    assert seen(world)["CronJobFailing"].count == 2


BY_LABEL = {"matchLabels": {"app": "web"}}
BY_EXPRESSION = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "cart"]}]}


def budget(world: World, *, allowed: int, healthy: int, selector: dict[str, Any] = BY_LABEL) -> None:
    world.put("poddisruptionbudgets", {
        "metadata": meta("web", created=world.now, uid="pdb-web"),
        "spec": {"selector": selector},
        "status": {"disruptionsAllowed": allowed, "expectedPods": 2, "currentHealthy": healthy},
    })  # fmt: skip


def cordon(world: World) -> None:
    world.put("nodes", {"metadata": {"name": "n1", "uid": "uid-n1"}, "spec": {"unschedulable": True}, "status": {}})


@pytest.mark.parametrize("selector", [BY_LABEL, BY_EXPRESSION])
def test_a_drain_that_a_budget_will_never_allow_is_a_symptom(world: World, selector: dict[str, Any]) -> None:
    budget(world, allowed=0, healthy=2, selector=selector)
    cordon(world)
    world.run(35)

    assert "never allows" in seen(world)["DrainBlocked"].summary


@pytest.mark.parametrize(("allowed", "healthy"), [(1, 2), (0, 1)])
def test_a_drain_that_goes_on_is_not(world: World, allowed: int, healthy: int) -> None:
    budget(world, allowed=allowed, healthy=healthy)
    cordon(world)
    world.run(60)

    assert seen(world) == {}


def test_a_budget_for_other_pods_holds_back_no_drain(world: World) -> None:
    others = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}
    budget(world, allowed=0, healthy=2, selector=others)
    cordon(world)
    world.run(60)

    assert seen(world) == {}


def test_the_same_on_many_pods_is_one_finding_with_one_fingerprint(world: World) -> None:
    def wait(number: int) -> None:
        world.pod("web", number, ready=False, waiting="CreateContainerConfigError", phase="Pending")

    wait(0)
    world.run(5)
    first = seen(world)["CreateContainerConfigError"]
    wait(1)
    world.run(5)
    second = seen(world)["CreateContainerConfigError"]

    assert first.fingerprint == second.fingerprint
    assert second.count == 2

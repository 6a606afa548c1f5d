"""Deployments: how a new revision comes, gets stuck, is paused, scaled and undone."""

from tests.unit.simulator.controllers.builders import (
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    Object,
    Process,
    TestBed,
    a_config_map,
)

REVISION = "deployment.kubernetes.io/revision"


def condition(deployment: Object, kind: str) -> Object:
    return next(each for each in deployment["status"]["conditions"] if each["type"] == kind)


def sizes(bed: TestBed) -> dict[str, int]:
    """Pods asked for, by the image of the ReplicaSet."""
    return {each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"] for each in bed.sets()}


async def test_a_deployment_comes_up_and_says_so() -> None:
    bed = TestBed()

    bed.deploy(replicas=3)
    await bed.run(10)

    status = bed.deployment()["status"]
    assert (status["readyReplicas"], status["availableReplicas"], status["observedGeneration"]) == (3, 3, 1)
    assert condition(bed.deployment(), "Available")["reason"] == "MinimumReplicasAvailable"
    assert condition(bed.deployment(), "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert bed.deployment()["metadata"]["annotations"][REVISION] == "1"


async def test_a_rolling_update_replaces_all_pods_and_never_drops_below_its_floor() -> None:
    bed = TestBed()
    bed.deploy(replicas=4)
    await bed.run(10)

    bed.set_image("web:1.4.1")
    least = 4
    for _ in range(30):
        await bed.run(1)
        least = min(least, bed.deployment()["status"].get("availableReplicas", 0))

    assert sizes(bed) == {"web:1.4.0": 0, "web:1.4.1": 4}
    assert least >= 3
    assert bed.deployment()["metadata"]["annotations"][REVISION] == "2"


async def test_a_revision_that_never_gets_ready_stops_the_rollout_and_misses_its_deadline() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.5.0"] = Process(ready_after=None)
    bed.deploy(replicas=3, spec={"progressDeadlineSeconds": 30})
    await bed.run(10)

    bed.set_image("web:1.5.0")
    await bed.run(29)
    before = condition(bed.deployment(), "Progressing")["reason"]
    await bed.run(5)

    assert before == "ReplicaSetUpdated"
    late = condition(bed.deployment(), "Progressing")
    assert (late["status"], late["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert sizes(bed) == {"web:1.4.0": 3, "web:1.5.0": 1}
    assert condition(bed.deployment(), "Available")["status"] == "True"


async def test_undoing_a_rollout_reuses_the_old_replicaset_at_a_new_revision() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.5.0"] = Process(exits_after=0.4)
    bed.deploy(replicas=3)
    await bed.run(10)
    bed.set_image("web:1.5.0")
    await bed.run(20)

    bed.set_image("web:1.4.0")
    await bed.run(20)

    assert sizes(bed) == {"web:1.4.0": 3, "web:1.5.0": 0}
    assert bed.deployment()["metadata"]["annotations"][REVISION] == "3"
    assert condition(bed.deployment(), "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert len(bed.pods()) == 3


async def test_a_paused_deployment_keeps_its_revision_but_may_be_scaled() -> None:
    bed = TestBed()
    bed.deploy(replicas=2)
    await bed.run(10)

    bed.edit("web", lambda spec: spec.update(paused=True, replicas=4))
    bed.set_image("web:1.4.1")
    await bed.run(10)

    assert sizes(bed) == {"web:1.4.0": 4}
    assert bed.deployment()["status"]["readyReplicas"] == 4


async def test_recreate_ends_all_old_pods_before_it_makes_new_ones() -> None:
    bed = TestBed()
    bed.deploy(replicas=2, spec={"strategy": {"type": "Recreate"}})
    await bed.run(10)

    bed.set_image("web:1.4.1")
    images_seen_together = set()
    for _ in range(20):
        await bed.run(1)
        images_seen_together.add(frozenset(pod["spec"]["containers"][0]["image"] for pod in bed.pods()))

    assert frozenset({"web:1.4.0", "web:1.4.1"}) not in images_seen_together
    assert bed.deployment()["status"]["readyReplicas"] == 2


async def test_scaling_in_the_middle_of_a_stuck_rollout_is_shared_in_proportion() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.5.0"] = Process(ready_after=None)
    bed.deploy(replicas=8)
    await bed.run(15)
    bed.set_image("web:1.5.0")
    await bed.run(15)

    bed.edit("web", lambda spec: spec.update(replicas=16))
    await bed.run(5)

    assert sum(sizes(bed).values()) == 20
    assert sizes(bed)["web:1.4.0"] > 6
    assert sizes(bed)["web:1.5.0"] > 4


async def test_old_revisions_beyond_the_limit_are_forgotten() -> None:
    bed = TestBed()
    bed.deploy(replicas=1, spec={"revisionHistoryLimit": 1})
    await bed.run(5)

    for number in range(3):
        bed.set_image(f"web:2.{number}")
        await bed.run(10)

    assert sorted(sizes(bed)) == ["web:2.1", "web:2.2"]


async def test_min_ready_seconds_delay_availability() -> None:
    bed = TestBed()

    bed.deploy(replicas=1, spec={"minReadySeconds": 10})
    await bed.run(6)
    early = bed.deployment()["status"]
    await bed.run(10)

    assert (early["readyReplicas"], early.get("availableReplicas")) == (1, None)
    assert bed.deployment()["status"]["availableReplicas"] == 1


async def test_steps_of_several_seconds_lead_to_the_same_end() -> None:
    bed = TestBed(step_s=7)
    bed.apply(CONFIGMAPS, a_config_map("settings"))
    bed.deploy(replicas=3)
    await bed.run(30)

    bed.set_image("web:1.4.1")
    await bed.run(120)

    assert sizes(bed) == {"web:1.4.0": 0, "web:1.4.1": 3}
    assert bed.deployment()["status"]["readyReplicas"] == 3


async def test_the_same_seed_makes_the_same_history() -> None:
    async def history(seed: int) -> list[tuple[str, str]]:
        bed = TestBed(seed=seed)
        bed.deploy(replicas=3)
        await bed.run(8)
        bed.set_image("web:1.4.1")
        await bed.run(15)
        return [(each.type, each.object["metadata"]["name"]) for each in bed.store.changes(1000)]

    assert await history(3) == await history(3)
    assert await history(3) != await history(4)


async def test_a_deleted_deployment_takes_its_pods_with_it() -> None:
    bed = TestBed()
    made = bed.deploy(replicas=2)
    await bed.run(10)

    bed.store.delete(DEPLOYMENTS, "shop", made["metadata"]["name"])
    await bed.run(10)

    assert (bed.sets(), bed.pods()) == ([], [])


async def test_a_deleted_namespace_ends_with_all_that_is_in_it() -> None:
    bed = TestBed()
    bed.deploy(replicas=2)
    await bed.run(10)

    bed.store.delete(NAMESPACES, None, "shop")
    await bed.run(10)

    assert bed.store.find(NAMESPACES, None, "shop") is None
    assert bed.pods() == []

"""The kubelet: starts, crashes, back-offs, images, settings, probes and graceful ends."""

import pytest
from tests.unit.simulator.controllers.builders import (
    CONFIGMAPS,
    NODES,
    SERVICES,
    STATEFULSETS,
    Object,
    Process,
    TestBed,
    a_config_map,
    a_service,
    a_stateful_set,
)

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import PODS, RESOURCEQUOTAS


def container(pod: Object) -> Object:
    found: Object = pod["status"]["containerStatuses"][0]
    return found


def reasons(bed: TestBed) -> list[str]:
    return [container(pod)["state"].get("waiting", {}).get("reason", "") for pod in bed.pods()]


async def test_a_crash_loop_backs_off_and_doubles_up_to_five_minutes() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.4.0"] = Process(exits_after=0.4)

    bed.deploy(replicas=1)
    restarts_at = {}
    for second in range(1000):
        await bed.run(1)
        restarts_at.setdefault(container(bed.pods()[0])["restartCount"], second)

    pauses = [restarts_at[n + 1] - restarts_at[n] for n in range(1, max(restarts_at))]
    # A pause ends when the kubelet next looks at the pod: recorded were 11.4 to 12 s for 10, 51 s for 40.
    for pause, said in zip(pauses, [10, 20, 40, 80, 160, 300, 300], strict=False):
        assert 1.05 * said <= pause <= 1.35 * said + 2
    assert len(pauses) >= 5
    assert reasons(bed) == ["CrashLoopBackOff"]


async def test_ten_quiet_minutes_make_the_back_off_start_anew() -> None:
    bed = TestBed(step_s=2)
    bed.runtime.images["web:1.4.0"] = Process(exits_after=700)

    bed.deploy(replicas=1)
    waited = set()
    for _ in range(800):
        await bed.run(2)
        waited.add(container(bed.pods()[0])["state"].get("waiting", {}).get("message", "")[:12])

    assert "back-off 10s" in waited
    assert "back-off 20s" not in waited


async def test_an_out_of_memory_kill_is_told_as_such() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.4.0"] = Process(exits_after=6, exit_code=137, oom=True)

    bed.deploy(replicas=1)
    await bed.run(10)

    last = container(bed.pods()[0])["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    assert bed.events("BackOff") == []


async def test_one_crash_that_ends_well_shows_no_back_off() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.4.0"] = Process(exits_after=2, fails_first_run_only=True)

    bed.deploy(replicas=1)
    await bed.run(60)

    assert container(bed.pods()[0])["restartCount"] == 1
    assert bed.events("BackOff") == []
    assert reasons(bed) == [""]


async def test_an_image_that_does_not_exist_alternates_between_two_reasons() -> None:
    bed = TestBed()
    bed.runtime.missing_images.add("web:1.4.0")

    bed.deploy(replicas=1)
    seen: list[str] = []
    for _ in range(40):
        await bed.run(1)
        seen += [each for each in reasons(bed) if not seen or each != seen[-1]]

    alternation = ["ErrImagePull", "ImagePullBackOff"]
    assert seen == ["ContainerCreating", *alternation, *alternation, *alternation][: len(seen)]
    assert len(seen) >= 5
    assert bed.events("Failed")


async def test_an_image_that_appears_is_run() -> None:
    bed = TestBed()
    bed.runtime.missing_images.add("web:1.4.0")
    bed.deploy(replicas=1)
    await bed.run(15)

    bed.runtime.missing_images.clear()
    await bed.run(30)

    assert bed.deployment()["status"]["readyReplicas"] == 1


async def test_a_missing_key_holds_the_container_until_it_is_supplied() -> None:
    bed = TestBed()
    bed.apply(CONFIGMAPS, a_config_map("features"))
    key = {"configMapKeyRef": {"name": "features", "key": "currency"}}
    bed.deploy(replicas=1, env=[{"name": "CURRENCY", "valueFrom": key}])
    await bed.run(5)
    held = reasons(bed)

    bed.store.update(CONFIGMAPS, a_config_map("features", currency="EUR"))
    await bed.run(20)

    assert held == ["CreateContainerConfigError"]
    assert "couldn't find key currency in ConfigMap shop/features" in bed.events("Failed")[0]["message"]
    assert bed.deployment()["status"]["readyReplicas"] == 1


async def test_a_volume_that_is_missing_shows_only_as_an_event() -> None:
    bed = TestBed()
    bed.deploy(replicas=1, spec=None)
    volumes = [{"name": "rates", "configMap": {"name": "tax-rates"}}]
    bed.edit("web", lambda spec: spec["template"]["spec"].update(volumes=volumes))

    await bed.run(10)

    stuck = [pod for pod in bed.pods() if pod["spec"].get("volumes")]
    assert container(stuck[0])["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert 'configmap "tax-rates" not found' in bed.events("FailedMount")[0]["message"]


async def test_a_failing_liveness_probe_restarts_the_container() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.4.0"] = Process(live_until=20)

    bed.deploy(replicas=1)
    await bed.run(45)

    assert container(bed.pods()[0])["restartCount"] >= 1
    assert container(bed.pods()[0])["lastState"]["terminated"]["reason"] == "Completed"
    assert "failed liveness probe, will be restarted" in bed.events("Killing")[0]["message"]


async def test_a_deleted_pod_ends_gracefully_and_is_replaced() -> None:
    bed = TestBed()
    bed.apply(SERVICES, a_service())
    bed.deploy(replicas=1)
    await bed.run(10)
    first = bed.pods()[0]["metadata"]["name"]

    bed.store.delete(PODS, "shop", first)
    bed.plane.step()
    together = {pod["metadata"]["name"] for pod in bed.pods()}
    await bed.run(10)

    assert first in together
    assert len(together) == 2
    assert [pod["metadata"]["name"] for pod in bed.pods()] == sorted(together - {first})


async def test_a_process_that_ignores_its_end_is_killed_when_the_grace_is_over() -> None:
    bed = TestBed()
    bed.runtime.images["web:1.4.0"] = Process(stops_within=1000)
    bed.deploy(replicas=1)
    await bed.run(10)
    first = bed.pods()[0]["metadata"]["name"]

    bed.store.delete(PODS, "shop", first)
    await bed.run(6)
    alive = bed.store.find(PODS, "shop", first)
    await bed.run(5)

    assert alive is not None
    assert bed.store.find(PODS, "shop", first) is None


async def test_pods_that_ask_for_too_much_wait_and_say_why() -> None:
    bed = TestBed(nodes=2, cpu="2")

    bed.deploy(replicas=1, resources={"requests": {"cpu": "6"}})
    await bed.run(3)

    (event,) = bed.events("FailedScheduling")
    assert event["message"].startswith("0/2 nodes are available: 2 Insufficient cpu.")
    scheduled = bed.pods()[0]["status"]["conditions"][0]
    assert (scheduled["type"], scheduled["status"], scheduled["reason"]) == (
        "PodScheduled",
        "False",
        "Unschedulable",
    )


async def test_pods_spread_over_nodes() -> None:
    bed = TestBed(nodes=3)

    bed.deploy(replicas=6)
    await bed.run(3)

    nodes = [pod["spec"]["nodeName"] for pod in bed.pods()]
    assert sorted(nodes.count(f"node{number}") for number in (1, 2, 3)) == [2, 2, 2]


async def test_a_cordoned_node_gets_no_new_pods() -> None:
    bed = TestBed(nodes=2)
    node = bed.store.get(NODES, None, "node1")
    bed.store.update(NODES, {**node, "spec": {"unschedulable": True}})

    bed.deploy(replicas=4)
    await bed.run(5)

    assert {pod["spec"]["nodeName"] for pod in bed.pods()} == {"node2"}


async def test_an_exhausted_quota_shows_on_replicaset_and_deployment_and_heals() -> None:
    bed = TestBed()
    quota = {"metadata": {"name": "team", "namespace": "shop"}, "spec": {"hard": {"pods": "2"}}}
    bed.apply(RESOURCEQUOTAS, quota)

    bed.deploy(replicas=3)
    await bed.run(5)
    failing = [each for each in bed.deployment()["status"]["conditions"] if each["type"] == "ReplicaFailure"]
    bed.store.update(RESOURCEQUOTAS, {**quota, "spec": {"hard": {"pods": "5"}}})
    await bed.run(60)

    assert failing[0]["reason"] == "FailedCreate"
    assert "exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2" in failing[0]["message"]
    kinds = [each["type"] for each in bed.deployment()["status"]["conditions"]]
    assert "ReplicaFailure" not in kinds
    assert bed.deployment()["status"]["readyReplicas"] == 3


async def test_a_lost_node_is_noticed_after_fifty_seconds_and_emptied_after_five_minutes() -> None:
    bed = TestBed(nodes=2)
    bed.deploy(replicas=2)
    await bed.run(12)

    bed.runtime.dark_nodes.add("node1")
    await bed.run(38)
    early = bed.deployment()["status"]["readyReplicas"]
    await bed.run(25)
    noticed = bed.deployment()["status"]["readyReplicas"]
    node = bed.store.get(NODES, None, "node1")
    await bed.run(300)

    assert (early, noticed) == (2, 1)
    ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert {each["effect"] for each in node["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    assert bed.deployment()["status"]["readyReplicas"] == 2
    stuck = [pod for pod in bed.pods() if pod["metadata"].get("deletionTimestamp")]
    assert [pod["spec"]["nodeName"] for pod in stuck] == ["node1"]


async def test_a_node_that_comes_back_is_ready_again_and_finishes_what_was_deleted() -> None:
    bed = TestBed(nodes=2)
    bed.deploy(replicas=2)
    await bed.run(12)
    bed.runtime.dark_nodes.add("node1")
    await bed.run(380)

    bed.runtime.dark_nodes.clear()
    await bed.run(15)

    node = bed.store.get(NODES, None, "node1")
    assert "taints" not in node["spec"]
    assert len(bed.pods()) == 2
    assert bed.deployment()["status"]["readyReplicas"] == 2


async def test_a_stateful_set_comes_up_in_order_and_renews_from_the_highest() -> None:
    bed = TestBed()
    bed.apply(STATEFULSETS, a_stateful_set(replicas=3))
    await bed.run(4)
    early = [pod["metadata"]["name"] for pod in bed.pods("store")]
    await bed.run(15)

    bed.set_image("store:2", name="store", resource=STATEFULSETS)
    renewed: list[str] = []
    for _ in range(40):
        await bed.run(1)
        for pod in bed.pods("store"):
            is_new = pod["spec"]["containers"][0]["image"] == "store:2"
            if is_new and pod["metadata"]["name"] not in renewed:
                renewed.append(pod["metadata"]["name"])

    assert early[0] == "store-0"
    assert len(early) < 3
    assert renewed == ["store-2", "store-1", "store-0"]
    status = bed.store.get(STATEFULSETS, "shop", "store")["status"]
    assert (status["readyReplicas"], status["currentRevision"]) == (3, status["updateRevision"])


async def test_undoing_a_stateful_set_leaves_the_broken_pod_until_someone_deletes_it() -> None:
    bed = TestBed()
    bed.runtime.images["store:2"] = Process(exits_after=0.4)
    bed.apply(STATEFULSETS, a_stateful_set(replicas=1))
    await bed.run(10)
    bed.set_image("store:2", name="store", resource=STATEFULSETS)
    await bed.run(15)

    bed.set_image("store:1", name="store", resource=STATEFULSETS)
    await bed.run(60)
    stuck = bed.pods("store")[0]["spec"]["containers"][0]["image"]
    bed.store.delete(PODS, "shop", "store-0")
    await bed.run(15)

    assert stuck == "store:2"
    assert container(bed.pods("store")[0])["ready"]


async def test_a_pod_by_itself_is_adopted_by_the_set_that_selects_it() -> None:
    bed = TestBed()
    bed.deploy(replicas=2)
    await bed.run(10)
    labels = bed.pods()[0]["metadata"]["labels"]

    spec = {"containers": [{"name": "web", "image": "web:1.4.0"}]}
    bed.apply(PODS, {"metadata": {"name": "stray", "namespace": "shop", "labels": labels}, "spec": spec})
    await bed.run(15)

    assert len(bed.pods()) == 2
    with pytest.raises(ApiError):
        bed.store.get(PODS, "shop", "stray")

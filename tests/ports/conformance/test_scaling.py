"""Scaling: by hand, through /scale, and by an autoscaler."""

from tests.ports.conformance.cluster import JSON_PATCH, MERGE_PATCH, Answer, Cluster
from tests.ports.conformance.manifests import Object, condition, deployment, is_ready


def autoscaler(*, least: int = 1, most: int = 3, target: str = "web") -> Object:
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": resource}],
        },
    }


async def test_the_scale_of_a_workload_is_read_apart(cluster: Cluster) -> None:
    made = await cluster.create("deployments", deployment(replicas=0))

    scale = await cluster.get("deployments/scale", "web")

    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {} or scale["spec"] == {"replicas": 0}
    assert scale["status"]["selector"] == "app=web"
    assert scale["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_scale_that_is_written_is_the_workloads(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment(replicas=1))
    path = cluster.path("deployments/scale", "web")
    scale: Object = {}

    async def put_without_conflict() -> Answer | None:
        scale.update(await cluster.get("deployments/scale", "web"))
        answer = await cluster.ask("PUT", path, {**scale, "spec": {"replicas": 2}})
        return answer if answer.code != 409 else None  # each new status is a new version

    put = await cluster.until(put_without_conflict)
    assert put is not None
    stale = await cluster.ask("PUT", path, {**scale, "spec": {"replicas": 3}})
    merged = await cluster.ask("PATCH", path, {"spec": {"replicas": 3}}, kind=MERGE_PATCH)
    stepped = await cluster.ask(
        "PATCH", path, [{"op": "replace", "path": "/spec/replicas", "value": 0}], kind=JSON_PATCH
    )

    assert [one.code for one in (put, stale, merged, stepped)] == [200, 409, 200, 200]
    assert (put.body["spec"]["replicas"], merged.body["spec"]["replicas"]) == (2, 3)
    assert (await cluster.get("deployments", "web"))["spec"]["replicas"] == 0


async def test_a_scale_below_nothing_is_refused(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment(replicas=0))

    path = cluster.path("deployments/scale", "web")
    answer = await cluster.ask("PATCH", path, {"spec": {"replicas": -1}}, kind=MERGE_PATCH)

    assert (answer.code, [one["field"] for one in answer.causes]) == (422, ["spec.replicas"])


async def test_a_pod_that_has_become_too_many_goes(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment(replicas=2))

    async def ready() -> bool:
        return [is_ready(one) for one in await cluster.list("pods")] == [True, True]

    async def one_left() -> bool:
        return len(await cluster.list("pods")) == 1

    await cluster.until(ready)
    await cluster.patch("deployments", "web", {"spec": {"replicas": 1}})
    await cluster.until(one_left)


async def test_an_autoscaler_that_cannot_be_is_refused(cluster: Cluster) -> None:
    answer = await cluster.ask("POST", cluster.path("horizontalpodautoscalers"), autoscaler(least=3, most=2))

    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert [one["field"] for one in answer.causes] == ["spec.maxReplicas"]


async def test_an_autoscaler_says_what_it_sees_and_wants(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment())
    await cluster.create("horizontalpodautoscalers", autoscaler())

    found = await cluster.seen(
        "horizontalpodautoscalers", "web", lambda it: condition(it, "ScalingActive").get("status") == "True",
        within_s=150,
    )  # fmt: skip

    status = found["status"]
    assert (status["currentReplicas"], status["desiredReplicas"]) == (1, 1)
    able = condition(found, "AbleToScale")
    assert (able["status"], able["reason"]) in {("True", "ReadyForNewScale"), ("True", "ScaleDownStabilized")}
    assert condition(found, "ScalingActive")["reason"] == "ValidMetricFound"
    assert status["currentMetrics"][0]["resource"]["name"] == "cpu"
    assert status["currentMetrics"][0]["resource"]["current"]["averageUtilization"] >= 0


async def test_an_autoscaler_keeps_to_its_least_and_says_that_it_is_limited(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment())
    await cluster.create("horizontalpodautoscalers", autoscaler(least=2))

    scaled = await cluster.seen("deployments", "web", lambda it: it["spec"]["replicas"] == 2)

    owners = {one["manager"] for one in scaled["metadata"]["managedFields"] if one.get("subresource") == "scale"}
    assert owners == {"kube-controller-manager"}


async def test_an_autoscaler_without_a_target_says_so(cluster: Cluster) -> None:
    await cluster.create("horizontalpodautoscalers", autoscaler(target="nope"))

    found = await cluster.seen("horizontalpodautoscalers", "web", lambda it: condition(it, "AbleToScale"))

    able = condition(found, "AbleToScale")
    assert (able["status"], able["reason"]) == ("False", "FailedGetScale")
    assert able["message"].startswith("the HPA controller was unable to get the target's current scale: deployments")
    assert able["message"].endswith('"nope" not found')

"""Evictions: asked of the disruption budget first, of that very pod only, and to be tried before."""

from typing import Any

from tests.ports.conformance.cluster import Answer, Cluster
from tests.ports.conformance.manifests import Object, deployment, is_ready, pod

VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


def budget(name: str = "web", *, app: str = "web", **spec: Any) -> Object:
    selector = {"matchLabels": {"app": app}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": selector, **spec},
    }


async def evict(cluster: Cluster, name: str, *, uid: str = "", **query: str) -> Answer:
    eviction: Object = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": cluster.namespace},
    }
    if uid:
        eviction["deleteOptions"] = {"preconditions": {"uid": uid}}
    return await cluster.ask("POST", cluster.path("pods/eviction", name), eviction, **query)


async def ready_pod(cluster: Cluster, name: str = "web") -> Object:
    await cluster.create("pods", pod(name))
    return await cluster.seen("pods", name, is_ready)


async def guarded_pod(cluster: Cluster, **spec: Any) -> Object:
    """Return a ready pod that a budget knows of."""
    made = await ready_pod(cluster)
    await cluster.create("poddisruptionbudgets", budget(**spec))
    await cluster.seen("poddisruptionbudgets", "web", lambda it: it.get("status", {}).get("currentHealthy", 0) == 1)
    return made


async def test_a_pod_that_no_budget_guards_may_go(cluster: Cluster) -> None:
    made = await ready_pod(cluster)

    answer = await evict(cluster, "web", uid=made["metadata"]["uid"])
    await cluster.gone("pods", "web")

    assert answer.code == 201
    assert (answer.body["kind"], answer.body["status"]) == ("Status", "Success")


async def test_a_pod_that_a_budget_needs_stays(cluster: Cluster) -> None:
    made = await guarded_pod(cluster, minAvailable=1)

    answer = await evict(cluster, "web", uid=made["metadata"]["uid"])

    assert (answer.code, answer.body["reason"], answer.body["message"]) == (429, "TooManyRequests", VIOLATES)
    cause = answer.causes[0]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget web needs 1 healthy pods and has 1 currently"
    assert "deletionTimestamp" not in (await cluster.get("pods", "web"))["metadata"]


async def test_a_pod_that_a_budget_can_spare_may_go(cluster: Cluster) -> None:
    await guarded_pod(cluster, minAvailable=0)

    answer = await evict(cluster, "web")

    assert answer.code == 201


async def test_an_eviction_that_is_tried_evicts_nothing(cluster: Cluster) -> None:
    made = await ready_pod(cluster)

    answer = await evict(cluster, "web", uid=made["metadata"]["uid"], dryRun="All")

    assert answer.code == 201
    assert "deletionTimestamp" not in (await cluster.get("pods", "web"))["metadata"]


async def test_an_eviction_that_is_tried_is_refused_as_if_it_were_meant(cluster: Cluster) -> None:
    await guarded_pod(cluster, minAvailable=1)

    budgeted = await evict(cluster, "web", dryRun="All")
    missing = await evict(cluster, "nope", dryRun="All")

    assert (budgeted.code, budgeted.body["message"]) == (429, VIOLATES)
    assert missing.code == 404


async def test_trying_costs_no_budget(cluster: Cluster) -> None:
    await guarded_pod(cluster, minAvailable=0)

    tried = [await evict(cluster, "web", dryRun="All") for _ in range(3)]
    meant = await evict(cluster, "web")

    assert [one.code for one in tried] == [201, 201, 201]
    assert meant.code == 201


async def test_another_pod_of_the_same_name_is_not_evicted(cluster: Cluster) -> None:
    made = await ready_pod(cluster)
    other = "00000000-0000-4000-8000-000000000000"

    meant = await evict(cluster, "web", uid=other)
    tried = await evict(cluster, "web", uid=other, dryRun="All")

    assert (meant.code, meant.body["reason"]) == (409, "Conflict")
    assert f"({other}) does not match the UID in record ({made['metadata']['uid']})" in meant.body["message"]
    assert tried.code == 409
    assert "deletionTimestamp" not in (await cluster.get("pods", "web"))["metadata"]


async def test_what_is_not_there_cannot_be_evicted(cluster: Cluster) -> None:
    answer = await evict(cluster, "nope")

    assert (answer.code, answer.body["reason"]) == (404, "NotFound")


async def test_a_budget_counts_what_it_guards(cluster: Cluster) -> None:
    await cluster.create("poddisruptionbudgets", budget(maxUnavailable=1))
    await cluster.create("deployments", deployment(replicas=2))

    found = await cluster.seen(
        "poddisruptionbudgets", "web", lambda it: it.get("status", {}).get("currentHealthy", 0) == 2
    )

    status = found["status"]
    assert {name: status[name] for name in ("expectedPods", "desiredHealthy", "disruptionsAllowed")} == {
        "expectedPods": 2,
        "desiredHealthy": 1,
        "disruptionsAllowed": 1,
    }
    assert status["observedGeneration"] == found["metadata"]["generation"]
    allowed = next(one for one in status["conditions"] if one["type"] == "DisruptionAllowed")
    assert (allowed["status"], allowed["reason"]) == ("True", "SufficientPods")


async def test_what_is_evicted_is_made_again_as_something_else(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment())

    async def ready_pods() -> list[Object]:
        return [one for one in await cluster.list("pods") if is_ready(one)]

    first = (await cluster.until(ready_pods))[0]["metadata"]
    answer = await evict(cluster, first["name"], uid=first["uid"])
    await cluster.gone("pods", first["name"], uid=first["uid"])
    second = (await cluster.until(ready_pods))[0]["metadata"]

    assert answer.code == 201
    assert (second["name"] != first["name"], second["uid"] != first["uid"]) == (True, True)

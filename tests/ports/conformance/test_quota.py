"""Quotas: a pod too many is refused, in words that say why, and whoever wanted it says so."""

from tests.ports.conformance.cluster import Cluster
from tests.ports.conformance.manifests import Object, deployment, pod


def quota(**hard: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {name.replace("_", "."): value for name, value in hard.items()}},
    }


async def limited(cluster: Cluster, **hard: str) -> None:
    await cluster.create("resourcequotas", quota(**hard))
    await cluster.seen("resourcequotas", "team", lambda it: it.get("status", {}).get("used"))


async def test_a_pod_too_many_is_refused(cluster: Cluster) -> None:
    await limited(cluster, pods="1")
    await cluster.create("pods", pod("one"))

    refused = await cluster.ask("POST", cluster.path("pods"), pod("two"))
    tried = await cluster.ask("POST", cluster.path("pods"), pod("two"), dryRun="All")

    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"] == (
        'pods "two" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1'
    )
    assert tried.code == 403


async def test_what_is_used_is_counted(cluster: Cluster) -> None:
    await limited(cluster, pods="3", requests_memory="100Mi")
    await cluster.create("pods", pod("one", memory="32Mi"))

    found = await cluster.seen("resourcequotas", "team", lambda it: it["status"]["used"]["pods"] == "1")

    assert found["status"]["hard"] == {"pods": "3", "requests.memory": "100Mi"}
    assert found["status"]["used"] == {"pods": "1", "requests.memory": "32Mi"}


async def test_a_pod_that_does_not_say_what_it_needs_is_refused_where_that_is_limited(cluster: Cluster) -> None:
    await limited(cluster, requests_memory="100Mi")
    unspecified = pod("one")
    unspecified["spec"]["containers"][0]["resources"] = {}

    refused = await cluster.ask("POST", cluster.path("pods"), unspecified)

    assert refused.code == 403
    assert refused.body["message"] == (
        'pods "one" is forbidden: failed quota: team: must specify requests.memory for: main'
    )


async def test_a_workload_says_that_its_pods_are_refused(cluster: Cluster) -> None:
    await limited(cluster, pods="0")
    await cluster.create("deployments", deployment())

    def failure(it: Object) -> Object | None:
        conditions = it.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == "ReplicaFailure"), None)

    found = await cluster.seen("deployments", "web", failure)
    replicaset = (await cluster.list("replicasets"))[0]

    for thing in (found, replicaset):
        said = failure(thing)
        assert said is not None
        assert (said["status"], said["reason"]) == ("True", "FailedCreate")
        assert "exceeded quota: team, requested: pods=1, used: pods=0, limited: pods=0" in said["message"]

    async def told() -> list[Object]:
        return await cluster.list("events", fieldSelector="reason=FailedCreate")

    assert (await cluster.until(told))[0]["involvedObject"]["kind"] == "ReplicaSet"

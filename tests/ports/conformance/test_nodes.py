"""Nodes: how they are, and what keeps pods away from them."""

import contextlib
from collections.abc import AsyncIterator

from tests.ports.conformance.cluster import Cluster
from tests.ports.conformance.manifests import Object, condition, is_ready, pod

CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


async def the_nodes(cluster: Cluster) -> list[Object]:
    return [one for one in await cluster.list("nodes", namespace="") if not one["spec"].get("taints")]


@contextlib.asynccontextmanager
async def all_cordoned(cluster: Cluster) -> AsyncIterator[list[str]]:
    """Keep new pods from every node for a while."""
    names = [one["metadata"]["name"] for one in await the_nodes(cluster)]
    path = [cluster.path("nodes", name, namespace="") for name in names]
    merge = "application/merge-patch+json"
    try:
        for one in path:
            assert (await cluster.ask("PATCH", one, {"spec": {"unschedulable": True}}, kind=merge)).is_ok
        yield names
    finally:
        for one in path:
            assert (await cluster.ask("PATCH", one, {"spec": {"unschedulable": None}}, kind=merge)).is_ok


async def test_a_node_says_how_it_is_and_what_it_has(cluster: Cluster) -> None:
    node = (await the_nodes(cluster))[0]

    conditions = {one["type"]: one for one in node["status"]["conditions"]}
    assert {name: one["status"] for name, one in conditions.items()}.items() >= {
        "Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False",
    }.items()  # fmt: skip
    assert conditions["Ready"]["reason"] == "KubeletReady"
    assert conditions["Ready"]["lastHeartbeatTime"]
    assert {"cpu", "memory", "pods"} <= node["status"]["allocatable"].keys()
    assert {"cpu", "memory", "pods"} <= node["status"]["capacity"].keys()
    assert any(one["type"] == "InternalIP" for one in node["status"]["addresses"])
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.")


async def test_a_node_that_is_cordoned_takes_no_new_pods_and_keeps_its_old_ones(cluster: Cluster) -> None:
    await cluster.create("pods", pod("old"))
    await cluster.seen("pods", "old", is_ready)

    async with all_cordoned(cluster) as names:
        cordoned = await cluster.seen("nodes", names[0], lambda it: it["spec"].get("taints"), namespace="")
        await cluster.create("pods", pod("new"))
        waiting = await cluster.seen("pods", "new", lambda it: condition(it, "PodScheduled"))
        old = await cluster.get("pods", "old")
    placed = await cluster.seen("pods", "new", is_ready)

    assert cordoned["spec"]["unschedulable"] is True
    assert [{key: one[key] for key in CORDONED} for one in cordoned["spec"]["taints"]] == [CORDONED]
    scheduled = condition(waiting, "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "unschedulable" in scheduled["message"]
    assert is_ready(old)
    assert placed["spec"]["nodeName"] in names


async def test_a_node_that_is_uncordoned_has_no_taint_any_more(cluster: Cluster) -> None:
    async with all_cordoned(cluster) as names:
        await cluster.seen("nodes", names[0], lambda it: it["spec"].get("taints"), namespace="")

    node = await cluster.seen("nodes", names[0], lambda it: not it["spec"].get("taints"), namespace="")

    assert "unschedulable" not in node["spec"]


async def test_a_taint_keeps_away_whoever_does_not_tolerate_it(cluster: Cluster) -> None:
    node = (await the_nodes(cluster))[0]["metadata"]["name"]
    tolerant, other = pod("tolerant"), pod("other")
    for each in (tolerant, other):
        each["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    tolerant["spec"]["tolerations"] = [{"key": "aegis.dev/test", "operator": "Exists", "effect": "NoSchedule"}]
    path = cluster.path("nodes", node, namespace="")
    taints = [{"key": "aegis.dev/test", "value": "x", "effect": "NoSchedule"}]
    merge = "application/merge-patch+json"

    assert (await cluster.ask("PATCH", path, {"spec": {"taints": taints}}, kind=merge)).is_ok
    try:
        await cluster.create("pods", tolerant)
        await cluster.create("pods", other)
        placed = await cluster.seen("pods", "tolerant", is_ready)
        waiting = await cluster.seen("pods", "other", lambda it: condition(it, "PodScheduled"))
    finally:
        assert (await cluster.ask("PATCH", path, {"spec": {"taints": None}}, kind=merge)).is_ok

    assert placed["spec"]["nodeName"] == node
    assert "untolerated taint" in condition(waiting, "PodScheduled")["message"]

"""Aegis's own adapters: what they ask is answered as they expect."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.builders import NOW, proposal, target
from tests.ports.conformance.cluster import Cluster, connected
from tests.ports.conformance.manifests import Object, config_map, deployment, pod
from tests.ports.conformance.requests import of_http

from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.kubernetes import PATHS, KubernetesSource, pod_metrics
from aegis.ai_engine.sources.metrics_server import samples_of
from aegis.catalogue.signals import MEMORY_BYTES, MEMORY_USAGE
from aegis.contracts.orders import Announcement
from aegis.executor.actions.base import ABSENT, FieldEdit, edit_object
from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.orders.events import event_request
from aegis.executor.ports import WriteRefusedError
from aegis.kit.clock import SystemClock
from aegis.kit.errors import TemporaryError

KINDS = [
    ("v1", "Pod"),
    ("v1", "ResourceQuota"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
]


@contextlib.asynccontextmanager
async def watching(cluster: Cluster) -> AsyncIterator[KubernetesSource]:
    """Let the AI Engine's source watch, on a connection of its own that it closes, and wait for all its watches."""
    own = connected(cluster.kubeconfig, cluster.namespace, cluster.exercised)
    wanted = {of_http("GET", f"{path}?watch=true", "", 200) for path in PATHS.values()}

    async def all_answered() -> bool:
        return wanted <= own.exercised

    source = KubernetesSource(own.http, SystemClock(), watch_timeout=timedelta(seconds=30))
    source.start()
    try:
        await cluster.until(all_answered)
        yield source
    finally:
        await source.close()


async def test_the_ai_engine_sees_all_that_it_watches_and_what_changes(cluster: Cluster) -> None:
    inventory = Inventory("here")
    async with watching(cluster) as source:

        async def knows_the_pod() -> bool:
            for change in source.take_changes():
                inventory.apply(change)
            pods = [one for one in inventory.pods.values() if one.namespace == cluster.namespace]
            return any(one.is_ready and inventory.owner_of(one) is not None for one in pods)

        await cluster.create("deployments", deployment())
        await cluster.until(knows_the_pod)
        troubles, seen_until = dict(source.troubles()), source.as_of()

    assert troubles == {}
    assert seen_until is not None
    assert any(one.ref.namespace == cluster.namespace for one in inventory.workloads.values())
    assert inventory.nodes
    assert len(PATHS) == 14


async def test_the_ai_engine_reads_what_pods_use(cluster: Cluster) -> None:
    inventory = Inventory("here")
    await cluster.create("deployments", deployment(memory="32Mi"))
    async with watching(cluster) as source:

        async def measured() -> dict[str, float]:
            for change in source.take_changes():
                inventory.apply(change)
            try:
                found = [one async for one in pod_metrics(cluster.http)]
            except TemporaryError:
                return {}
            items = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in found}
            samples = samples_of(items, inventory, now=SystemClock().now())
            return {one.metric: one.value for one in samples if ("namespace", cluster.namespace) in one.labels}

        # metrics-server answers some time after its own start, and has its first figures some time after a pod's.
        found = await cluster.until(measured, within_s=150)

    assert 0 < found[MEMORY_BYTES.metric] <= 32 * 2**20
    assert 0 < found[MEMORY_USAGE.metric] <= 1


@pytest.mark.parametrize(("api_version", "kind"), KINDS, ids=[kind for _, kind in KINDS])
async def test_the_executor_reads_each_kind_that_it_looks_at(cluster: Cluster, api_version: str, kind: str) -> None:
    reads = KubernetesCluster(cluster.http, SystemClock())

    here = await reads.list(api_version, kind, cluster.namespace)
    everywhere = await reads.list(api_version, kind)
    missing = await reads.read(api_version, kind, cluster.namespace, "nope")

    assert here == []
    assert all(one["kind"] == kind for one in everywhere)
    assert missing is None


async def test_the_executor_reads_nodes_and_namespaces(cluster: Cluster) -> None:
    reads = KubernetesCluster(cluster.http, SystemClock())

    nodes = await reads.list("v1", "Node")
    namespace = await reads.read("v1", "Namespace", None, cluster.namespace)
    node = await reads.read("v1", "Node", None, nodes[0]["metadata"]["name"])
    namespaces = await reads.list("v1", "Namespace")

    assert namespace is not None
    assert namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] == cluster.namespace
    assert node is not None
    assert cluster.namespace in {one["metadata"]["name"] for one in namespaces}


async def test_the_executor_reads_a_setting_that_is_there_or_not(cluster: Cluster) -> None:
    reads = KubernetesCluster(cluster.http, SystemClock())
    await cluster.create("configmaps", config_map(color="blue"))

    found = await reads.read("v1", "ConfigMap", cluster.namespace, "settings")
    missing = await reads.read("v1", "ConfigMap", cluster.namespace, "nope")

    assert found is not None
    assert (found["data"], missing) == ({"color": "blue"}, None)


async def test_the_executor_finds_pods_by_their_workloads_selector(cluster: Cluster) -> None:
    await cluster.create("pods", pod("one", labels={"app": "web", "tier": "front"}))
    await cluster.create("pods", pod("two", labels={"app": "web"}))
    expression = {"key": "tier", "operator": "In", "values": ["front", "back"]}

    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [expression]}
    found = await KubernetesCluster(cluster.http, SystemClock()).list("v1", "Pod", cluster.namespace, selector=selector)

    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [("Pod", "one")]


def workload(kind: str) -> Object:
    """A workload of some kind that needs no pod."""
    made = {**deployment(replicas=0), "kind": kind, "metadata": {"name": "web", "annotations": {"team": "shop"}}}
    if kind == "StatefulSet":
        made["spec"]["serviceName"] = "web"
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
        made["spec"]["template"]["spec"]["nodeSelector"] = {"no-such": "node"}
    return made


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_the_executor_tries_then_does_and_is_refused_by_its_own_tests(cluster: Cluster, kind: str) -> None:
    plural = f"{kind.lower()}s"
    await cluster.create(plural, workload(kind))
    writes = KubernetesCluster(cluster.http, SystemClock())
    found = await writes.read("apps/v1", kind, cluster.namespace, "web")
    assert found is not None
    edit = FieldEdit("/spec/template/metadata/annotations", ABSENT, {"kubectl.kubernetes.io/restartedAt": "now"})
    do, undo = edit_object(found, [edit], order_id="order-1")

    tried = await writes.send(do, dry_run=True)
    done = await writes.send(do, dry_run=False)
    codes = []
    for dry_run in (True, False):
        with pytest.raises(WriteRefusedError) as refused:
            await writes.send(do, dry_run=dry_run)
        codes.append((refused.value.code, refused.value.reason))
    undone = await writes.send(undo, dry_run=False)

    for changed in (tried, done):
        assert "order.aegis.dev/order-1" in changed["metadata"]["annotations"]
        assert changed["spec"]["template"]["metadata"]["annotations"] == edit.after
    assert codes == [(422, "Invalid")] * 2
    assert undone["spec"] == found["spec"]
    assert "order.aegis.dev/order-1" not in undone["metadata"].get("annotations", {})


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_the_executor_is_told_what_is_not_there(cluster: Cluster, kind: str) -> None:
    writes = KubernetesCluster(cluster.http, SystemClock())
    gone = {**workload(kind), "metadata": {"name": "web", "namespace": cluster.namespace, "uid": "gone"}}
    do, _ = edit_object(gone, [FieldEdit("/spec/minReadySeconds", 0, 1)], order_id="order-1")

    codes = []
    for dry_run in (True, False):
        with pytest.raises(WriteRefusedError) as refused:
            await writes.send(do, dry_run=dry_run)
        codes.append(refused.value.code)

    assert codes == [404, 404]
    assert await writes.read("apps/v1", kind, cluster.namespace, "web") is None


async def test_what_aegis_did_is_an_event_that_is_written_once(cluster: Cluster) -> None:
    made = await cluster.create("deployments", deployment(replicas=0))
    about = target(namespace=cluster.namespace, uid=made["metadata"]["uid"])
    announcement = Announcement(
        id="ann-1",
        proposal=proposal(target=about, owner=about),
        type="Normal",
        reason="RolledBack",
        message="it is well",
    )
    writes = KubernetesCluster(cluster.http, SystemClock())

    request = event_request(announcement, now=NOW, replica="executor-0")
    await writes.send(request, dry_run=False)
    with pytest.raises(WriteRefusedError) as again:
        await writes.send(request, dry_run=False)
    [event] = await cluster.list("events", fieldSelector=f"involvedObject.uid={made['metadata']['uid']},source=aegis")

    assert (again.value.code, again.value.reason) == (409, "AlreadyExists")
    assert (event["reason"], event["message"], event["count"]) == ("RolledBack", "it is well", 1)
    assert event["involvedObject"]["name"] == "web"

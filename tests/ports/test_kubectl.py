"""The real kubectl against the simulated API server: what works there has to work here, in the same words."""

import asyncio
import contextlib
import os
import random
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from aegis.kit.clock import SystemClock
from aegis.simulator.kubernetes.objects import Object, is_terminating
from aegis.simulator.kubernetes.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    CRONJOBS,
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    JOBS,
    NODES,
    PDBS,
    PODS,
    REPLICASETS,
    RESOURCEQUOTAS,
    SERVICEACCOUNTS,
    SERVICES,
)
from aegis.simulator.kubernetes.server import ApiServer, create_app
from aegis.simulator.kubernetes.serving import kubeconfig, serving
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import ADMIN, Users, service_account

REVISION = "deployment.kubernetes.io/revision"


def find_kubectl() -> str:
    """Find the binary; without it these tests fail rather than pretend."""
    found = os.environ.get("AEGIS_KUBECTL") or shutil.which("kubectl")  # noqa: TID251 - where the developer has it
    if not found:
        pytest.fail("kubectl is neither in AEGIS_KUBECTL nor on PATH; `make kubectl` downloads it")
    return found


@dataclass(frozen=True)
class Output:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def yaml(self) -> Any:
        return yaml.safe_load(self.out)


@dataclass(frozen=True)
class Cluster:
    """A served store, and the kubectl that is configured for it."""

    app: ApiServer
    environment: dict[str, str]
    binary: str

    @property
    def store(self) -> Store:
        return self.app.store

    async def kubectl(self, *arguments: str, stdin: object = None) -> Output:
        process = await self.start(*arguments)
        given = stdin if isinstance(stdin, str) else orjson.dumps(stdin).decode() if stdin else ""
        out, err = await asyncio.wait_for(process.communicate(given.encode()), timeout=20)
        return Output(process.returncode or 0, out.decode(), err.decode())

    async def ok(self, *arguments: str, stdin: object = None) -> Output:
        output = await self.kubectl(*arguments, stdin=stdin)
        assert output.code == 0, output.err
        return output

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            self.binary, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment
        )

    async def is_watched(self) -> None:
        """Return when somebody watches, who has therefore seen what there is."""
        async with asyncio.timeout(10):
            while not any(one.verb == "watch" for one in self.app.requests):  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.01)

    def get(self, resource: Any, name: str) -> Object:
        return self.store.get(resource, "default" if resource.namespaced else None, name)

    def report(self, resource: Any, name: str, **status: Any) -> None:
        """Write a status, as a controller or kubelet would."""
        current = self.get(resource, name)
        self.store.update(
            resource, {**current, "status": {**current.get("status", {}), **status}}, subresource="status"
        )


class Diary:
    def logs(self, namespace: str, pod: str, container: str, previous: bool) -> str:  # noqa: FBT001
        return f"{'last' if previous else 'this'} life of {container}\nready\n"


class Meter:
    def node(self, name: str) -> dict[str, str]:
        return {"cpu": "250m", "memory": "1Gi"}

    def pod(self, namespace: str, name: str) -> dict[str, dict[str, str]]:
        return {"web": {"cpu": "25m", "memory": "64Mi"}}


@asynccontextmanager
async def a_cluster(folder: Path, *, users: Users | None = None, token: str | None = None) -> AsyncIterator[Cluster]:
    store = Store(SystemClock(), random.Random(1))
    app = create_app(store, runtime=Diary(), usage=Meter(), users=users)
    async with serving(app, tls=token is not None) as served:
        config = folder / "kubeconfig"
        config.write_text(kubeconfig(served, token=token))
        environment = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - kubectl's own plugins and diff
            "HOME": str(folder),
            "KUBECONFIG": str(config),
            "KUBE_EDITOR": "sed -i s/blue/red/",
        }
        yield Cluster(app, environment, find_kubectl())


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with a_cluster(tmp_path) as running:
        yield running


# What is in the cluster


def a_deployment(name: str = "web", image: str = "web:1", replicas: int = 2) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def a_config_map(color: str = "blue") -> Object:
    metadata = {"name": "settings", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"color": color}}


def owned_by(owner: Object) -> Object:
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
    return {"ownerReferences": [{**reference, "controller": True}]}


def add_deployment(cluster: Cluster, **fields: Any) -> Object:
    return cluster.store.create(DEPLOYMENTS, a_deployment(**fields), manager="flux")


def add_revision(cluster: Cluster, deployment: Object, number: int, image: str) -> Object:
    """Add the ReplicaSet a deployment controller would have made for a revision."""
    replica_set = a_deployment(image=image)
    labels = {"app": "web", "pod-template-hash": f"h{number}"}
    replica_set["spec"]["selector"] = {"matchLabels": labels}
    replica_set["spec"]["template"]["metadata"]["labels"] = labels
    metadata = {"name": f"web-h{number}", "namespace": "default", "labels": labels, **owned_by(deployment)}
    replica_set["metadata"] = {**metadata, "annotations": {REVISION: str(number)}}
    return cluster.store.create(REPLICASETS, replica_set)


def add_node(cluster: Cluster, name: str = "n1") -> Object:
    return cluster.store.create(
        NODES,
        {
            "metadata": {"name": name},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "nodeInfo": {"kubeletVersion": "v1.37.2"},
            },
        },
    )


def add_pod(
    cluster: Cluster, name: str = "web-1", *, owner: Object | None = None, labels: Object | None = None
) -> Object:
    running = {"name": "web", "ready": True, "restartCount": 1, "image": "web:1", "imageID": "x"}
    states = {
        "state": {"running": {"startedAt": "2026-01-05T00:00:00Z"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }
    metadata: Object = {"name": name, "namespace": "default", "labels": labels or {"app": "web"}}
    return cluster.store.create(
        PODS,
        {
            "metadata": {**metadata, **(owned_by(owner) if owner else {})},
            "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "web:1"}]},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{**running, **states}],
            },
        },
    )


def image_of(cluster: Cluster) -> str:
    return str(cluster.get(DEPLOYMENTS, "web")["spec"]["template"]["spec"]["containers"][0]["image"])


def replicas_of(cluster: Cluster) -> int:
    return int(cluster.get(DEPLOYMENTS, "web")["spec"]["replicas"])


async def end_pods(store: Store) -> None:
    """Finish what is terminating, as kubelets do."""
    while True:
        for pod in store.list(PODS):
            if is_terminating(pod):
                store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], grace_s=0)
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def kubelets(store: Store) -> Iterator[None]:
    ending = asyncio.create_task(end_pods(store))
    try:
        yield
    finally:
        ending.cancel()


# Discovery


async def test_the_server_says_what_it_is_and_what_it_has(cluster: Cluster) -> None:
    version = await cluster.ok("version")
    resources = await cluster.ok("api-resources", "-o", "wide")
    explained = await cluster.ok("explain", "deployment.spec.strategy")

    assert "Server Version: v1.37.2" in version.out
    assert any(line.split()[:3] == ["deployments", "deploy", "apps/v1"] for line in resources.lines)
    assert "rollingUpdate" in explained.out


# Reading


async def test_pods_are_listed_as_on_a_real_cluster(cluster: Cluster) -> None:
    add_node(cluster)
    add_pod(cluster)
    add_pod(cluster, "api-1", labels={"app": "api"})

    listed = await cluster.ok("get", "pods", "-l", "app=web")
    wide = await cluster.ok("get", "pods", "-o", "wide", "--field-selector", "spec.nodeName=n1,metadata.name=api-1")
    sorted_all = await cluster.ok("get", "pods", "-A", "--sort-by=.metadata.name", "--no-headers", "--chunk-size=1")

    assert [line.split()[:4] for line in listed.lines] == [
        ["NAME", "READY", "STATUS", "RESTARTS"],
        ["web-1", "1/1", "Running", "1"],
    ]
    assert wide.lines[0].split()[5:7] == ["IP", "NODE"]
    assert wide.lines[1].split()[5:7] == ["10.0.0.1", "n1"]
    assert [line.split()[1] for line in sorted_all.lines] == ["api-1", "web-1"]


async def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    pod = await cluster.kubectl("get", "pod", "nope")
    kind = await cluster.kubectl("get", "wat")
    field = await cluster.kubectl("get", "pods", "--field-selector=spec.bogus=1")

    assert (pod.code, pod.err) == (1, 'Error from server (NotFound): pods "nope" not found\n')
    assert (kind.code, kind.err) == (1, 'error: the server doesn\'t have a resource type "wat"\n')
    assert field.code == 1
    assert "field label not supported: spec.bogus" in field.err


async def test_many_kinds_at_once(cluster: Cluster) -> None:
    add_node(cluster)
    add_revision(cluster, add_deployment(cluster), 1, "web:1")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    cluster.store.create(
        HPAS,
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5}},
    )

    output = await cluster.ok("get", "nodes,all", "--no-headers")

    rows = [line.split() for line in output.lines if line]
    assert ["deployment.apps/web", "0/2", "0", "0"] in [row[:4] for row in rows]
    assert ["replicaset.apps/web-h1", "2", "0", "0"] in [row[:4] for row in rows]
    assert ["node/n1", "Ready", "<none>"] in [row[:3] for row in rows]
    hpa = ["horizontalpodautoscaler.autoscaling/web", "Deployment/web", "cpu:", "<unknown>/80%", "1", "5"]
    assert hpa in [row[:6] for row in rows]


async def test_a_watch_prints_changes_as_they_come(cluster: Cluster) -> None:
    add_pod(cluster)

    process = await cluster.start("get", "pods", "-w", "--output-watch-events", "--no-headers")
    assert process.stdout is not None
    seen = [(await asyncio.wait_for(process.stdout.readline(), 5)).split()]
    cluster.report(PODS, "web-1", phase="Failed", containerStatuses=[])
    seen.append((await asyncio.wait_for(process.stdout.readline(), 5)).split())
    process.kill()
    await process.communicate()

    assert [line[:4] for line in seen] == [
        [b"ADDED", b"web-1", b"1/1", b"Running"],
        [b"MODIFIED", b"web-1", b"0/1", b"Failed"],
    ]


async def test_describing_tells_what_happened(cluster: Cluster) -> None:
    add_node(cluster)
    deployment = add_deployment(cluster)
    replica_set = add_revision(cluster, deployment, 1, "web:1")
    pod = add_pod(cluster, owner=replica_set)
    cluster.store.record_event(
        involved=pod, type="Warning", reason="BackOff", message="Back-off restarting", component="kubelet"
    )

    about_pod = await cluster.ok("describe", "pod", "web-1")
    about_deployment = await cluster.ok("describe", "deployment", "web")
    about_node = await cluster.ok("describe", "node", "n1")

    assert re.search(r"Controlled By:\s+ReplicaSet/web-h1", about_pod.out)
    assert re.search(r"Reason:\s+OOMKilled", about_pod.out)
    assert "BackOff" in about_pod.out
    assert re.search(r"StrategyType:\s+RollingUpdate", about_deployment.out)
    assert re.search(r"NewReplicaSet:\s+web-h1 ", about_deployment.out)
    assert re.search(r"Non-terminated Pods:\s+\(1 in total\)", about_node.out)


async def test_events_are_listed_and_counted(cluster: Cluster) -> None:
    pod = add_pod(cluster)
    for _ in range(3):
        cluster.store.record_event(involved=pod, type="Warning", reason="BackOff", message="again", component="kubelet")

    events = await cluster.ok("events", "--for", "pod/web-1")
    listed = await cluster.ok("get", "events", "--field-selector", "reason=BackOff,type!=Normal", "--no-headers")

    assert "(x3 over 0s)" in events.out or "BackOff" in events.out
    assert listed.lines[0].split()[1:] == ["Warning", "BackOff", "pod/web-1", "again"]
    assert cluster.store.list(EVENTS)[0]["count"] == 3


async def test_logs_and_usage(cluster: Cluster) -> None:
    add_node(cluster)
    replica_set = add_revision(cluster, add_deployment(cluster), 1, "web:1")
    add_pod(cluster, owner=replica_set, labels=replica_set["spec"]["selector"]["matchLabels"])

    log = await cluster.ok("logs", "web-1", "--tail=1")
    previous = await cluster.ok("logs", "deploy/web", "--previous")
    pods, nodes = await cluster.ok("top", "pod"), await cluster.ok("top", "node")

    assert log.out == "ready\n"
    assert previous.out == "last life of web\nready\n"
    assert pods.lines[1].split() == ["web-1", "25m", "64Mi"]
    assert nodes.lines[1].split()[:3] == ["n1", "250m", "6%"]


async def test_what_needs_a_real_kubelet_says_so(cluster: Cluster) -> None:
    add_pod(cluster)

    refused = await cluster.kubectl("exec", "web-1", "--", "ls")

    assert refused.code == 1
    assert "exec is not offered by this simulated cluster" in refused.err


# Writing


async def test_applying_creates_configures_and_leaves_alone(cluster: Cluster) -> None:
    created = await cluster.ok("apply", "-f", "-", stdin=a_deployment())
    again = await cluster.ok("apply", "-f", "-", stdin=a_deployment())
    same = await cluster.kubectl("diff", "-f", "-", stdin=a_deployment())
    different = await cluster.kubectl("diff", "-f", "-", stdin=a_deployment(image="web:2"))
    configured = await cluster.ok("apply", "-f", "-", stdin=a_deployment(image="web:2"))

    assert created.out == "deployment.apps/web created\n"
    assert again.out == "deployment.apps/web unchanged\n"
    assert (same.code, same.out) == (0, "")
    assert different.code == 1
    assert "+      - image: web:2" in different.out
    assert configured.out == "deployment.apps/web configured\n"
    assert image_of(cluster) == "web:2"


async def test_server_side_apply_knows_owners(cluster: Cluster) -> None:
    arguments = ("apply", "--server-side", "-f", "-", "--field-manager")
    applied = await cluster.ok(*arguments, "argocd", stdin=a_config_map("blue"))
    refused = await cluster.kubectl(*arguments, "flux", stdin=a_config_map("red"))
    forced = await cluster.ok(*arguments, "flux", "--force-conflicts", stdin=a_config_map("red"))
    shown = await cluster.ok("get", "cm", "settings", "-o", "yaml", "--show-managed-fields")

    assert applied.out == "configmap/settings serverside-applied\n"
    assert refused.code == 1
    assert 'Apply failed with 1 conflict: conflict with "argocd": .data.color' in refused.err
    assert forced.code == 0
    entries = [(each["manager"], each["operation"]) for each in shown.yaml["metadata"]["managedFields"]]
    assert entries == [("flux", "Apply")]


async def test_moving_from_client_side_to_server_side_apply(cluster: Cluster) -> None:
    await cluster.ok("apply", "-f", "-", stdin=a_config_map("blue"))

    moved = await cluster.ok("apply", "--server-side", "-f", "-", stdin=a_config_map("red"))

    assert moved.out == "configmap/settings serverside-applied\n"
    assert cluster.get(CONFIGMAPS, "settings")["data"] == {"color": "red"}


async def test_unknown_fields_are_refused_or_warned_of(cluster: Cluster) -> None:
    wrong = a_deployment()
    wrong["spec"]["replicaz"] = 1

    refused = await cluster.kubectl("apply", "-f", "-", stdin=wrong)
    warned = await cluster.ok("apply", "--validate=warn", "-f", "-", stdin=wrong)

    assert refused.code == 1
    assert 'unknown field "spec.replicaz"' in refused.err
    assert warned.err == 'Warning: unknown field "spec.replicaz"\n'
    assert warned.out == "deployment.apps/web created\n"


async def test_objects_made_by_generators_come_as_protobuf(cluster: Cluster) -> None:
    template = {"spec": {"template": a_deployment()["spec"]["template"]}}
    template["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    schedule = {"schedule": "*/5 * * * *", "jobTemplate": template}
    cluster.store.create(CRONJOBS, {"metadata": {"name": "nightly", "namespace": "default"}, "spec": schedule})

    await cluster.ok("create", "configmap", "made", "--from-literal=a=b")
    again = await cluster.kubectl("create", "configmap", "made", "--from-literal=a=b")
    job = await cluster.ok("create", "job", "now", "--from=cronjob/nightly")
    shown = await cluster.ok("create", "deployment", "web", "--image=web", "--dry-run=server", "-o", "yaml")

    assert cluster.get(CONFIGMAPS, "made")["data"] == {"a": "b"}
    assert (again.code, again.err) == (1, 'error: failed to create configmap: configmaps "made" already exists\n')
    assert job.out == "job.batch/now created\n"
    assert cluster.get(JOBS, "now")["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"
    assert shown.yaml["spec"]["progressDeadlineSeconds"] == 600
    assert cluster.store.list(DEPLOYMENTS) == []


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:2"}]}}}}'),
        ("merge", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:2"}]}}}}'),
        ("json", '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"web:2"}]'),
    ],
)
async def test_patching(cluster: Cluster, kind: str, patch: str) -> None:
    add_deployment(cluster)

    output = await cluster.ok("patch", "deploy", "web", f"--type={kind}", "-p", patch)

    assert output.out == "deployment.apps/web patched\n"
    assert image_of(cluster) == "web:2"


async def test_a_patch_that_may_not_be_is_refused(cluster: Cluster) -> None:
    add_deployment(cluster)
    untrue = '[{"op":"test","path":"/spec/replicas","value":9}]'

    tested = await cluster.kubectl("patch", "deploy", "web", "--type=json", "-p", untrue)
    stale = await cluster.kubectl("patch", "deploy", "web", "-p", '{"metadata":{"resourceVersion":"1"}}')
    negative = await cluster.kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":-1}}')

    assert tested.err == "The request is invalid: the server rejected our request due to an error in our request\n"
    assert stale.err == (
        'Error from server (Conflict): Operation cannot be fulfilled on deployments.apps "web": the object has been '
        "modified; please apply your changes to the latest version and try again\n"
    )
    assert negative.err == (
        'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0\n'
    )


async def test_small_changes(cluster: Cluster) -> None:
    add_deployment(cluster)

    image = await cluster.ok("set", "image", "deploy/web", "web=web:7")
    label = await cluster.ok("label", "deploy", "web", "team=shop")
    note = await cluster.ok("annotate", "deploy", "web", "why=because")

    assert (image.out, label.out, note.out) == (
        "deployment.apps/web image updated\n",
        "deployment.apps/web labeled\n",
        "deployment.apps/web annotated\n",
    )
    metadata = cluster.get(DEPLOYMENTS, "web")["metadata"]
    assert image_of(cluster) == "web:7"
    assert (metadata["labels"], metadata["annotations"]) == ({"team": "shop"}, {"why": "because"})


async def test_scaling(cluster: Cluster) -> None:
    add_deployment(cluster, replicas=2)

    scaled = await cluster.ok("scale", "deploy", "web", "--replicas=5")
    mistaken = await cluster.kubectl("scale", "deploy", "web", "--current-replicas=1", "--replicas=2")
    autoscaled = await cluster.ok("autoscale", "deploy", "web", "--min=1", "--max=3")

    assert scaled.out == "deployment.apps/web scaled\n"
    assert "Expected replicas to be 1, was 5" in mistaken.err
    assert replicas_of(cluster) == 5
    assert autoscaled.out == "horizontalpodautoscaler.autoscaling/web autoscaled\n"


async def test_a_dry_run_persists_nothing(cluster: Cluster) -> None:
    add_deployment(cluster)
    version = cluster.store.resource_version

    await cluster.ok("set", "image", "deploy/web", "web=web:7", "--dry-run=server")
    await cluster.ok("scale", "deploy", "web", "--replicas=9", "--dry-run=server")
    await cluster.ok("delete", "deploy", "web", "--dry-run=server")

    assert cluster.store.resource_version == version
    assert cluster.app.requests.writes() == []


async def test_replacing_and_editing(cluster: Cluster) -> None:
    await cluster.ok("create", "-f", "-", stdin=a_config_map("blue"))

    edited = await cluster.ok("edit", "cm", "settings")
    color = cluster.get(CONFIGMAPS, "settings")["data"]["color"]
    replaced = await cluster.ok("replace", "-f", "-", stdin=a_config_map("green"))

    assert (edited.out, color) == ("configmap/settings edited\n", "red")
    assert replaced.out == "configmap/settings replaced\n"
    assert cluster.get(CONFIGMAPS, "settings")["data"] == {"color": "green"}


async def test_exposing_gives_an_address(cluster: Cluster) -> None:
    add_deployment(cluster)

    await cluster.ok("expose", "deploy", "web", "--port=80")
    listed = await cluster.ok("get", "service", "web", "--no-headers")

    assert listed.lines[0].split()[1:5] == [
        "ClusterIP",
        cluster.get(SERVICES, "web")["spec"]["clusterIP"],
        "<none>",
        "80/TCP",
    ]


async def test_deleting_waits_until_it_is_gone(cluster: Cluster) -> None:
    add_pod(cluster)
    add_pod(cluster, "api-1", labels={"app": "api"})

    with kubelets(cluster.store):
        deleted = await cluster.ok("delete", "pods", "-l", "app=web")
        waited = await cluster.ok("wait", "--for=delete", "pod/web-1", "--timeout=5s")

    assert deleted.out.startswith('pod "web-1" deleted')
    assert waited.code == 0
    assert [pod["metadata"]["name"] for pod in cluster.store.list(PODS)] == ["api-1"]


async def test_waiting_for_a_condition(cluster: Cluster) -> None:
    add_pod(cluster)
    cluster.report(PODS, "web-1", conditions=[{"type": "Ready", "status": "False"}])

    waiting = asyncio.create_task(cluster.ok("wait", "--for=condition=Ready", "pod/web-1", "--timeout=5s"))
    await cluster.is_watched()
    was_waiting = not waiting.done()
    cluster.report(PODS, "web-1", conditions=[{"type": "Ready", "status": "True"}])

    assert (await waiting).out == "pod/web-1 condition met\n"
    assert was_waiting


# Rollouts


async def test_a_rollout_is_followed_to_its_end(cluster: Cluster) -> None:
    add_deployment(cluster)
    half = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}
    cluster.report(DEPLOYMENTS, "web", **half)

    following = asyncio.create_task(cluster.ok("rollout", "status", "deploy/web", "--timeout=10s"))
    await cluster.is_watched()
    cluster.report(DEPLOYMENTS, "web", availableReplicas=2)
    output = await following

    assert output.lines == [
        'Waiting for deployment "web" rollout to finish: 1 of 2 updated replicas are available...',
        'deployment "web" successfully rolled out',
    ]


async def test_a_rollout_is_undone_and_restarted(cluster: Cluster) -> None:
    deployment = add_deployment(cluster, image="web:2")
    add_revision(cluster, deployment, 1, "web:1")
    add_revision(cluster, deployment, 2, "web:2")
    annotated = {**deployment["metadata"], "annotations": {REVISION: "2"}}
    cluster.store.update(DEPLOYMENTS, {**deployment, "metadata": annotated})

    history = await cluster.ok("rollout", "history", "deploy/web")
    undone = await cluster.ok("rollout", "undo", "deploy/web")
    image = image_of(cluster)
    restarted = await cluster.ok("rollout", "restart", "deploy/web")
    paused = await cluster.ok("rollout", "pause", "deploy/web")

    assert [line.split()[0] for line in history.lines[2:4]] == ["1", "2"]
    assert (undone.out, image) == ("deployment.apps/web rolled back\n", "web:1")
    assert (restarted.out, paused.out) == ("deployment.apps/web restarted\n", "deployment.apps/web paused\n")
    template = cluster.get(DEPLOYMENTS, "web")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]


# Nodes


async def test_a_node_is_cordoned_and_tainted(cluster: Cluster) -> None:
    add_node(cluster)

    await cluster.ok("cordon", "n1")
    cordoned = await cluster.ok("get", "node", "n1", "--no-headers")
    await cluster.ok("uncordon", "n1")
    await cluster.ok("taint", "node", "n1", "k=v:NoSchedule")
    taints = cluster.get(NODES, "n1")["spec"]["taints"]
    await cluster.ok("taint", "node", "n1", "k=v:NoSchedule-")

    assert cordoned.lines[0].split()[1] == "Ready,SchedulingDisabled"
    assert taints == [{"key": "k", "value": "v", "effect": "NoSchedule"}]
    assert "taints" not in cluster.get(NODES, "n1")["spec"]


async def test_an_eviction_asks_the_budget(cluster: Cluster) -> None:
    add_pod(cluster)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    cluster.store.create(PDBS, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-1", "namespace": "default"}}

    refused = await cluster.kubectl(
        "create", "--raw", "/api/v1/namespaces/default/pods/web-1/eviction", "-f", "-", stdin=eviction
    )
    shown = await cluster.ok("get", "pdb", "web", "--no-headers")

    assert refused.err == (
        "Error from server (TooManyRequests): Cannot evict pod as it would violate the pod's disruption budget.\n"
    )
    assert shown.lines[0].split()[1:4] == ["1", "N/A", "0"]


async def test_a_node_is_drained(cluster: Cluster) -> None:
    add_node(cluster)
    add_pod(cluster, owner=add_revision(cluster, add_deployment(cluster), 1, "web:1"))

    with kubelets(cluster.store):
        drained = await cluster.ok("drain", "n1", "--timeout=10s")

    assert "node/n1 drained" in drained.out
    assert cluster.store.list(PODS) == []


# Limits and rights


async def test_a_quota_refuses_and_shows_what_is_used(cluster: Cluster) -> None:
    quota = {"metadata": {"name": "team", "namespace": "default"}, "spec": {"hard": {"pods": "1"}}}
    cluster.store.create(RESOURCEQUOTAS, quota)
    await cluster.ok("run", "one", "--image=web:1")

    refused = await cluster.kubectl("run", "two", "--image=web:1")
    shown = await cluster.ok("get", "quota", "team", "--no-headers")

    assert refused.err == (
        'Error from server (Forbidden): pods "two" is forbidden: exceeded quota: team, requested: pods=1, '
        "used: pods=1, limited: pods=1\n"
    )
    assert shown.lines[0].split()[1:3] == ["pods:", "1/1"]


async def test_a_token_opens_what_its_roles_allow(tmp_path: Path) -> None:
    users = Users({"root": ADMIN, "robot": service_account("default", "robot")})
    async with a_cluster(tmp_path, users=users, token="robot") as cluster:
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
        cluster.store.create(CLUSTERROLES, {"metadata": {"name": "lists"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
        role = {"kind": "ClusterRole", "name": "lists"}
        cluster.store.create(
            CLUSTERROLEBINDINGS, {"metadata": {"name": "robot"}, "subjects": [subject], "roleRef": role}
        )

        who = await cluster.ok("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        allowed = await cluster.kubectl("auth", "can-i", "list", "pods")
        denied = await cluster.kubectl("auth", "can-i", "delete", "pods")
        every = await cluster.ok("auth", "can-i", "--list")
        refused = await cluster.kubectl("get", "deploy")

    assert who.out == "system:serviceaccount:default:robot"
    assert (allowed.out, denied.out, denied.code) == ("yes\n", "no\n", 1)
    assert any(line.split() == ["pods", "[]", "[]", "[list]"] for line in every.lines)
    assert refused.err == (
        'Error from server (Forbidden): deployments.apps is forbidden: User "system:serviceaccount:default:robot" '
        'cannot list resource "deployments" in API group "apps" in the namespace "default"\n'
    )


async def test_a_service_account_gets_a_token_that_works(tmp_path: Path) -> None:
    async with a_cluster(tmp_path, users=Users({"root": ADMIN}), token="root") as cluster:
        cluster.store.create(SERVICEACCOUNTS, {"metadata": {"name": "robot", "namespace": "default"}})

        token = (await cluster.ok("create", "token", "robot")).out.strip()
        user = cluster.app.users.find(token)

    assert user is not None
    assert user.name == "system:serviceaccount:default:robot"

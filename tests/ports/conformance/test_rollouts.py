"""Rollouts: what a Deployment says at each step, what it keeps of the past, and how it goes back."""

from itertools import groupby

from tests.ports.conformance.cluster import JSON_PATCH, Cluster
from tests.ports.conformance.manifests import NO_IMAGE, Object, condition, deployment, is_ready

from aegis.executor.cluster.spelling import spelled

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


def is_rolled_out(it: Object) -> bool:
    """Say what `kubectl rollout status` waits for."""
    status, wanted = it.get("status", {}), it["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == it["metadata"]["generation"] and counts == [wanted] * 3


def progress(it: Object) -> str:
    found = condition(it, "Progressing")
    return f"{found['status']} {found['reason']}" if found else ""


async def rolled_out(cluster: Cluster, **given: object) -> Object:
    await cluster.create("deployments", deployment(**given))
    return await settled(cluster)


async def settled(cluster: Cluster) -> Object:
    def is_settled(it: Object) -> bool:
        return is_rolled_out(it) and progress(it) == "True NewReplicaSetAvailable"

    return await cluster.seen("deployments", "web", is_settled)


async def revisions(cluster: Cluster) -> dict[int, Object]:
    return {int(one["metadata"]["annotations"][REVISION]): one for one in await cluster.list("replicasets")}


async def set_env(cluster: Cluster, **env: object) -> Object:
    """Give the template other variables: a new revision."""
    variables = [{"name": key, "value": str(value)} for key, value in env.items()]
    step = {"op": "add", "path": "/spec/template/spec/containers/0/env", "value": variables}
    return await cluster.patch("deployments", "web", [step], kind=JSON_PATCH)


async def test_a_rollout_ends_available_and_says_so(cluster: Cluster) -> None:
    done = await rolled_out(cluster, replicas=2)

    status = done["status"]
    assert {name: status[name] for name in ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")} == {
        "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
    }  # fmt: skip
    assert "unavailableReplicas" not in status
    assert done["metadata"]["annotations"][REVISION] == "1"
    available = condition(done, "Available")
    assert (available["status"], available["reason"]) == ("True", "MinimumReplicasAvailable")
    assert available["message"] == "Deployment has minimum availability."
    name = (await cluster.list("replicasets"))[0]["metadata"]["name"]
    assert condition(done, "Progressing")["message"] == f'ReplicaSet "{name}" has successfully progressed.'


async def test_a_revision_is_a_replicaset_that_its_pods_name_by_a_hash(cluster: Cluster) -> None:
    done = await rolled_out(cluster)

    [revision], [pod] = await cluster.list("replicasets"), await cluster.list("pods")

    hashed = revision["metadata"]["labels"][HASH]
    assert revision["metadata"]["name"] == f"web-{hashed}"
    assert revision["spec"]["selector"]["matchLabels"] == {"app": "web", HASH: hashed}
    assert revision["spec"]["template"]["metadata"]["labels"] == {"app": "web", HASH: hashed}
    assert pod["metadata"]["labels"][HASH] == hashed
    assert pod["metadata"]["name"].startswith(f"web-{hashed}-")
    owners = [it["metadata"]["ownerReferences"][0] for it in (revision, pod)]
    assert [(one["kind"], one["name"], one["uid"], one["controller"]) for one in owners] == [
        ("Deployment", "web", done["metadata"]["uid"], True),
        ("ReplicaSet", revision["metadata"]["name"], revision["metadata"]["uid"], True),
    ]
    annotations = revision["metadata"]["annotations"]
    assert (annotations["deployment.kubernetes.io/desired-replicas"], annotations[REVISION]) == ("1", "1")
    assert annotations["deployment.kubernetes.io/max-replicas"] == "2"


async def test_a_rollout_goes_from_seen_to_updated_to_available(cluster: Cluster) -> None:
    before = await rolled_out(cluster, replicas=2)

    version = before["metadata"]["resourceVersion"]
    async with cluster.watching("deployments", resourceVersion=version) as watched:
        asked = await set_env(cluster, COLOR="red")
        seen = [(await watched.event())[1]]
        while not (is_rolled_out(seen[-1]) and progress(seen[-1]) == "True NewReplicaSetAvailable"):
            seen.append((await watched.event())[1])

    generation = asked["metadata"]["generation"]
    assert generation == before["metadata"]["generation"] + 1
    assert seen[0]["status"]["observedGeneration"] == before["metadata"]["generation"]
    observed = [it["status"]["observedGeneration"] for it in seen]
    assert observed == sorted(observed)
    updated = [
        it["status"].get("updatedReplicas", 0) for it in seen if it["status"]["observedGeneration"] == generation
    ]
    assert updated == sorted(updated)
    assert updated[-1] == 2
    assert all(it["status"].get("availableReplicas", 0) >= 2 for it in seen), "25 % of two may be missing: none"
    assert all(it["status"]["replicas"] <= 3 for it in seen)
    reasons = [reason for reason, _ in groupby(progress(it) for it in seen)]
    assert reasons[-2:] == ["True ReplicaSetUpdated", "True NewReplicaSetAvailable"]
    assert seen[-1]["metadata"]["annotations"][REVISION] == "2"


async def test_the_old_revision_is_kept_empty(cluster: Cluster) -> None:
    await rolled_out(cluster)
    await set_env(cluster, COLOR="red")
    await settled(cluster)

    async def emptied() -> dict[int, Object]:
        found = await revisions(cluster)
        return found if found[1]["status"]["replicas"] == 0 else {}

    found = await cluster.until(emptied)

    assert {number: one["spec"]["replicas"] for number, one in found.items()} == {1: 0, 2: 1}
    assert found[2]["status"]["readyReplicas"] == found[2]["status"]["availableReplicas"] == 1
    assert "readyReplicas" not in found[1]["status"]


async def test_writing_the_old_template_goes_back_to_the_old_revision_under_a_new_number(cluster: Cluster) -> None:
    await rolled_out(cluster)
    first = (await revisions(cluster))[1]
    await set_env(cluster, COLOR="red")
    second = await settled(cluster)

    template = {**first["spec"]["template"], "metadata": {"labels": {"app": "web"}}}
    steps = [
        {"op": "test", "path": "/spec/template", "value": second["spec"]["template"]},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]
    await cluster.patch("deployments", "web", spelled(steps), kind=JSON_PATCH)
    back = await settled(cluster)

    assert back["metadata"]["annotations"][REVISION] == "3"
    found = await revisions(cluster)
    assert sorted(found) == [2, 3]
    assert found[3]["metadata"]["uid"] == first["metadata"]["uid"]
    assert found[3]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"


async def test_as_many_revisions_are_kept_as_wanted(cluster: Cluster) -> None:
    await rolled_out(cluster, spec={"revisionHistoryLimit": 1})
    for color in ("red", "green"):
        await set_env(cluster, COLOR=color)
        await settled(cluster)

    async def remembered() -> bool:
        return sorted(await revisions(cluster)) == [2, 3]

    await cluster.until(remembered)


async def test_a_rollout_that_does_not_get_on_says_so_after_its_deadline(cluster: Cluster) -> None:
    await rolled_out(cluster, probed=True, spec={"progressDeadlineSeconds": 5})
    await set_env(cluster, EXIT_AT_START=1)

    late = await cluster.seen("deployments", "web", lambda it: progress(it) == "False ProgressDeadlineExceeded")

    found = await revisions(cluster)
    name = found[2]["metadata"]["name"]
    assert condition(late, "Progressing")["message"] == f'ReplicaSet "{name}" has timed out progressing.'
    assert condition(late, "Available")["status"] == "True"
    status = late["status"]
    assert (status["updatedReplicas"], status["availableReplicas"], status["unavailableReplicas"]) == (1, 1, 1)
    assert {number: one["spec"]["replicas"] for number, one in found.items()} == {1: 1, 2: 1}


async def test_who_has_no_pod_ready_is_not_available(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment(image=NO_IMAGE))

    found = await cluster.seen("deployments", "web", lambda it: it.get("status", {}).get("unavailableReplicas"))

    available = condition(found, "Available")
    assert (available["status"], available["reason"]) == ("False", "MinimumReplicasUnavailable")
    assert available["message"] == "Deployment does not have minimum availability."
    assert progress(found).startswith("True ")


async def test_a_rollout_that_was_late_and_is_put_right_ends_well(cluster: Cluster) -> None:
    await rolled_out(cluster, probed=True, spec={"progressDeadlineSeconds": 5})
    await set_env(cluster, EXIT_AT_START=1)
    await cluster.seen("deployments", "web", lambda it: progress(it) == "False ProgressDeadlineExceeded")

    await set_env(cluster, COLOR="blue")
    healed = await settled(cluster)

    assert condition(healed, "Available")["status"] == "True"
    assert "unavailableReplicas" not in healed["status"]


async def test_a_rollout_that_is_paused_makes_no_new_revision(cluster: Cluster) -> None:
    await rolled_out(cluster)
    await cluster.patch("deployments", "web", {"spec": {"paused": True}})

    await set_env(cluster, COLOR="red")
    paused = await cluster.seen(
        "deployments", "web", lambda it: it["status"]["observedGeneration"] == it["metadata"]["generation"]
    )
    number = len(await revisions(cluster))
    await cluster.patch("deployments", "web", {"spec": {"paused": None}})
    resumed = await settled(cluster)

    assert number == 1
    assert progress(paused) == "Unknown DeploymentPaused"
    assert resumed["metadata"]["annotations"][REVISION] == "2"


async def test_a_new_annotation_of_the_template_restarts_the_pods(cluster: Cluster) -> None:
    await rolled_out(cluster)
    [before] = await cluster.list("pods")

    annotations = {"kubectl.kubernetes.io/restartedAt": "2026-01-05T00:00:00+00:00"}
    await cluster.patch("deployments", "web", {"spec": {"template": {"metadata": {"annotations": annotations}}}})
    await settled(cluster)
    await cluster.gone("pods", before["metadata"]["name"])
    [after] = await cluster.list("pods")

    assert after["metadata"]["annotations"].items() >= annotations.items()
    assert is_ready(after)


async def test_scaling_is_no_new_revision(cluster: Cluster) -> None:
    await rolled_out(cluster)

    await cluster.patch("deployments", "web", {"spec": {"replicas": 2}})
    scaled = await settled(cluster)

    assert scaled["metadata"]["annotations"][REVISION] == "1"
    assert len(await cluster.list("replicasets")) == 1
    reasons = {one["reason"] for one in await cluster.list("events", fieldSelector="involvedObject.kind=Deployment")}
    assert reasons == {"ScalingReplicaSet"}


async def test_a_statefulset_goes_from_its_current_to_its_update_revision(cluster: Cluster) -> None:
    made = deployment()
    made |= {"kind": "StatefulSet", "spec": {**made["spec"], "serviceName": "web"}}
    await cluster.create("statefulsets", made)
    first = await cluster.seen("statefulsets", "web", lambda it: it.get("status", {}).get("readyReplicas") == 1)

    change = {"spec": {"template": {"metadata": {"annotations": {"why": "because"}}}}}
    await cluster.patch("statefulsets", "web", change)

    def is_updated(it: Object) -> bool:
        status = it["status"]
        return (
            status["observedGeneration"] == it["metadata"]["generation"]
            and status.get("readyReplicas") == 1
            and status["currentRevision"] == status["updateRevision"] != first["status"]["currentRevision"]
        )

    updated = await cluster.seen("statefulsets", "web", is_updated)
    pod = await cluster.get("pods", "web-0")

    assert first["status"]["currentRevision"] == first["status"]["updateRevision"]
    assert pod["metadata"]["labels"]["controller-revision-hash"] == updated["status"]["updateRevision"]
    assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"

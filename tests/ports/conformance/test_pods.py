"""Pods: how their state tells what happens to their processes."""

import pytest
from tests.ports.conformance.cluster import Answer, Cluster
from tests.ports.conformance.manifests import NO_IMAGE, Object, condition, config_map, is_ready, pod


def main_status(thing: Object) -> Object:
    statuses = thing.get("status", {}).get("containerStatuses") or [{}]
    found: Object = statuses[0]
    return found


def waits_for(thing: Object) -> str:
    return str(main_status(thing).get("state", {}).get("waiting", {}).get("reason", ""))


def last_end(thing: Object) -> Object:
    found: Object = main_status(thing).get("lastState", {}).get("terminated") or {}
    return found


async def events_about(cluster: Cluster, name: str, *reasons: str) -> list[Object]:
    about = await cluster.list("events", fieldSelector=f"involvedObject.name={name}")
    return [one for one in about if one["reason"] in reasons]


async def test_a_pod_gets_a_node_then_an_address_and_is_ready(cluster: Cluster) -> None:
    made = await cluster.create("pods", pod())

    ready = await cluster.seen("pods", "pod", is_ready)

    assert made["status"]["phase"] == "Pending"
    status, main = ready["status"], main_status(ready)
    assert status["phase"] == "Running"
    assert ready["spec"]["nodeName"]
    assert status["podIP"] == status["podIPs"][0]["ip"]
    assert all(status[field] for field in ("hostIP", "startTime"))
    assert {one["type"]: one["status"] for one in status["conditions"]}.items() >= {
        "PodScheduled": "True", "Initialized": "True", "ContainersReady": "True", "Ready": "True",
    }.items()  # fmt: skip
    assert (main["name"], main["ready"], main["started"], main["restartCount"]) == ("main", True, True, 0)
    assert main["state"]["running"]["startedAt"]
    assert main["lastState"] == {}
    assert main["containerID"].startswith("containerd://")


async def test_what_becomes_of_a_pod_stands_in_events(cluster: Cluster) -> None:
    made = await cluster.create("pods", pod())
    await cluster.seen("pods", "pod", is_ready)

    async def whole() -> dict[str, Object]:
        found = {one["reason"]: one for one in await cluster.list("events", fieldSelector="involvedObject.name=pod")}
        return found if {"Scheduled", "Created", "Started"} <= found.keys() else {}

    events = await cluster.until(whole)

    started = events["Started"]
    assert started["type"] == "Normal"
    assert started["source"]["component"] == "kubelet"
    assert started["count"] == 1
    assert started["firstTimestamp"] == started["lastTimestamp"]
    assert (started["involvedObject"]["kind"], started["involvedObject"]["uid"]) == ("Pod", made["metadata"]["uid"])


async def test_a_pod_that_is_never_ready_runs_and_says_so(cluster: Cluster) -> None:
    await cluster.create("pods", pod(probed=True, NEVER_READY="true"))

    async def unhealthy() -> list[Object]:
        return await events_about(cluster, "pod", "Unhealthy")

    told = (await cluster.until(unhealthy))[0]
    found = await cluster.seen("pods", "pod", lambda it: it["status"]["phase"] == "Running")

    assert told["message"].startswith("Readiness probe failed: ")
    ready = condition(found, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [main]"
    assert (main_status(found)["ready"], main_status(found)["restartCount"]) == (False, 0)


async def test_a_pod_whose_probe_passes_becomes_ready(cluster: Cluster) -> None:
    await cluster.create("pods", pod(probed=True))

    found = await cluster.seen("pods", "pod", is_ready)

    assert main_status(found)["ready"] is True


async def test_a_process_that_exits_at_start_ends_in_a_crash_loop(cluster: Cluster) -> None:
    await cluster.create("pods", pod(EXIT_AT_START=3))

    found = await cluster.seen(
        "pods", "pod", lambda it: waits_for(it) == "CrashLoopBackOff" and main_status(it)["restartCount"] >= 1
    )

    main, end = main_status(found), last_end(found)
    assert found["status"]["phase"] == "Running"
    assert main["ready"] is False
    assert main["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=pod_")
    assert (end["exitCode"], end["reason"]) == (3, "Error")
    assert all(end[field] for field in ("startedAt", "finishedAt", "containerID"))
    assert condition(found, "Ready")["reason"] == "ContainersNotReady"
    assert await events_about(cluster, "pod", "BackOff")


async def test_a_process_that_takes_too_much_memory_is_killed(cluster: Cluster) -> None:
    await cluster.create("pods", pod(memory="24Mi", BURST_MIB=64))

    found = await cluster.seen(
        "pods", "pod", lambda it: main_status(it).get("restartCount", 0) >= 1 and last_end(it).get("exitCode")
    )

    end = last_end(found)
    assert (end["reason"], end["exitCode"]) == ("OOMKilled", 137)


async def test_an_image_that_is_not_there_keeps_a_pod_waiting(cluster: Cluster) -> None:
    await cluster.create("pods", pod(image=NO_IMAGE))

    tried = await cluster.seen("pods", "pod", lambda it: waits_for(it) == "ErrImagePull")
    paused = await cluster.seen("pods", "pod", lambda it: waits_for(it) == "ImagePullBackOff")

    assert tried["status"]["phase"] == "Pending"
    assert NO_IMAGE in main_status(tried)["state"]["waiting"]["message"]
    assert f'Back-off pulling image "{NO_IMAGE}"' in main_status(paused)["state"]["waiting"]["message"]
    assert (main_status(paused)["ready"], main_status(paused)["restartCount"]) == (False, 0)
    assert await events_about(cluster, "pod", "Failed")


async def test_a_setting_that_is_not_there_keeps_a_container_from_being_made(cluster: Cluster) -> None:
    made = pod()
    source = {"configMapKeyRef": {"name": "settings", "key": "color"}}
    made["spec"]["containers"][0]["env"] = [{"name": "COLOR", "valueFrom": source}]
    await cluster.create("pods", made)

    found = await cluster.seen("pods", "pod", lambda it: waits_for(it) == "CreateContainerConfigError")
    await cluster.create("configmaps", config_map(color="blue"))
    healed = await cluster.seen("pods", "pod", is_ready)

    assert main_status(found)["state"]["waiting"]["message"] == 'configmap "settings" not found'
    assert main_status(healed)["restartCount"] == 0


async def test_a_pod_that_fits_nowhere_waits_and_says_why(cluster: Cluster) -> None:
    made = pod()
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "900"}}
    await cluster.create("pods", made)

    found = await cluster.seen("pods", "pod", lambda it: condition(it, "PodScheduled"))

    scheduled = condition(found, "PodScheduled")
    assert found["status"]["phase"] == "Pending"
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "Insufficient cpu" in scheduled["message"]
    assert "nodeName" not in found["spec"]


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (2, "Failed")])
async def test_a_pod_that_is_not_restarted_ends(cluster: Cluster, code: int, phase: str) -> None:
    await cluster.create("pods", pod(restart="Never", EXIT_AFTER_S=1, EXIT_CODE=code))

    found = await cluster.seen("pods", "pod", lambda it: it["status"]["phase"] not in ("Pending", "Running"))

    ended = main_status(found)["state"]["terminated"]
    assert found["status"]["phase"] == phase
    assert (ended["exitCode"], ended["reason"]) == (code, "Error" if code else "Completed")
    assert main_status(found)["restartCount"] == 0


async def test_a_pod_that_is_deleted_ends_before_it_is_gone(cluster: Cluster) -> None:
    await cluster.create("pods", pod())
    since = (await cluster.seen("pods", "pod", is_ready))["metadata"]["resourceVersion"]

    async with cluster.watching("pods", resourceVersion=since) as watched:
        await cluster.delete("pods", "pod")
        events = [await watched.event()]
        while events[-1][0] != "DELETED":
            events.append(await watched.event())

    ending = events[0][1]
    assert events[0][0] == "MODIFIED"
    assert ending["metadata"]["deletionTimestamp"]
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 1
    assert {kind for kind, _ in events[:-1]} == {"MODIFIED"}


async def test_a_pods_field_that_may_not_change_is_refused(cluster: Cluster) -> None:
    await cluster.create("pods", pod())

    path = cluster.path("pods", "pod")
    refused = await cluster.ask("PATCH", path, {"spec": {"hostname": "x"}}, kind="application/merge-patch+json")

    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert refused.causes[0]["reason"] == "FieldValueForbidden"
    assert refused.causes[0]["field"] == "spec"


async def test_pods_are_found_by_where_they_run_and_how_they_are(cluster: Cluster) -> None:
    await cluster.create("pods", pod("one"))
    await cluster.create("pods", pod("other", image=NO_IMAGE))
    node = (await cluster.seen("pods", "one", is_ready))["spec"]["nodeName"]

    running = await cluster.list("pods", fieldSelector=f"status.phase=Running,spec.nodeName={node}")
    pending = await cluster.list("pods", fieldSelector="status.phase!=Running")

    assert [one["metadata"]["name"] for one in running] == ["one"]
    assert [one["metadata"]["name"] for one in pending] == ["other"]


# Logs


async def test_logs_tell_of_this_life_and_of_the_last_one(cluster: Cluster) -> None:
    await cluster.create("pods", pod(EXIT_AT_START=3))
    await cluster.seen("pods", "pod", lambda it: main_status(it).get("restartCount") and last_end(it))
    path = cluster.path("pods/log", "pod")

    async def lives() -> list[Answer]:
        # It crashes on meanwhile, and a kubelet clears away what is older than the last life.
        now = await cluster.ask("GET", path, container="main")
        previous = await cluster.ask("GET", path, container="main", previous="true")
        last_line = await cluster.ask("GET", path, previous="true", tailLines=1)
        is_whole = previous.is_ok and previous.body.rstrip().endswith("exited with 3")
        return [now, previous, last_line] if is_whole and previous.body.endswith(last_line.body) else []

    now, previous, last_line = await cluster.until(lives)

    assert "starting" in previous.body.splitlines()[0]
    assert len(previous.body.splitlines()) > len(last_line.body.splitlines()) == 1
    for log in (now, previous, last_line):
        assert (log.code, log.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")


async def test_there_is_no_log_of_a_life_that_was_not(cluster: Cluster) -> None:
    await cluster.create("pods", pod())
    await cluster.seen("pods", "pod", is_ready)

    previous = await cluster.ask("GET", cluster.path("pods/log", "pod"), previous="true")
    container = await cluster.ask("GET", cluster.path("pods/log", "pod"), container="nope")

    assert (previous.code, previous.body["reason"]) == (400, "BadRequest")
    assert previous.body["message"] == 'previous terminated container "main" in pod "pod" not found'
    assert (container.code, container.body["message"]) == (400, "container nope is not valid for pod pod")

"""Symptoms of pods: they crash, cannot start, are not scheduled, do not go."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from aegis.ai_engine.detection.found import Sighting
from aegis.ai_engine.detection.history import CONFIG_REASONS, IMAGE_REASONS, Death, History
from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.views import PodView, WorkloadView
from aegis.contracts.findings import Severity

# One exit may end well; the second within this time does not.
CRASH_WINDOW = timedelta(minutes=10)
CRASH_IS_OVER_AFTER = timedelta(minutes=3)
OUT_OF_MEMORY_WINDOW = timedelta(minutes=30)
IMAGE_GRACE = timedelta(seconds=10)
CONFIG_GRACE = timedelta(seconds=5)
# A ConfigMap that does not exist will not come by waiting; a volume may take minutes to attach.
MISSING_GRACE = timedelta(seconds=15)
MOUNT_GRACE = timedelta(minutes=2)
UNSCHEDULABLE_GRACE = timedelta(seconds=30)
NOT_READY_GRACE = timedelta(minutes=3)
# What has never been ready may still be starting; a rollout has a deadline of its own, ten minutes by default.
NEVER_READY_GRACE = timedelta(minutes=11)
ENDING_GRACE = timedelta(seconds=30)
EVICTION_IS_OVER_AFTER = timedelta(minutes=5)
MANY = 2
BIRTH = timedelta(seconds=10)


def pod_sightings(inventory: Inventory, history: History, now: datetime) -> Iterator[Sighting]:
    for pod in inventory.pods.values():
        workload = inventory.workload_of(pod)
        if workload is None:
            continue
        if pod.is_ending:
            yield from _stuck(pod, workload, inventory, now)
        elif not pod.is_finished:
            yield from _cannot_start(pod, workload, history, now)
            yield from _not_mounted(pod, workload, inventory, now)
            yield from _not_scheduled(pod, workload, now)
            yield from _not_ready(pod, workload, inventory, now)
    for workload in inventory.workloads.values():
        if workload.ref.kind not in ("Job", "CronJob"):
            yield from _deaths(workload, inventory, history, now)
            yield from _evictions(workload, history, now)


def _deaths(workload: WorkloadView, inventory: Inventory, history: History, now: datetime) -> Iterator[Sighting]:
    alive = {pod.uid: pod for pod in inventory.pods_of(workload) if not pod.is_ending and not pod.is_finished}
    deaths = [one for one in history.deaths(workload, since=now - OUT_OF_MEMORY_WINDOW) if one.pod_uid in alive]
    revisions = {one.revision for one in deaths}
    for revision in sorted(revisions, key=str):
        of_revision = [one for one in deaths if one.revision == revision]
        yield from _out_of_memory(workload, of_revision, now)
        yield from _killed_by_probe(workload, of_revision, now)
        yield from _crashes(workload, of_revision, alive, now)


def _out_of_memory(workload: WorkloadView, deaths: list[Death], now: datetime) -> Iterator[Sighting]:
    for container in sorted({one.container for one in deaths if one.is_out_of_memory}):
        kills = [one for one in deaths if one.is_out_of_memory and one.container == container]
        if now - kills[-1].at > CRASH_WINDOW:
            continue
        yield Sighting(
            workload.ref,
            "OOMKilled",
            since=kills[0].at,
            summary=f"container {container} ran out of memory {len(kills)} times in 30 minutes",
            severity=Severity.CRITICAL if len(kills) >= MANY else Severity.WARNING,
            object_kind="Container",
            object_name=container,
            revision=kills[-1].revision,
            count=len(kills),
        )


def _killed_by_probe(workload: WorkloadView, deaths: list[Death], now: datetime) -> Iterator[Sighting]:
    kills = [one for one in deaths if one.by_probe and now - one.at <= CRASH_WINDOW]
    if len(kills) >= MANY and now - kills[-1].at <= CRASH_IS_OVER_AFTER:
        yield Sighting(
            workload.ref,
            "LivenessKilled",
            since=kills[0].at,
            summary=f"the liveness probe ended {len(kills)} containers that then exited with {kills[-1].exit_code}",
            object_kind="Pod",
            object_name=kills[0].pod_name,
            revision=kills[-1].revision,
            count=len(kills),
        )


def _crashes(
    workload: WorkloadView, deaths: list[Death], alive: dict[str, PodView], now: datetime
) -> Iterator[Sighting]:
    crashes = [one for one in deaths if not one.by_probe and now - one.at <= CRASH_WINDOW]
    by_pod: dict[str, list[Death]] = {}
    for one in crashes:
        known = by_pod.setdefault(one.pod_uid, [])
        if known and one.at - known[-1].at > CRASH_IS_OVER_AFTER:
            known.clear()  # an old exit that ended well has nothing to do with this one
        known.append(one)
    again = {uid: ends for uid, ends in by_pod.items() if _crashes_again(ends, alive[uid], now)}
    if not again:
        return
    ends = sorted((one for found in again.values() for one in found), key=lambda one: one.at)
    backing_off = any(one.waiting == "CrashLoopBackOff" for uid in again for one in alive[uid].containers)
    last = ends[-1]
    yield Sighting(
        workload.ref,
        "CrashLoopBackOff" if backing_off else "Restarting",
        since=ends[0].at,
        summary=f"{len(again)} pods keep exiting with code {last.exit_code} ({last.reason}), {len(ends)} times so far",
        severity=Severity.CRITICAL,
        object_kind="Pod",
        object_name=alive[next(iter(again))].name,
        revision=last.revision,
        count=len(ends),
    )


def _crashes_again(ends: list[Death], pod: PodView, now: datetime) -> bool:
    if any(one.waiting == "CrashLoopBackOff" for one in pod.containers):
        return True
    return len(ends) >= MANY and now - ends[-1].at <= CRASH_IS_OVER_AFTER


def _cannot_start(pod: PodView, workload: WorkloadView, history: History, now: datetime) -> Iterator[Sighting]:
    for container in pod.containers:
        since = history.waiting_since(pod, container)
        if since is None:
            continue
        if container.waiting in IMAGE_REASONS and (container.waiting != "ErrImagePull" or now - since >= IMAGE_GRACE):
            reason = "ImagePullBackOff"
        elif container.waiting in CONFIG_REASONS and now - since >= CONFIG_GRACE:
            reason = "CreateContainerConfigError"
        else:
            continue
        yield Sighting(
            workload.ref,
            reason,
            since=pod.created_at,
            summary=f"container {container.name} of {pod.name} waits: {container.waiting_message or container.waiting}",
            severity=Severity.CRITICAL,
            object_kind="Pod",
            object_name=pod.name,
            revision=pod.revision,
        )


def _not_mounted(pod: PodView, workload: WorkloadView, inventory: Inventory, now: datetime) -> Iterator[Sighting]:
    if pod.phase != "Pending" or any(one.running_since or one.terminated for one in pod.containers):
        return
    for event in inventory.events_about([pod.uid], "FailedMount", "FailedAttachVolume"):
        grace = MISSING_GRACE if "not found" in event.message else MOUNT_GRACE
        if now - event.first_at >= grace:
            yield Sighting(
                workload.ref,
                "FailedMount",
                since=pod.created_at,
                summary=f"{pod.name} cannot start: {event.message}",
                severity=Severity.CRITICAL,
                object_kind="Pod",
                object_name=pod.name,
                revision=pod.revision,
            )
            return


def _not_scheduled(pod: PodView, workload: WorkloadView, now: datetime) -> Iterator[Sighting]:
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is None or scheduled.status != "False" or scheduled.reason != "Unschedulable":
        return
    if now - scheduled.since >= UNSCHEDULABLE_GRACE:
        yield Sighting(
            workload.ref,
            "Unschedulable",
            since=scheduled.since,
            summary=f"{pod.name} finds no node: {scheduled.message}",
            object_kind="Pod",
            object_name=pod.name,
            revision=pod.revision,
        )


def _not_ready(pod: PodView, workload: WorkloadView, inventory: Inventory, now: datetime) -> Iterator[Sighting]:
    ready = pod.conditions.get("Ready")
    running = bool(pod.containers) and all(
        one.running_since is not None for one in pod.containers if not one.terminated
    )
    if ready is None or ready.status != "False" or not running or workload.ref.kind in ("Job", "CronJob"):
        return
    was_ready = ready.since - pod.created_at > BIRTH
    grace = NOT_READY_GRACE if was_ready else NEVER_READY_GRACE
    if now - ready.since >= grace and _node_is_ready(pod, inventory):
        yield Sighting(
            workload.ref,
            "NotReady",
            since=ready.since,
            summary=f"{pod.name} runs and is not ready for {round((now - ready.since).total_seconds())} s",
            object_kind="Pod",
            object_name=pod.name,
            revision=pod.revision,
        )


def _stuck(pod: PodView, workload: WorkloadView, inventory: Inventory, now: datetime) -> Iterator[Sighting]:
    if pod.deleted_at is None or now - pod.deleted_at < ENDING_GRACE or not _node_is_ready(pod, inventory):
        return
    held_by = f", held by {', '.join(pod.finalizers)}" if pod.finalizers else ""
    yield Sighting(
        workload.ref,
        "StuckTerminating",
        since=pod.deleted_at,
        summary=f"{pod.name} should have been gone since {pod.deleted_at:%H:%M:%S}{held_by}",
        object_kind="Pod",
        object_name=pod.name,
        revision=pod.revision,
    )


def _evictions(workload: WorkloadView, history: History, now: datetime) -> Iterator[Sighting]:
    evictions = history.evictions(workload, since=now - CRASH_WINDOW)
    if not evictions or now - evictions[-1].at > EVICTION_IS_OVER_AFTER:
        return
    last = evictions[-1]
    yield Sighting(
        workload.ref,
        "Evicted",
        since=evictions[0].at,
        summary=f"{len(evictions)} pods were evicted; the last: {last.message}",
        object_kind="Pod",
        object_name=evictions[0].pod_name,
        revision=last.revision,
        count=len(evictions),
    )


def _node_is_ready(pod: PodView, inventory: Inventory) -> bool:
    node = inventory.node_named(pod.node)
    ready = node.conditions.get("Ready") if node is not None else None
    return ready is None or ready.status == "True"

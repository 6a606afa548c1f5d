"""Symptoms of workloads, Services, autoscalers, nodes and budgets."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from aegis.ai_engine.detection.found import Sighting
from aegis.ai_engine.detection.history import History
from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.views import (
    DisruptionBudgetView,
    HpaView,
    NodeView,
    ServiceView,
    WorkloadView,
)
from aegis.contracts.findings import Severity
from aegis.contracts.targets import WorkloadRef
from aegis.kit.selectors import selects

# Replacing a part's only pod leaves its Service without endpoints for some seconds.
UNSERVED_GRACE = timedelta(seconds=20)
CREATE_GRACE = timedelta(seconds=5)
# An autoscaler may touch its maximum while it follows a surge.
AT_MAXIMUM_GRACE = timedelta(seconds=30)
# A new autoscaler has no metrics for its first half minute.
BLIND_GRACE = timedelta(seconds=30)
YOUNG_AUTOSCALER = timedelta(seconds=90)
NODE_GRACE = timedelta(seconds=10)
DRAIN_GRACE = timedelta(seconds=30)
FAILURES_MANY = 2
_CLUSTER_DNS = ("kube-system", "kube-dns")


def workload_sightings(inventory: Inventory, history: History, now: datetime) -> Iterator[Sighting]:
    for workload in inventory.workloads.values():
        if workload.ref.kind == "Deployment":
            yield from _past_deadline(workload, inventory)
            yield from _cannot_create(workload, now)
        elif workload.ref.kind == "Job":
            yield from _job(workload, inventory)
        elif workload.ref.kind == "CronJob":
            yield from _cron_job(workload, inventory)
    for service in inventory.services.values():
        yield from _unserved(service, inventory, history, now)
    for hpa in inventory.hpas.values():
        yield from _autoscaler(hpa, inventory, now)
    for node in inventory.nodes.values():
        yield from _node(node, inventory, now)
    for budget in inventory.budgets.values():
        yield from _drain(budget, inventory, history, now)


def _past_deadline(workload: WorkloadView, inventory: Inventory) -> Iterator[Sighting]:
    progressing = workload.conditions.get("Progressing")
    if progressing is None or progressing.reason != "ProgressDeadlineExceeded":
        return
    revisions = inventory.revisions_of(workload)
    yield Sighting(
        workload.ref,
        "ProgressDeadlineExceeded",
        since=progressing.since,
        summary=f"the rollout did not finish in time: {progressing.message}",
        object_kind="Deployment",
        object_name=workload.ref.name,
        revision=revisions[0].hash if revisions else None,
    )


def _cannot_create(workload: WorkloadView, now: datetime) -> Iterator[Sighting]:
    failure = workload.conditions.get("ReplicaFailure")
    if failure is None or failure.status != "True" or now - failure.since < CREATE_GRACE:
        return
    yield Sighting(
        workload.ref,
        "FailedCreate",
        since=failure.since,
        summary=f"pods are refused: {failure.message}",
        object_kind="Deployment",
        object_name=workload.ref.name,
    )


def _job(job: WorkloadView, inventory: Inventory) -> Iterator[Sighting]:
    top = inventory.top_of(job)
    failed = job.conditions.get("Failed")
    if top is not job:
        return  # its CronJob is looked at as a whole: one failed run is no news
    if failed is not None and failed.status == "True":
        yield Sighting(
            top.ref,
            failed.reason or "BackoffLimitExceeded",
            since=failed.since,
            summary=f"Job {job.ref.name} failed for good: {failed.message}",
            object_kind="Job",
            object_name=job.ref.name,
            count=job.failed,
        )
    elif job.failed >= FAILURES_MANY and (job.conditions.get("Complete") is None):
        yield Sighting(
            top.ref,
            "JobPodsFailing",
            since=job.created_at,
            summary=f"{job.failed} pods of Job {job.ref.name} failed",
            object_kind="Job",
            object_name=job.ref.name,
            count=job.failed,
        )


def _cron_job(cron_job: WorkloadView, inventory: Inventory) -> Iterator[Sighting]:
    in_a_row: list[WorkloadView] = []
    for job in inventory.jobs_of(cron_job):
        if (complete := job.conditions.get("Complete")) is not None and complete.status == "True":
            in_a_row = []
        elif (failed := job.conditions.get("Failed")) is not None and failed.status == "True":
            in_a_row.append(job)
    if len(in_a_row) >= FAILURES_MANY:
        yield Sighting(
            cron_job.ref,
            "CronJobFailing",
            since=in_a_row[0].conditions["Failed"].since,
            summary=f"the last {len(in_a_row)} runs failed: {in_a_row[-1].conditions['Failed'].message}",
            object_kind="CronJob",
            object_name=cron_job.ref.name,
            count=len(in_a_row),
        )


def _unserved(service: ServiceView, inventory: Inventory, history: History, now: datetime) -> Iterator[Sighting]:
    since = history.unserved_since(service)
    if since is None or now - since < UNSERVED_GRACE:
        return
    behind = inventory.workloads_behind(service)
    once = inventory.workloads.get(history.stood_behind(service) or "")
    subject = behind[0] if behind else once
    if subject is None or (subject.replicas == 0 and not _everybody_needs(service)):
        return  # nobody is meant to answer: a person scaled it to nothing
    yield Sighting(
        subject.ref,
        "NoReadyEndpoints" if behind else "SelectsNothing",
        since=since,
        summary=f"Service {service.name} has no ready endpoint"
        if behind
        else f"Service {service.name} selects no pod, while {subject.ref} is there",
        severity=Severity.CRITICAL,
        object_kind="Service",
        object_name=service.name,
    )


def _everybody_needs(service: ServiceView) -> bool:
    return (service.namespace, service.name) == _CLUSTER_DNS


def _autoscaler(hpa: HpaView, inventory: Inventory, now: datetime) -> Iterator[Sighting]:
    ref = WorkloadRef(
        cluster_id=inventory.cluster_id,
        namespace=hpa.namespace,
        kind=hpa.target_kind or "Deployment",
        name=hpa.target_name or hpa.name,
    )
    limited, active = hpa.conditions.get("ScalingLimited"), hpa.conditions.get("ScalingActive")
    at_maximum = limited is not None and limited.status == "True" and limited.reason == "TooManyReplicas"
    if limited is not None and at_maximum and hpa.over_target and now - limited.since >= AT_MAXIMUM_GRACE:
        yield Sighting(
            ref,
            "HpaAtMax",
            since=limited.since,
            summary=f"the autoscaler wants more than its maximum of {hpa.maximum} replicas",
            object_kind="HorizontalPodAutoscaler",
            object_name=hpa.name,
        )
    blind = active is not None and active.status == "False" and active.reason.startswith("FailedGet")
    is_young = now - hpa.created_at < YOUNG_AUTOSCALER
    if active is not None and blind and not is_young and now - active.since >= BLIND_GRACE:
        yield Sighting(
            ref,
            "HpaBlind",
            since=active.since,
            summary=f"the autoscaler cannot see what it should follow: {active.message}",
            object_kind="HorizontalPodAutoscaler",
            object_name=hpa.name,
        )


def _node(node: NodeView, inventory: Inventory, now: datetime) -> Iterator[Sighting]:
    ready = node.conditions.get("Ready")
    if ready is None or ready.status == "True" or now - ready.since < NODE_GRACE:
        return
    yield Sighting(
        WorkloadRef(cluster_id=inventory.cluster_id, namespace="", kind="Node", name=node.name),
        "NodeNotReady",
        since=ready.since,
        summary=f"node {node.name} is not ready: {ready.message or ready.reason}",
        severity=Severity.CRITICAL,
        object_kind="Node",
        object_name=node.name,
    )


def _drain(budget: DisruptionBudgetView, inventory: Inventory, history: History, now: datetime) -> Iterator[Sighting]:
    """A drain waits for a budget that will never allow it, because nothing is unhealthy that could recover."""
    if budget.allowed > 0 or budget.expected == 0 or budget.healthy < budget.expected:
        return
    for pod in inventory.pods.values():
        node = inventory.node_named(pod.node) if pod.namespace == budget.namespace else None
        since = history.cordoned_since(node) if node is not None else None
        if node is None or since is None or not selects(budget.selector, pod.labels):
            continue
        workload = inventory.workload_of(pod)
        if workload is None or pod.is_ending or now - since < DRAIN_GRACE:
            continue
        yield Sighting(
            workload.ref,
            "DrainBlocked",
            since=since,
            summary=f"PodDisruptionBudget {budget.name} never allows {pod.name} to leave node {node.name}",
            object_kind="PodDisruptionBudget",
            object_name=budget.name,
        )
        return

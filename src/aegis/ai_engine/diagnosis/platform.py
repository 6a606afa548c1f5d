"""What Kubernetes says plainly: images, configuration, quotas, places, nodes, jobs, probes, disks."""

from collections.abc import Iterator

from aegis.ai_engine.diagnosis.case import Case, hypothesis
from aegis.ai_engine.sources.views import WorkloadView
from aegis.contracts.diagnoses import CauseKind, Hypothesis
from aegis.contracts.findings import Symptom
from aegis.contracts.targets import WorkloadRef

_PLAIN = {
    "ImagePullBackOff": (CauseKind.IMAGE_UNAVAILABLE, 0.95, "its image cannot be pulled"),
    "CreateContainerConfigError": (CauseKind.CONFIGURATION_MISSING, 0.95, "configuration it needs is not there"),
    "FailedMount": (CauseKind.CONFIGURATION_MISSING, 0.92, "a volume it needs cannot be mounted"),
    "SelectsNothing": (CauseKind.CONFIGURATION_MISSING, 0.9, "the Service in front of it selects no pod any more"),
    "Unschedulable": (CauseKind.UNSCHEDULABLE, 0.8, "no node has room for its pods"),
    "CronJobFailing": (CauseKind.JOB_FAILING, 0.9, "run after run fails"),
    "JobPodsFailing": (CauseKind.JOB_FAILING, 0.8, "its pods fail one after the other"),
    "LivenessKilled": (CauseKind.PROBE_TOO_TIGHT, 0.88, "its liveness probe ends containers that were working"),
    "StuckTerminating": (CauseKind.UNKNOWN, 0.6, "a pod waits for something that does not let it go"),
    "DrainBlocked": (CauseKind.UNKNOWN, 0.6, "its disruption budget never lets a pod leave the node being drained"),
}


def plain(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    for symptom in case.symptoms(workload.ref):
        known = _PLAIN.get(symptom.reason)
        if known is not None:
            cause, confidence, text = known
            yield hypothesis(cause, workload.ref, confidence, text, [symptom])
        elif symptom.object_kind == "Job":
            yield hypothesis(CauseKind.JOB_FAILING, workload.ref, 0.9, "the Job failed for good", [symptom])
        elif symptom.reason == "FailedCreate":
            yield _refused(workload.ref, symptom)
        elif symptom.reason == "Evicted":
            yield _evicted(workload.ref, symptom)


def _refused(ref: WorkloadRef, symptom: Symptom) -> Hypothesis:
    if "exceeded quota" in symptom.summary:
        return hypothesis(CauseKind.QUOTA_EXHAUSTED, ref, 0.95, "the namespace's quota is used up", [symptom])
    return hypothesis(CauseKind.UNKNOWN, ref, 0.6, "the API server refuses its pods", [symptom])


def _evicted(ref: WorkloadRef, symptom: Symptom) -> Hypothesis:
    about_disk = any(word in symptom.summary.lower() for word in ("emptydir", "ephemeral-storage", "disk"))
    if about_disk:
        return hypothesis(CauseKind.DISK_FULL, ref, 0.8, "its pods are evicted for the disk they fill", [symptom])
    return hypothesis(CauseKind.UNKNOWN, ref, 0.5, "its pods are evicted", [symptom])


def lost_node(case: Case, node: WorkloadRef) -> Iterator[Hypothesis]:
    shown = case.symptoms(node, "NodeNotReady")
    if shown:
        names = ", ".join(sorted(str(one) for one in case.members - {node}))
        text = f"node {node.name} does not answer" + (f"; it carried {names}" if names else "")
        yield hypothesis(CauseKind.NODE_LOST, node, 0.97, text, shown)

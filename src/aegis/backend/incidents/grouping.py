"""How findings add up to an incident. Pure."""

from collections.abc import Iterable, Mapping

from aegis.contracts.base import TEXT_MAX
from aegis.contracts.diagnoses import Diagnosis
from aegis.contracts.findings import Alert, Finding, Severity
from aegis.contracts.targets import WorkloadRef

FINDINGS_KEPT = 100
NAME_MAX = 253

_WORKLOAD_LABELS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "job_name": "Job",
    "job": "Job",
}


def merged(known: Iterable[Finding], new: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return one finding per fingerprint, the newest occurrence with the oldest start; the newest ones are kept."""
    by_fingerprint: dict[str, Finding] = {}
    for finding in [*known, *new]:
        before = by_fingerprint.pop(finding.fingerprint, None)
        if before is not None:
            finding = _occurred_again(before, finding)  # noqa: PLW2901
        by_fingerprint[finding.fingerprint] = finding
    return tuple(by_fingerprint.values())[-FINDINGS_KEPT:]


def _occurred_again(before: Finding, now: Finding) -> Finding:
    newer, older = (now, before) if now.observed_at >= before.observed_at else (before, now)
    return newer.model_copy(update={"started_at": min(older.started_at, newer.started_at)})


def severity_of(findings: Iterable[Finding]) -> Severity:
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.INFO)


def title_of(workload: WorkloadRef, diagnosis: Diagnosis | None, findings: Iterable[Finding]) -> str:
    if diagnosis is not None:
        cause = diagnosis.probable
        elsewhere = f", because of {cause.subject}" if str(cause.subject) != str(workload) else ""
        title = f"{workload}{elsewhere}: {cause.summary or cause.cause}"
    else:
        first = next(iter(findings), None)
        title = f"{workload}: {first.summary}" if first is not None else str(workload)
    return title[:TEXT_MAX]


def all_resolved(findings: Iterable[Finding]) -> bool:
    """Whether nothing but alerts made the incident, and all of them are resolved."""
    found = list(findings)
    return bool(found) and all(isinstance(finding, Alert) and finding.resolved for finding in found)


def workload_of(labels: Mapping[str, str], *, cluster_id: str) -> WorkloadRef:
    """Return the workload that an alert's labels name, as kube-state-metrics and our own rules write them.

    >>> str(workload_of({"namespace": "shop", "deployment": "web"}, cluster_id="c"))
    'shop/Deployment/web'
    >>> str(workload_of({"namespace": "shop", "kind": "StatefulSet", "workload": "store"}, cluster_id="c"))
    'shop/StatefulSet/store'
    """
    kind, name = _named(labels)
    namespace = labels.get("namespace", "")[:NAME_MAX]
    return WorkloadRef(cluster_id=cluster_id, namespace=namespace, kind=kind[:NAME_MAX], name=name[:NAME_MAX])


def _named(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return kind and name of what the labels speak of; of the alert itself where they name no workload."""
    if labels.get("workload"):
        return labels.get("kind") or labels.get("workload_type") or "Deployment", labels["workload"]
    for label, kind in _WORKLOAD_LABELS.items():
        if labels.get(label):
            return kind, labels[label]
    return "Alert", labels.get("alertname") or "unknown"

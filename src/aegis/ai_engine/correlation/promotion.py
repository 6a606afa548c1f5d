"""What is merely unusual becomes trouble where a rollout beside it explains it."""

from collections.abc import Sequence
from datetime import timedelta

from aegis.ai_engine.detection.history import History
from aegis.ai_engine.sources.inventory import Inventory
from aegis.catalogue.signals import CPU_THROTTLED, CPU_USAGE, QUEUE_LENGTH
from aegis.contracts.findings import Anomaly, Finding, Severity
from aegis.contracts.targets import WorkloadRef

AFTER_ROLLOUT = timedelta(minutes=10)
_CPU = (CPU_THROTTLED.name, CPU_USAGE.name)


def promote(findings: Sequence[Finding], inventory: Inventory, history: History) -> list[Finding]:
    """Raise a growing queue, and the CPU that something just rolled out beside it burns, to trouble.

    A queue alone may grow because a person wants it so; burning CPU alone may be a batch job's right.
    """
    starved = {one.workload for one in findings if _is(one, *_CPU) and _was_rolled_out_before(one, inventory, history)}
    growing = {one.workload.namespace for one in findings if _is(one, QUEUE_LENGTH.name)}
    troubled = {one for one in starved if one.namespace in growing}
    namespaces = {one.namespace for one in troubled}
    return [_promoted(one, troubled, namespaces) for one in findings]


def _promoted(finding: Finding, troubled: set[WorkloadRef], namespaces: set[str]) -> Finding:
    starved = _is(finding, *_CPU) and finding.workload in troubled
    queued = _is(finding, QUEUE_LENGTH.name) and finding.workload.namespace in namespaces
    if finding.severity is Severity.INFO and (starved or queued):
        return finding.model_copy(update={"severity": Severity.WARNING})
    return finding


def _is(finding: Finding, *signals: str) -> bool:
    return isinstance(finding, Anomaly) and finding.signal in signals


def _was_rolled_out_before(finding: Finding, inventory: Inventory, history: History) -> bool:
    view = inventory.find(finding.workload)
    rollout = history.last_rollout(view) if view is not None else None
    return rollout is not None and timedelta() <= finding.started_at - rollout.at <= AFTER_ROLLOUT

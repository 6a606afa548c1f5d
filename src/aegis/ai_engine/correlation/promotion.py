"""What is merely unusual becomes trouble where a rollout beside it explains it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from aegis.ai_engine.detection.board import Board
from aegis.ai_engine.detection.history import History, Rollout
from aegis.ai_engine.sources.inventory import Inventory
from aegis.catalogue.signals import CPU_THROTTLED, CPU_USAGE, QUEUE_LENGTH
from aegis.contracts.findings import Anomaly, Finding, Severity
from aegis.contracts.targets import WorkloadRef

AFTER_ROLLOUT = timedelta(minutes=10)
LATELY = timedelta(seconds=60)
BURNS_TIMES = 2.0


def promote(
    findings: Sequence[Finding], inventory: Inventory, history: History, board: Board, now: datetime
) -> list[Finding]:
    """Raise a growing queue to trouble where something just rolled out beside it burns more CPU than before.

    A queue alone may grow because a person wants it so.
    """
    queued = {one.workload.namespace for one in findings if _is_queue(one)}
    if not queued:
        return list(findings)
    explained = {
        workload.ref.namespace
        for workload in inventory.workloads.values()
        if workload.ref.namespace in queued
        and (rollout := history.last_rollout(workload)) is not None
        and timedelta() <= now - rollout.at <= AFTER_ROLLOUT
        and _burns_more(workload.ref, rollout, board, now)
    }
    return [
        one.model_copy(update={"severity": Severity.WARNING})
        if _is_queue(one) and one.workload.namespace in explained
        else one
        for one in findings
    ]


def _is_queue(finding: Finding) -> bool:
    return isinstance(finding, Anomaly) and finding.signal == QUEUE_LENGTH.name


def _burns_more(workload: WorkloadRef, rollout: Rollout, board: Board, now: datetime) -> bool:
    for signal in (CPU_USAGE, CPU_THROTTLED):
        start, middle, end = (moment.timestamp() for moment in (rollout.at - AFTER_ROLLOUT, rollout.at, now))
        before = board.window(signal, workload, start=start, end=middle).median
        lately = board.window(signal, workload, start=end - LATELY.total_seconds(), end=end).median
        if before is not None and lately is not None and lately >= before * BURNS_TIMES + signal.floor:
            return True
    return False

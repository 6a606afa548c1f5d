"""Too much to do for what there is: traffic, CPU, connections."""

from collections.abc import Iterator

from aegis.ai_engine.diagnosis.case import ENOUGH, Case, hypothesis
from aegis.ai_engine.sources.views import WorkloadView
from aegis.catalogue.signals import (
    CALL_LATENCY,
    CONNECTIONS_REFUSED,
    CONNECTIONS_USAGE,
    CPU_THROTTLED,
    CPU_USAGE,
    ERROR_RATIO,
    LATENCY,
    POOL_USAGE,
    REQUEST_RATE,
)
from aegis.contracts.diagnoses import CauseKind, Hypothesis
from aegis.contracts.targets import WorkloadRef

TRAFFIC_TIMES = 1.5
CPU_NEAR_LIMIT = 0.85
THROTTLED = 0.25
FULL = 0.95


def saturation(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    """Yield that traffic is more than it can take: traffic is up, users feel it, and CPU is near its limit."""
    felt = case.anomalies(workload.ref, LATENCY, ERROR_RATIO)
    at_maximum = case.symptoms(workload.ref, "HpaAtMax")
    blind = case.symptoms(workload.ref, "HpaBlind")
    if at_maximum:
        text = "load asks for more replicas than the autoscaler may start"
        yield hypothesis(CauseKind.TRAFFIC_SATURATION, workload.ref, 0.85, text, [*at_maximum, *felt])
    elif blind:
        text = "the autoscaler cannot follow the load, because it sees no metrics of its pods"
        yield hypothesis(CauseKind.TRAFFIC_SATURATION, workload.ref, 0.7, text, [*blind, *felt])
    elif felt and more_traffic(case, workload.ref) and is_out_of_cpu(case, workload.ref):
        text = f"traffic is {traffic_ratio(case, workload.ref):.1f} times the usual, and CPU is near its limit"
        yield hypothesis(CauseKind.TRAFFIC_SATURATION, workload.ref, 0.8, text, felt)


def throttling(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    felt = case.anomalies(workload.ref, LATENCY, ERROR_RATIO)
    if felt and case.lasts(CPU_THROTTLED, workload.ref, above=THROTTLED) and not more_traffic(case, workload.ref):
        share = case.lately(CPU_THROTTLED, workload.ref).median or 0.0
        text = f"it is throttled {share:.0%} of the time at the usual traffic"
        yield hypothesis(CauseKind.CPU_LIMIT_TOO_LOW, workload.ref, 0.7, text, felt)


def connections(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    """Yield that connections have run out, at the side that hands them out slowly."""
    ref = workload.ref
    refused = case.anomalies(ref, CONNECTIONS_REFUSED)
    if refused or case.lasts(CONNECTIONS_USAGE, ref, above=FULL):
        text = "it has no connection left to give"
        yield hypothesis(CauseKind.CONNECTIONS_EXHAUSTED, ref, 0.85, text, refused)
    full = case.anomalies(ref, POOL_USAGE) or case.lasts(POOL_USAGE, ref, above=FULL)
    if full and case.anomalies(ref, LATENCY, ERROR_RATIO):
        slow = slow_dependency(case, ref)
        if slow is not None and more_traffic(case, slow) and is_out_of_cpu(case, slow):
            return  # what it waits for has too much to do: that is the cause, and a dry pool its effect
        text = f"the connection pool of {ref.name} is dry" + (f": {slow.name} answers slowly" if slow else "")
        evidence = case.anomalies(ref, POOL_USAGE, LATENCY, ERROR_RATIO)
        confidence = 0.8 if slow is not None else 0.65
        yield hypothesis(CauseKind.CONNECTIONS_EXHAUSTED, slow or ref, confidence, text, evidence)


def slow_dependency(case: Case, workload: WorkloadRef) -> WorkloadRef | None:
    """Return what it calls that has become slow; without a call graph, a slow one that hands out connections."""
    for needed in case.neighbourhood.callees(workload):
        if case.anomalies(needed, LATENCY) or _calls_are_slow(case, workload, needed):
            return needed
    if case.neighbourhood.is_known(workload):
        return None
    beside = [
        other
        for other in case.findings
        if other != workload
        and other.namespace == workload.namespace
        and case.anomalies(other, LATENCY)
        and case.board.has(CONNECTIONS_USAGE, other)
    ]
    return min(beside, key=lambda one: (case.onset(one), str(one)), default=None)


def _calls_are_slow(case: Case, caller: WorkloadRef, callee: WorkloadRef) -> bool:
    found = case.anomalies(caller, CALL_LATENCY)
    return any(f"peer_workload={callee.name}" in one.summary for one in found)


def more_traffic(case: Case, workload: WorkloadRef) -> bool:
    return traffic_ratio(case, workload) >= TRAFFIC_TIMES


def traffic_ratio(case: Case, workload: WorkloadRef) -> float:
    """Return the traffic of the last minute against the usual; 1 where it is not known."""
    band, now = case.usual(REQUEST_RATE, workload), case.lately(REQUEST_RATE, workload).median
    if band is None or now is None:
        return 1.0
    return now / max((band.low + band.high) / 2, REQUEST_RATE.floor)


def is_out_of_cpu(case: Case, workload: WorkloadRef) -> bool:
    """Whether CPU was near its limit for most of the last minute: who queues for it has good moments too."""
    return any(
        len(window := case.lately(signal, workload)) >= ENOUGH and (window.median or 0.0) >= limit
        for signal, limit in ((CPU_USAGE, CPU_NEAR_LIMIT), (CPU_THROTTLED, THROTTLED))
    )


def is_short_of_connections(case: Case, workload: WorkloadRef) -> bool:
    """Whether it, or something it calls, has no connections left: more replicas would take even more."""
    around = [workload, *case.neighbourhood.dependencies(workload)]
    return any(
        case.lasts(signal, one, above=FULL) or case.anomalies(one, CONNECTIONS_REFUSED)
        for one in around
        for signal in (POOL_USAGE, CONNECTIONS_USAGE)
    )

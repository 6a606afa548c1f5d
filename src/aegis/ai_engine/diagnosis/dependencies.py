"""Is it something that it needs? Then restarting, scaling or rolling it back would not help."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from aegis.ai_engine.correlation.grouping import TOGETHER, is_effect
from aegis.ai_engine.diagnosis.case import Case, hypothesis
from aegis.ai_engine.diagnosis.load import more_traffic
from aegis.ai_engine.sources.views import WorkloadView
from aegis.catalogue.signals import CALL_ERROR_RATIO, CONNECTIONS_USAGE, ERROR_RATIO, LATENCY
from aegis.contracts.diagnoses import CauseKind, Hypothesis
from aegis.contracts.findings import Finding, Severity
from aegis.contracts.targets import WorkloadRef

# Whoever depends on it may notice before the thing itself shows anything.
SLACK = timedelta(seconds=60)
MOST_CALLS_FAIL = 0.5


def outage(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    """Yield the things it needs that are broken, the deepest first."""
    needed = case.neighbourhood.dependencies(workload.ref)
    for ref, depth in sorted(needed.items(), key=lambda one: (-one[1], str(one[0]))):
        why = broken(case, ref) or _calls_fail(case, workload.ref, ref)
        if why is not None:
            text = f"{ref} {why}, and {workload.ref.name} needs it"
            confidence = 0.84 + min(depth, 3) * 0.01
            yield hypothesis(CauseKind.DEPENDENCY_OUTAGE, ref, confidence, text, case.findings.get(ref, ()))


def crashing(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    """Yield that what others need keeps crashing, though nobody changed it."""
    shown = case.symptoms(workload.ref, "CrashLoopBackOff", "Restarting")
    callers = case.neighbourhood.callers(workload.ref)
    # Out of memory has causes of its own, which the next kill tells apart.
    if shown and callers and not case.symptoms(workload.ref, "OOMKilled"):
        names = ", ".join(sorted(one.name for one in callers))
        text = f"it keeps crashing, and {names} need it"
        yield hypothesis(CauseKind.DEPENDENCY_OUTAGE, workload.ref, 0.72, text, shown)


def unserved(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    """Yield that nothing answers for it, where nothing says why."""
    shown = case.symptoms(workload.ref, "NoReadyEndpoints")
    if shown:
        own = _own(case, workload.ref)
        text = "nothing is ready behind its Service"
        if workload.replicas == 0:
            text += ": it is scaled to nothing"
        elif own:
            text += f": {own[0].summary}"
        others = [one for one in case.members if one != workload.ref]
        confidence = 0.75 if others or workload.replicas == 0 else 0.6
        yield hypothesis(CauseKind.DEPENDENCY_OUTAGE, workload.ref, confidence, text, [*own, *shown])


def slow(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    """Yield the deepest of several slow workloads: the others wait for it."""
    ref = workload.ref
    if (
        not case.anomalies(ref, LATENCY)
        or more_traffic(case, ref)
        or any(case.anomalies(one, LATENCY) for one in case.neighbourhood.callees(ref))
    ):
        return
    waiting = [
        other
        for other in case.members
        if other != ref and case.anomalies(other, LATENCY) and _may_wait_for(case, other, ref)
    ]
    if waiting:
        names = ", ".join(sorted(one.name for one in waiting))
        text = f"it answers slowly, and {names} wait for it"
        yield hypothesis(CauseKind.DEPENDENCY_OUTAGE, ref, 0.62, text, case.anomalies(ref, LATENCY))


def _may_wait_for(case: Case, waiting: WorkloadRef, slow: WorkloadRef) -> bool:
    if slow in case.neighbourhood.dependencies(waiting):
        return True
    unknown = not case.neighbourhood.is_known(waiting) and not case.neighbourhood.is_known(slow)
    # Without a call graph: what hands out connections is what others wait for.
    return unknown and case.board.has(CONNECTIONS_USAGE, slow) and not case.board.has(CONNECTIONS_USAGE, waiting)


def broken(case: Case, ref: WorkloadRef) -> str | None:
    """Return what is wrong with a workload itself; None if it seems well, or was down long before the incident."""
    view, own = case.view(ref), _own(case, ref)
    since = case.down_since(view) if view is not None else None
    if since is not None and since >= case.opened_at - TOGETHER:
        return "has no ready endpoint"
    if since is None and view is not None and view.ready == 0:
        return "has no ready pod"
    return f"is broken itself ({own[0].summary})" if own else None


def broke_at(case: Case, ref: WorkloadRef) -> datetime:
    view = case.view(ref)
    since = case.down_since(view) if view is not None else None
    return since if since is not None else case.onset(ref)


def _own(case: Case, ref: WorkloadRef) -> list[Finding]:
    return [one for one in case.findings.get(ref, ()) if not is_effect(one) and one.severity is not Severity.INFO]


def explains(case: Case, workload: WorkloadRef) -> WorkloadRef | None:
    """Return something it needs that broke no later than it did: then its own symptoms are effects."""
    for needed in case.neighbourhood.dependencies(workload):
        if broken(case, needed) is not None and case.onset(needed) <= case.onset(workload) + SLACK:
            return needed
    return None


def _calls_fail(case: Case, caller: WorkloadRef, callee: WorkloadRef) -> str | None:
    """Whether calls to it fail although it reports nothing: the way there, or it, is broken."""
    labels = {"peer_workload": callee.name}
    if more_traffic(case, callee):
        return None  # it has too much to do, which is another matter
    if not case.lasts(CALL_ERROR_RATIO, caller, above=MOST_CALLS_FAIL, **labels):
        return None
    if case.board.has(ERROR_RATIO, callee) and not case.anomalies(callee, ERROR_RATIO):
        return "cannot be reached although it is well"
    return "fails most of the calls made to it"

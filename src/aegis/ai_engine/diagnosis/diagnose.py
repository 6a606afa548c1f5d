"""All rules over all workloads of an incident, ranked."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from aegis.ai_engine.correlation.grouping import is_effect, opens_incident
from aegis.ai_engine.diagnosis import dependencies, load, memory, platform, rollouts
from aegis.ai_engine.diagnosis.case import Case, hypothesis
from aegis.ai_engine.diagnosis.lone_pod import lone_bad_pod
from aegis.ai_engine.sources.views import WorkloadView
from aegis.contracts.diagnoses import CauseKind, Diagnosis, Hypothesis
from aegis.contracts.targets import WorkloadRef

HYPOTHESES_MAX = 8
# A cause is worth naming; below this the answer is that we do not know.
CONFIDENT = 0.6
# Trouble in something that others of the incident need explains theirs.
DEEPER = 0.03
# What something it needs explains is hardly its own fault.
EXPLAINED = 0.5

Rule = Callable[[Case, WorkloadView], Iterable[Hypothesis]]
RULES: tuple[Rule, ...] = (
    rollouts.bad_revision,
    platform.plain,
    memory.memory,
    load.connections,
    load.saturation,
    load.throttling,
    dependencies.outage,
    dependencies.crashing,
    dependencies.unserved,
    dependencies.slow,
)
_EXPLAINABLE = frozenset({
    CauseKind.DEPENDENCY_OUTAGE, CauseKind.BAD_REVISION, CauseKind.TRAFFIC_SATURATION, CauseKind.CPU_LIMIT_TOO_LOW,
    CauseKind.PROBE_TOO_TIGHT,
})  # fmt: skip


def diagnose(case: Case) -> Diagnosis:
    """Return hypotheses about everything in the incident, the most probable first; never none."""
    found = _without_echoes([_ranked(case, one) for one in _all(case)])
    best: dict[tuple[CauseKind, WorkloadRef], Hypothesis] = {}
    for one in sorted(found, key=_order):
        best.setdefault((one.cause, one.subject), one)
    hypotheses = list(best.values())[:HYPOTHESES_MAX]
    if not hypotheses or hypotheses[0].confidence < CONFIDENT:
        hypotheses.append(_unknown(case))
    return Diagnosis(hypotheses=tuple(sorted(hypotheses, key=_order)), made_at=case.now)


def independent_causes(case: Case, diagnosis: Diagnosis) -> list[Hypothesis]:
    """Return the probable cause, and every other that no cause explains: several things may break at once.

    Those others show symptoms of their own, not only what a workload shows when something that it needs is broken.
    """
    found = [diagnosis.probable]
    for one in diagnosis.hypotheses:
        own = [shown for shown in case.symptoms(one.subject) if opens_incident(shown) and not is_effect(shown)]
        if own and one.confidence >= CONFIDENT and all(one.subject != other.subject for other in found):
            found.append(one)
    return found


def _all(case: Case) -> Iterator[Hypothesis]:
    for member in sorted(case.members, key=str):
        if member.kind == "Node":
            yield from platform.lost_node(case, member)
        view = case.view(member)
        if view is not None:
            for rule in RULES:
                yield from rule(case, view)
    for view in rolled_out_beside(case):
        yield from rollouts.bad_revision(case, view)
    # A store that gives its last connections away is well itself: only who asks it for more fails.
    for view in needed_beside(case):
        yield from load.connections(case, view)


def needed_beside(case: Case) -> list[WorkloadView]:
    """Return what members need that shows nothing itself."""
    needed = {one for member in case.members for one in case.neighbourhood.dependencies(member)} - case.members
    return [view for ref in sorted(needed, key=str) if (view := case.view(ref)) is not None]


def rolled_out_beside(case: Case) -> list[WorkloadView]:
    """Return what shows nothing yet and was rolled out shortly before: changes are the first suspects."""
    unknown = {one.namespace for one in case.members if not case.neighbourhood.is_known(one)}
    needed = {one.ref for one in needed_beside(case)}
    return [
        view
        for view in case.inventory.workloads.values()
        if view.ref not in case.members
        and (view.ref in needed or (view.ref.namespace in unknown and not case.neighbourhood.is_known(view.ref)))
        and rollouts.young_rollout(case, view) is not None
    ]


def _ranked(case: Case, one: Hypothesis) -> Hypothesis:
    confidence = one.confidence
    needed = dependencies.explains(case, one.subject) if one.cause in _EXPLAINABLE else None
    if needed is not None and not _came_with_a_rollout(case, one, needed):
        confidence *= EXPLAINED
    elif any(one.subject in case.neighbourhood.dependencies(other) for other in case.members):
        confidence = min(0.99, confidence + DEEPER)
    return one.model_copy(update={"confidence": round(confidence, 3)})


def _came_with_a_rollout(case: Case, one: Hypothesis, needed: WorkloadRef) -> bool:
    """Whether what it needs had been broken for a while when it was rolled out, and had not hurt it until then."""
    view = case.view(one.subject)
    rollout = rollouts.young_rollout(case, view) if view is not None else None
    return (
        one.cause is CauseKind.BAD_REVISION
        and rollout is not None
        and dependencies.broke_at(case, needed) < rollout.at - dependencies.SLACK
    )


def _without_echoes(found: list[Hypothesis]) -> list[Hypothesis]:
    """Leave out that something is down where it is known why."""
    explained = {one.subject for one in found if one.cause not in _VAGUE and one.confidence >= CONFIDENT}
    return [one for one in found if one.cause is not CauseKind.DEPENDENCY_OUTAGE or one.subject not in explained]


_VAGUE = (CauseKind.DEPENDENCY_OUTAGE, CauseKind.UNKNOWN)


def _order(one: Hypothesis) -> tuple[float, str, str]:
    return (-one.confidence, one.cause, str(one.subject))


def _unknown(case: Case) -> Hypothesis:
    subject = where_it_hurts(case)
    view = case.view(subject)
    pod = lone_bad_pod(case, view) if view is not None else None
    shown = case.findings.get(subject, ())
    if pod is not None:
        text = f"only {pod.name} is bad, its siblings of the same revision are well"
        return hypothesis(CauseKind.UNKNOWN, subject, 0.65, text, shown)
    claims = sorted(one.removeprefix("claim/") for one in view.config if one.startswith("claim/")) if view else []
    uses = f"; it keeps data on volume {', '.join(claims)}" if claims else ""
    return hypothesis(CauseKind.UNKNOWN, subject, 0.3, f"nothing known explains what is seen{uses}", shown)


def where_it_hurts(case: Case) -> WorkloadRef:
    """Return the workload with the worst findings; the deepest, then one that serves others, then the first."""

    def order(member: WorkloadRef) -> tuple[int, int, bool, datetime, str]:
        severities = [list(_SEVERITY).index(one.severity) for one in case.findings.get(member, ())]
        depth = sum(member in case.neighbourhood.dependencies(other) for other in case.members)
        view = case.view(member)
        serves = view is not None and bool(case.inventory.services_of(view))
        return (-max(severities, default=-1), -depth, not serves, case.onset(member), str(member))

    return min(case.members, key=order)


_SEVERITY = ("info", "warning", "critical")

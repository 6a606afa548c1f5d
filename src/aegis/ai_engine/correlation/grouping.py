"""Which findings are one problem: by topology first, by time where the topology is not known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.ai_engine.correlation.neighbourhood import Neighbourhood
from aegis.contracts.findings import Anomaly, Finding, Severity, Symptom
from aegis.contracts.targets import WorkloadRef

# Symptoms further apart than this have different causes, however close the workloads are.
TOGETHER = timedelta(minutes=5)
# Where nobody knows who calls whom, only what begins at nearly the same time is taken for one problem.
TOGETHER_BY_TIME_ALONE = timedelta(minutes=2)

# What a workload shows when something it needs is broken; the other symptoms say that it is broken itself.
EFFECTS = frozenset({"NoReadyEndpoints", "NotReady", "HpaAtMax", "HpaBlind"})


@dataclass(frozen=True)
class Group:
    """One problem's workloads and all that was found on them."""

    members: frozenset[WorkloadRef]
    findings: tuple[Finding, ...]

    @property
    def started_at(self) -> datetime:
        return min(one.started_at for one in self.findings)


def is_effect(finding: Finding) -> bool:
    return isinstance(finding, Anomaly) or (isinstance(finding, Symptom) and finding.reason in EFFECTS)


def opens_incident(finding: Finding) -> bool:
    return finding.severity is not Severity.INFO


def group(findings: Sequence[Finding], neighbourhood: Neighbourhood) -> list[Group]:
    """Join findings that are one problem; what is merely unusual joins where there is a problem already."""
    by_workload: dict[WorkloadRef, list[Finding]] = {}
    for finding in findings:
        by_workload.setdefault(finding.workload, []).append(finding)
    troubled = {
        workload: [one for one in found if opens_incident(one)]
        for workload, found in by_workload.items()
        if any(opens_incident(one) for one in found)
    }
    sets = _Sets(troubled)
    _join_on_lost_nodes(sets, troubled, neighbourhood)
    _join_by_calls(sets, troubled, neighbourhood)
    _join_by_time(sets, troubled, neighbourhood)
    return [
        Group(frozenset(members), tuple(one for member in sorted(members, key=str) for one in by_workload[member]))
        for members in sets.all()
    ]


class _Sets:
    """Disjoint sets of workloads."""

    def __init__(self, workloads: Iterable[WorkloadRef]) -> None:
        self._of = {workload: {workload} for workload in workloads}

    def join(self, one: WorkloadRef, other: WorkloadRef) -> None:
        joined = self._of[one] | self._of[other]
        for workload in joined:
            self._of[workload] = joined

    def all(self) -> list[set[WorkloadRef]]:
        return list({id(members): members for members in self._of.values()}.values())


_Troubled = Mapping[WorkloadRef, Sequence[Finding]]


def _join_on_lost_nodes(sets: _Sets, troubled: _Troubled, neighbourhood: Neighbourhood) -> None:
    lost = {workload.name: workload for workload in troubled if workload.kind == "Node"}
    for workload in troubled:
        for name in neighbourhood.nodes_of(workload) & lost.keys() if lost else ():
            sets.join(workload, lost[name])
    for node in lost.values():
        # Pods that had to leave find no place: they have no node any more, and the loss began it.
        for workload, found in troubled.items():
            if _near_in_time(found, troubled[node], TOGETHER) and _lacks_a_node(found):
                sets.join(workload, node)


def _lacks_a_node(findings: Sequence[Finding]) -> bool:
    reasons = {one.reason for one in findings if isinstance(one, Symptom)}
    return bool(reasons) and reasons <= {"Unschedulable", "NoReadyEndpoints", "NotReady"}


def _join_by_calls(sets: _Sets, troubled: _Troubled, neighbourhood: Neighbourhood) -> None:
    for workload, found in troubled.items():
        for dependency in neighbourhood.dependencies(workload).keys() & troubled.keys():
            if _near_in_time(found, troubled[dependency], TOGETHER):
                sets.join(workload, dependency)


def _join_by_time(sets: _Sets, troubled: _Troubled, neighbourhood: Neighbourhood) -> None:
    for workload, found in troubled.items():
        if neighbourhood.is_known(workload) or not all(is_effect(one) for one in found):
            continue
        for other, others in troubled.items():
            near = other.namespace == workload.namespace and other != workload and not neighbourhood.is_known(other)
            if near and _near_in_time(found, others, TOGETHER_BY_TIME_ALONE):
                sets.join(workload, other)


def _near_in_time(some: Sequence[Finding], others: Sequence[Finding], within: timedelta) -> bool:
    first, second = (min(one.started_at for one in found) for found in (some, others))
    return abs(first - second) <= within

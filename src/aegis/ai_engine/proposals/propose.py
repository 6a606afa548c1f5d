"""The one action that fits the probable cause, or why somebody has to look."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime

from aegis.ai_engine.diagnosis import rollouts
from aegis.ai_engine.diagnosis.case import Case
from aegis.ai_engine.diagnosis.diagnose import CONFIDENT
from aegis.ai_engine.diagnosis.load import is_short_of_connections, traffic_ratio
from aegis.ai_engine.diagnosis.lone_pod import lone_bad_pod
from aegis.ai_engine.diagnosis.memory import memory_window, steady_climbs, survives_restarts
from aegis.ai_engine.diagnosis.rollouts import RolloutFacts, young_rollout
from aegis.ai_engine.sources.views import PodView, WorkloadView
from aegis.catalogue.actions import ACTIONS, MEMORY_FACTOR_MAX, scale_ceiling
from aegis.catalogue.signals import ERROR_RATIO, LATENCY, MEMORY_USAGE, SIGNALS, Signal
from aegis.contracts.actions import (
    Action,
    EvictPod,
    RaiseMemory,
    RestartWorkload,
    RollbackRollout,
    ScaleWorkload,
)
from aegis.contracts.diagnoses import CauseKind, Hypothesis
from aegis.contracts.proposals import Proposal

ACTOR = "service:ai-engine"
# From here on a restart wins more memory than it costs.
NEARLY_FULL = 0.7

# Causes that a rollout can bring; taking it back is then the smallest change that is known to have worked.
_BROUGHT_BY_ROLLOUTS = frozenset({
    CauseKind.BAD_REVISION, CauseKind.CONFIGURATION_MISSING, CauseKind.IMAGE_UNAVAILABLE, CauseKind.MEMORY_LEAK,
    CauseKind.MEMORY_LIMIT_TOO_LOW, CauseKind.CPU_LIMIT_TOO_LOW, CauseKind.DISK_FULL, CauseKind.PROBE_TOO_TIGHT,
})  # fmt: skip

_FOR_PEOPLE = {
    CauseKind.BAD_REVISION: "the newest revision is bad, and there is none to go back to by itself",
    CauseKind.CONFIGURATION_MISSING: "what is missing has to be supplied by whoever owns it",
    CauseKind.IMAGE_UNAVAILABLE: "the image has to be published, or its name corrected",
    CauseKind.DEPENDENCY_OUTAGE: "what the others need is down; changing them would not bring it back",
    CauseKind.CONNECTIONS_EXHAUSTED: "more replicas would take even more connections; relieve what is slow",
    CauseKind.MEMORY_LIMIT_TOO_LOW: "it ran out of memory; too little is known to change its limit",
    CauseKind.MEMORY_LEAK: "a restart would give nothing back for long; stop what fills the memory",
    CauseKind.TRAFFIC_SATURATION: "its replicas belong to an autoscaler, whose bounds are a person's to set",
    CauseKind.CPU_LIMIT_TOO_LOW: "its CPU limit has to be raised by whoever owns it",
    CauseKind.PROBE_TOO_TIGHT: "its liveness probe should be given more time, or the workload more capacity",
    CauseKind.UNSCHEDULABLE: "the cluster has no room for it",
    CauseKind.QUOTA_EXHAUSTED: "the quota of its namespace is a person's decision",
    CauseKind.NODE_LOST: "the node has to be looked at; its pods must not be forced away while it may still run them",
    CauseKind.JOB_FAILING: "it would fail again; somebody has to see why",
    CauseKind.DISK_FULL: "what it writes has to be cleaned up, or its volume grown",
    CauseKind.UNKNOWN: "no known cause explains it",
}


@dataclass(frozen=True)
class Remedy:
    """What to do to what, before it becomes a proposal."""

    action: Action
    target: WorkloadView | PodView
    owner: WorkloadView
    rationale: str

    @property
    def unchanged(self) -> str:
        """The same text means: the same action on the same thing that nobody changed since."""
        uid = self.target.uid
        return f"{self.action.kind}:{uid}:{self.owner.digest}:{self.owner.replicas}"


def remedy_for(case: Case, probable: Hypothesis) -> Remedy | str:
    """Return what to do about the probable cause, or why no action is proposed."""
    view = case.view(probable.subject)
    if probable.confidence < CONFIDENT or view is None:
        return f"{probable.subject}: {probable.summary}. {_FOR_PEOPLE[probable.cause]}."
    found = _rollback(case, view, probable) or _by_cause(case, view, probable)
    if found is None:
        return f"{probable.subject}: {probable.summary}. {_because(view, probable)}."
    return found


def _by_cause(case: Case, view: WorkloadView, probable: Hypothesis) -> Remedy | None:
    match probable.cause:
        case CauseKind.MEMORY_LIMIT_TOO_LOW:
            return _raise_memory(case, view, probable)
        case CauseKind.MEMORY_LEAK:
            return _restart(case, view, probable)
        case CauseKind.TRAFFIC_SATURATION:
            return _scale(case, view, probable)
        case CauseKind.UNKNOWN:
            return _evict(case, view, probable)
        case _:
            return None


def _because(view: WorkloadView, probable: Hypothesis) -> str:
    if probable.cause is CauseKind.BAD_REVISION and view.ref.kind != "Deployment":
        return f"a {view.ref.kind} is rolled back by a person: its broken pod has to be deleted as well"
    return _FOR_PEOPLE[probable.cause]


# -- rollback


def _rollback(case: Case, view: WorkloadView, probable: Hypothesis) -> Remedy | None:
    if probable.cause not in _BROUGHT_BY_ROLLOUTS or view.ref.kind != "Deployment":
        return None
    rollout = young_rollout(case, view)
    if rollout is None or not rollout.previous_was_fine or rollout.previous_number is None:
        return None
    if not _was_brought(case, rollout, probable):
        return None
    rationale = (
        f"{probable.summary}. Revision {rollout.previous_number} served before {rollout.at:%H:%M:%S} and was healthy."
    )
    action = RollbackRollout(to_revision=rollout.previous_number, blamed_template=rollout.newest)
    return Remedy(action, view, view, rationale)


def _was_brought(case: Case, rollout: RolloutFacts, probable: Hypothesis) -> bool:
    """Whether the rollout brought what is wrong: its own pods show it, and those of the one before never did."""
    if probable.cause is CauseKind.BAD_REVISION or rollouts.blames(case, rollout):
        return True
    ref = rollout.workload.ref
    if probable.cause is CauseKind.CPU_LIMIT_TOO_LOW:
        return _limit_fell(rollout, "cpu_limit")
    if probable.cause in (CauseKind.MEMORY_LIMIT_TOO_LOW, CauseKind.MEMORY_LEAK):
        kills = [one for one in case.history.deaths(rollout.workload, since=rollout.at) if one.is_out_of_memory]
        if kills:
            return all(one.revision == rollout.newest for one in kills)
        before = case.before(rollout.at, MEMORY_USAGE, ref)
        return len(before) > 0 and not steady_climbs(before)
    shown = case.symptoms(ref, *rollouts.CANNOT_START)
    return bool(shown) and all(one.revision == rollout.newest for one in shown)


def _limit_fell(rollout: RolloutFacts, name: str) -> bool:
    before = {one.name: getattr(one, name) for one in rollout.previous_containers}
    return any(
        (now := getattr(one, name)) is not None and (was := before.get(one.name)) is not None and now < was
        for one in rollout.newest_containers
    )


# -- the others


def _raise_memory(case: Case, view: WorkloadView, probable: Hypothesis) -> Remedy | None:
    killed = [one for one in case.symptoms(view.ref, "OOMKilled") if one.count >= 2]  # noqa: PLR2004
    container = next((one.object_name for one in killed), None)
    if container is None or view.ref.kind not in ACTIONS[RaiseMemory(container="x", factor=2).kind].target_kinds:
        return None
    action = RaiseMemory(container=container, factor=MEMORY_FACTOR_MAX)
    return Remedy(action, view, view, f"{probable.summary}. Half as much again gives it room.")


def _restart(case: Case, view: WorkloadView, probable: Hypothesis) -> Remedy | None:
    if survives_restarts(case, view) or young_rollout(case, view) is not None or not _is_filling_up(case, view):
        return None
    if view.ref.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        return None
    rationale = f"{probable.summary}. A restart gives the memory back for a time; the leak itself needs a person."
    return Remedy(RestartWorkload(), view, view, rationale)


def _is_filling_up(case: Case, view: WorkloadView) -> bool:
    """Whether there is memory to be won now: what was just killed has been started anew already."""
    climbs = steady_climbs(memory_window(case, view))
    return bool(climbs) and climbs[-1].is_last and climbs[-1].goes_on and climbs[-1].level >= NEARLY_FULL


def _scale(case: Case, view: WorkloadView, probable: Hypothesis) -> Remedy | None:
    if case.inventory.hpa_of(view) is not None or view.ref.kind not in ("Deployment", "StatefulSet"):
        return None
    if is_short_of_connections(case, view.ref) or view.replicas < 1:
        return None
    wanted = math.ceil(view.replicas * max(traffic_ratio(case, view.ref), 1.5))
    replicas = min(wanted, scale_ceiling(view.replicas))
    return Remedy(ScaleWorkload(replicas=replicas), view, view, f"{probable.summary}. {replicas} replicas can take it.")


def _evict(case: Case, view: WorkloadView, probable: Hypothesis) -> Remedy | None:
    pod = lone_bad_pod(case, view)
    if pod is None or view.ref.kind in ("Job", "CronJob"):
        return None
    return Remedy(EvictPod(), pod, view, f"{probable.summary}. A new pod in its place starts afresh.")


# -- the proposal


def proposal_of(
    remedy: Remedy, *, case: Case, probable: Hypothesis, incident_key: str, data_as_of: datetime, has_metrics: bool
) -> Proposal:
    """Write the remedy down. The same remedy for the same incident has the same id on every replica."""
    # A restarted process still knows the series of a metrics system that is gone: nothing will tell of them any more.
    signals = signals_to_verify(case, remedy) if has_metrics else []
    target = case.inventory.reference(remedy.target)
    text = f"{incident_key}\0{remedy.action.model_dump_json()}\0{target.uid}\0{remedy.owner.digest}"
    return Proposal(
        id=f"pro-{hashlib.sha256(text.encode()).hexdigest()[:24]}",
        incident_key=incident_key,
        target=target,
        owner=case.inventory.reference(remedy.owner),
        action=remedy.action,
        cause=probable.cause,
        confidence=probable.confidence,
        rationale=remedy.rationale[:4000],
        signals=tuple(signal.name for signal in signals),
        proposed_by=ACTOR,
        proposed_at=case.now,
        data_as_of=min(data_as_of, case.now),
    )


def signals_to_verify(case: Case, remedy: Remedy) -> list[Signal]:
    """Return what must be usual again for it to have helped: what left its band, and what users feel."""
    ref = remedy.owner.ref
    unusual = {one.signal for one in case.anomalies(ref)}
    felt = {ERROR_RATIO.name, LATENCY.name} if unusual or case.board.has(ERROR_RATIO, ref) else set()
    wanted = {signal for signal in unusual | felt if signal in _VERIFIABLE}
    if isinstance(remedy.action, RestartWorkload | RaiseMemory):
        wanted.add(MEMORY_USAGE.name)
    return [
        signal
        for signal in SIGNALS
        if signal.name in wanted and case.board.has(signal, ref) and case.usual(signal, ref) is not None
    ]


_VERIFIABLE = {
    signal.name for signal in SIGNALS if signal.bad == "high" and signal.unit != "total" and signal.scope == "workload"
}

"""Is the newest revision to blame? Only if it is young, and the one before it is or was fine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aegis.ai_engine.detection.board import Window
from aegis.ai_engine.detection.history import Rollout
from aegis.ai_engine.diagnosis.case import ENOUGH, LASTING, Case, hypothesis
from aegis.ai_engine.sources.views import ContainerSpec, RevisionView, WorkloadView
from aegis.catalogue.signals import (
    CPU_THROTTLED,
    CPU_USAGE,
    ERROR_RATIO,
    LATENCY,
    QUEUE_LENGTH,
    REQUEST_RATE,
    REVISION_ERROR_RATIO,
    Signal,
)
from aegis.contracts.diagnoses import CauseKind, Hypothesis
from aegis.contracts.findings import Symptom

# Trouble that begins later than this after a rollout is not taken for the rollout's.
YOUNG = timedelta(minutes=30)
# Clocks of objects are in whole seconds, and the first symptom may carry the pod's birth.
SLACK = timedelta(seconds=15)
PREVIOUS_WINDOW = timedelta(minutes=10)
# A revision that served this long before the trouble began is hardly to blame for it: something else changed since.
SERVED_WELL = timedelta(minutes=3)
# Worth asking a person, too little to act upon unasked.
CAME_LATER = 0.6

CRASHES = ("CrashLoopBackOff", "Restarting")
CANNOT_START = ("CreateContainerConfigError", "FailedMount", "ImagePullBackOff")

ERROR_RATIO_WORSE_BY = 0.05
ERROR_RATIO_TIMES = 3.0
SLOWER_TIMES = 2.0
SLOWER_BY_S = 0.05
# With a third of its capacity to spare nothing gets twice as slow by less than this.
MORE_TRAFFIC_TIMES = 1.3
THROTTLED = 0.25
BURNS_TIMES = 2.0


@dataclass(frozen=True)
class RolloutFacts:
    """A rollout that began shortly before the trouble."""

    workload: WorkloadView
    at: datetime
    newest: str
    previous: str
    previous_number: int | None
    """Of a Deployment: what `to_revision` would name."""
    previous_was_fine: bool
    newest_containers: tuple[ContainerSpec, ...]
    previous_containers: tuple[ContainerSpec, ...]


def young_rollout(case: Case, workload: WorkloadView) -> RolloutFacts | None:
    """Return the facts of a rollout that may be to blame for what began after it; None if there is none."""
    rollout = case.history.last_rollout(workload)
    if rollout is None or rollout.previous is None:
        return None
    onset = case.onset(workload.ref)
    if not rollout.at - SLACK <= onset <= rollout.at + YOUNG:
        return None
    revisions = {one.hash: one for one in case.inventory.revisions_of(workload)}
    previous = _revision_to_return_to(case, workload, rollout, revisions)
    newest = revisions.get(rollout.revision)
    return RolloutFacts(
        workload=workload,
        at=rollout.at,
        newest=rollout.revision,
        previous=previous,
        previous_number=revisions[previous].number if previous in revisions else None,
        previous_was_fine=_was_fine(case, workload, previous, rollout),
        newest_containers=newest.containers if newest is not None else workload.containers,
        previous_containers=revisions[previous].containers if previous in revisions else (),
    )


def _revision_to_return_to(
    case: Case, workload: WorkloadView, rollout: Rollout, revisions: dict[str, RevisionView]
) -> str:
    """Return the revision that served before; where that one never was healthy, the newest that was."""
    past = case.history.past_of(workload)
    assert rollout.previous is not None
    if _is_candidate(past.healthy, past.condemned, rollout.previous):
        return rollout.previous
    older = sorted(
        (one for one in revisions.values() if one.hash != rollout.revision), key=lambda one: one.number, reverse=True
    )
    return next((one.hash for one in older if _is_candidate(past.healthy, past.condemned, one.hash)), rollout.previous)


def _is_candidate(healthy: dict[str, datetime], condemned: set[str], revision: str) -> bool:
    return revision in healthy and revision not in condemned


def _was_fine(case: Case, workload: WorkloadView, previous: str, rollout: Rollout) -> bool:
    past = case.history.past_of(workload)
    if not _is_candidate(past.healthy, past.condemned, previous):
        return False
    since = rollout.at - PREVIOUS_WINDOW
    failed = [one for one in past.deaths if one.revision == previous and one.at >= since]
    failed_lately = any(one.at > rollout.at for one in failed) or len(failed) > 1
    evicted = any(one.revision == previous and one.at >= since for one in past.evictions)
    cannot_start = any(one.revision == previous for one in case.symptoms(workload.ref, *CANNOT_START))
    return not failed_lately and not evicted and not cannot_start


# -- what speaks against the newest revision


@dataclass(frozen=True)
class Blame:
    confidence: float
    text: str
    symptoms: tuple[Symptom, ...] = ()
    by_time: bool = False
    """It compares now with before, not pods of one revision with pods of the other at the same time."""


def blames(case: Case, rollout: RolloutFacts) -> list[Blame]:
    """Return all that speaks against the newest revision, strongest first; nothing if the one before failed too."""
    if not rollout.previous_was_fine:
        return []
    found = (_in_time(case, rollout, blame) for look in _LOOKS for blame in look(case, rollout))
    return sorted(found, key=lambda one: -one.confidence)


def _in_time(case: Case, rollout: RolloutFacts, blame: Blame) -> Blame:
    """Doubt what rests on before and after alone, where all was well for a while after the rollout too."""
    whole_since = case.history.past_of(rollout.workload).whole_since.get(rollout.newest)
    onset = case.onset(rollout.workload.ref)
    if not blame.by_time or whole_since is None or onset - whole_since < SERVED_WELL:
        return blame
    minutes = (onset - whole_since) / timedelta(minutes=1)
    text = f"{blame.text}, though it had served well for {minutes:.0f} minutes"
    return replace(blame, confidence=min(blame.confidence, CAME_LATER), text=text)


def bad_revision(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    rollout = young_rollout(case, workload)
    if rollout is None:
        return
    found = blames(case, rollout)
    if found:
        yield hypothesis(
            CauseKind.BAD_REVISION,
            workload.ref,
            found[0].confidence,
            f"the revision rolled out at {rollout.at:%H:%M:%S} {found[0].text}; the one before was healthy",
            [*(one.text for one in found), *found[0].symptoms],
        )


def _crashes(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    found = [one for one in case.symptoms(rollout.workload.ref, *CRASHES) if one.revision == rollout.newest]
    kills = case.history.deaths(rollout.workload, since=rollout.at)
    if found and not all(one.is_out_of_memory for one in kills if one.revision == rollout.newest):
        yield Blame(0.9, f"keeps crashing ({found[0].summary})", tuple(found))


def _stalled(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    stalled = case.symptoms(rollout.workload.ref, "ProgressDeadlineExceeded")
    # What keeps its pods from being made or placed is looked at by itself.
    elsewhere = case.symptoms(rollout.workload.ref, "Unschedulable", "FailedCreate")
    if stalled and not elsewhere:
        yield Blame(0.85, "did not become ready before its deadline", tuple(stalled))


def _too_big(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    found = [one for one in case.symptoms(rollout.workload.ref, "Unschedulable") if one.revision == rollout.newest]
    if found and asks_for_more(rollout):
        yield Blame(0.85, "asks for more than any node has left, which the one before did not", tuple(found))


def asks_for_more(rollout: RolloutFacts) -> bool:
    """Whether the newest revision's containers request more than the previous one's."""
    if not rollout.previous_containers:
        return False
    return any(
        _total(rollout.newest_containers, name) > _total(rollout.previous_containers, name)
        for name in ("cpu_request", "memory_request")
    )


def _total(containers: tuple[ContainerSpec, ...], name: str) -> float:
    return sum(getattr(one, name) or 0.0 for one in containers)


def _evicted(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    evictions = case.history.evictions(rollout.workload, since=rollout.at)
    if len([one for one in evictions if one.revision == rollout.newest]) >= 2:  # noqa: PLR2004 (one may be bad luck)
        yield Blame(0.85, "has its pods evicted again and again")


def _killed_by_probe(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    found = [one for one in case.symptoms(rollout.workload.ref, "LivenessKilled") if one.revision == rollout.newest]
    if found and probes_changed(rollout):
        yield Blame(0.8, "changed its probes, and is ended by them", tuple(found))
    elif found and _previous_still_serves(case, rollout):
        yield Blame(0.75, "is ended by its liveness probe, beside pods of the one before that are not", tuple(found))


def _previous_still_serves(case: Case, rollout: RolloutFacts) -> bool:
    pods = case.pods(rollout.workload)
    return any(one.revision == rollout.previous and one.is_ready for one in pods)


def probes_changed(rollout: RolloutFacts) -> bool:
    before = {one.name: one.probes for one in rollout.previous_containers}
    return any(before.get(one.name, one.probes) != one.probes for one in rollout.newest_containers)


def _errors(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    ref = rollout.workload.ref
    newest = _since_rollout(case, rollout, REVISION_ERROR_RATIO, revision=rollout.newest)
    previous = case.board.window(
        REVISION_ERROR_RATIO,
        ref,
        start=(rollout.at - PREVIOUS_WINDOW).timestamp(),
        end=case.now.timestamp(),
        revision=rollout.previous,
    )
    if len(newest) >= ENOUGH and len(previous):
        usual, now = previous.median or 0.0, newest.median or 0.0
        if _clearly_worse(usual, now) and newest.seconds >= LASTING.total_seconds():
            text = f"fails {now:.0%} of its requests, the one before {usual:.1%}"
            beside = case.lately(REVISION_ERROR_RATIO, ref, revision=rollout.previous).median
            yield Blame(0.9, text, by_time=beside is None or not _clearly_worse(beside, now))
        return
    before, after = case.before(rollout.at, ERROR_RATIO, ref), _since_rollout(case, rollout, ERROR_RATIO)
    lasting = case.anomalies(ref, ERROR_RATIO)
    if lasting and len(before) >= ENOUGH and _clearly_worse(before.median or 0.0, after.median or 0.0):
        text = f"came, and {after.median or 0.0:.0%} of requests fail, before it {before.median or 0.0:.1%}"
        yield Blame(0.75, text, by_time=True)


def _clearly_worse(usual: float, now: float) -> bool:
    return now - usual >= ERROR_RATIO_WORSE_BY and now >= usual * ERROR_RATIO_TIMES


def _slower(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    ref = rollout.workload.ref
    if has_more_traffic(case, rollout):
        return
    before, after = case.before(rollout.at, LATENCY, ref), _since_rollout(case, rollout, LATENCY)
    usual, now = before.median, after.median
    if usual is None or now is None or len(before) < ENOUGH or after.seconds < LASTING.total_seconds():
        return
    slower = now >= usual * SLOWER_TIMES and now - usual >= SLOWER_BY_S
    lasting = case.anomalies(ref, LATENCY) or case.lasts(LATENCY, ref, above=usual * SLOWER_TIMES + SLOWER_BY_S)
    if slower and lasting and not _something_it_needs_is_slower(case, rollout):
        text = f"takes {now * 1000:.0f} ms for a request, the one before {usual * 1000:.0f} ms"
        yield Blame(0.8, text, by_time=True)


def _something_it_needs_is_slower(case: Case, rollout: RolloutFacts) -> bool:
    return any(
        case.anomalies(needed, LATENCY) and case.onset(needed) <= case.onset(rollout.workload.ref) + SLACK
        for needed in case.neighbourhood.dependencies(rollout.workload.ref)
    )


def has_more_traffic(case: Case, rollout: RolloutFacts) -> bool:
    ref = rollout.workload.ref
    before, now = case.before(rollout.at, REQUEST_RATE, ref).median, case.lately(REQUEST_RATE, ref).median
    return before is not None and now is not None and now > before * MORE_TRAFFIC_TIMES


def _starved(case: Case, rollout: RolloutFacts) -> Iterator[Blame]:
    """It needs more CPU than before, or than it may have, and somebody waits for it."""
    ref = rollout.workload.ref
    if has_more_traffic(case, rollout) or not (case.anomalies(ref, LATENCY, ERROR_RATIO) or _a_queue_grows(case)):
        return
    throttled = case.before(rollout.at, CPU_THROTTLED, ref).median or 0.0
    if throttled < THROTTLED / 2 and case.lasts(CPU_THROTTLED, ref, above=THROTTLED):
        now = case.lately(CPU_THROTTLED, ref).median or 0.0
        text = f"is throttled {now:.0%} of the time, the one before {throttled:.0%}, and work piles up"
        yield Blame(0.8, text, by_time=True)
    used = case.before(rollout.at, CPU_USAGE, ref).median
    if used is not None and case.lasts(CPU_USAGE, ref, above=used * BURNS_TIMES + CPU_USAGE.floor):
        now = case.lately(CPU_USAGE, ref).median or 0.0
        text = f"uses {now:.0%} of its CPU limit, the one before {used:.0%}, and work piles up"
        yield Blame(0.75, text, by_time=True)


def _a_queue_grows(case: Case) -> bool:
    return any(case.anomalies(member, QUEUE_LENGTH) for member in case.findings)


def _since_rollout(case: Case, rollout: RolloutFacts, signal: Signal, **labels: str) -> Window:
    """What a signal showed since the rollout, the last minute at most; the first seconds are not its fault."""
    start = max(rollout.at + SLACK, case.now - timedelta(seconds=60)).timestamp()
    return case.board.window(signal, rollout.workload.ref, start=start, end=case.now.timestamp(), **labels)


_LOOKS: tuple[Callable[[Case, RolloutFacts], Iterator[Blame]], ...] = (
    _crashes, _stalled, _too_big, _evicted, _killed_by_probe, _errors, _slower, _starved,
)  # fmt: skip

"""Out of memory: does it leak, or is the limit too low?"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from aegis.ai_engine.detection.board import Doubles, Window
from aegis.ai_engine.detection.history import Death
from aegis.ai_engine.diagnosis.case import Case, hypothesis
from aegis.ai_engine.sources.views import WorkloadView
from aegis.catalogue.signals import MEMORY_USAGE
from aegis.contracts.diagnoses import CauseKind, Hypothesis

KILLS_WINDOW = timedelta(minutes=30)
LOOK_BACK = timedelta(minutes=25)
KILLS_ENOUGH = 2
SAME_OCCASION = timedelta(seconds=10)
# A fall by this share of the limit is a restart, or memory given back.
FALL = 0.2
CLIMB_POINTS = 4
CLIMB_SECONDS = 30.0
CLIMB_RISE = 0.15
RISING_PAIRS = 0.8
# A climb in one jump is a burst, whatever comes before and after.
JUMP_SHARE = 0.6
FULL_SOON = timedelta(minutes=10)
STILL_RISING = 0.6
# Caches fill within a minute or two; who foresees a kill has to have watched for longer.
FORESEEN_AFTER_SECONDS = 180.0
STAYS_AFTER_RESTART = 0.6


@dataclass(frozen=True)
class Climb:
    """A stretch in which memory rises steadily."""

    slope: float
    """Share of the limit per second (Theil and Sen's: the median over all pairs)."""
    start: float
    end: float
    level: float
    is_last: bool
    goes_on: bool
    """Whether it rises as fast at its end as before: what fills a cache slows down."""

    @property
    def full_in(self) -> timedelta:
        return timedelta(seconds=max(0.0, 1.0 - self.level) / self.slope)


def memory(case: Case, workload: WorkloadView) -> Iterator[Hypothesis]:
    kills = [one for one in case.history.deaths(workload, since=case.now - KILLS_WINDOW) if one.is_out_of_memory]
    shown = case.symptoms(workload.ref, "OOMKilled")
    climbs = steady_climbs(memory_window(case, workload))
    if shown and climbs and kills:
        yield _leak(case, workload, kills, climbs[-1])
    elif shown and occasions(kills) >= KILLS_ENOUGH:
        text = f"ran out of memory {len(kills)} times in 30 minutes, in jumps: what it needs does not fit"
        yield hypothesis(CauseKind.MEMORY_LIMIT_TOO_LOW, workload.ref, 0.8, text, shown)
    elif shown:
        text = "ran out of memory once, not again so far; too little to tell why"
        yield hypothesis(CauseKind.MEMORY_LIMIT_TOO_LOW, workload.ref, 0.4, text, shown)
    elif case.anomalies(workload.ref, MEMORY_USAGE) and climbs and climbs[-1].is_last:
        climb = climbs[-1]
        if climb.goes_on and climb.full_in <= FULL_SOON and climb.end - climb.start >= FORESEEN_AFTER_SECONDS:
            minutes = climb.full_in.total_seconds() / 60
            text = f"memory climbs steadily and reaches the limit in about {minutes:.0f} min"
            yield hypothesis(CauseKind.MEMORY_LEAK, workload.ref, 0.7, text, case.anomalies(workload.ref, MEMORY_USAGE))


def occasions(kills: list[Death]) -> int:
    """Count the moments at which there were kills: all pods at once may have met the same request.

    >>> occasions([])
    0
    """
    moments = sorted(one.at for one in kills)
    return sum(number == 0 or moment - moments[number - 1] > SAME_OCCASION for number, moment in enumerate(moments))


def _leak(case: Case, workload: WorkloadView, kills: list[Death], climb: Climb) -> Hypothesis:
    text = f"memory climbs steadily by {climb.slope * 60:.0%} of the limit a minute until it is killed"
    confidence = 0.9 if len(kills) >= KILLS_ENOUGH else 0.8
    if survives_restarts(case, workload):
        text += "; it is as full right after a restart, so it is not the process that holds it"
    return hypothesis(CauseKind.MEMORY_LEAK, workload.ref, confidence, text, case.symptoms(workload.ref, "OOMKilled"))


def memory_window(case: Case, workload: WorkloadView) -> Window:
    start, end = (case.now - LOOK_BACK).timestamp(), case.now.timestamp()
    return case.board.window(MEMORY_USAGE, workload.ref, start=start, end=end)


def steady_climbs(window: Window) -> list[Climb]:
    """Split where memory falls, and return the stretches that rise steadily.

    >>> at = np.arange(8.0) * 15
    >>> leak = Window(at, np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
    >>> jump = Window(at, np.array([0.2, 0.2, 0.2, 0.2, 0.9, 0.9, 0.9, 0.9]))
    >>> len(steady_climbs(leak)), len(steady_climbs(jump))
    (1, 0)
    """
    falls = np.flatnonzero(np.diff(window.values) < -FALL) + 1
    parts = np.split(np.arange(len(window)), falls)
    climbs = (_climb(window, part, is_last=part is parts[-1]) for part in parts)
    return [one for one in climbs if one is not None]


def _climb(window: Window, part: "np.typing.NDArray[np.intp]", *, is_last: bool) -> Climb | None:
    """Return the longest steady climb that ends where the stretch ends; what came before may have been flat."""
    length = len(part)
    while length >= CLIMB_POINTS:
        chosen = part[-length:]
        climb = _steady(window.at[chosen], window.values[chosen], is_last=is_last)
        if climb is not None:
            return climb
        length = length * 3 // 4
    return None


def _steady(at: Doubles, values: Doubles, *, is_last: bool) -> Climb | None:
    rise = float(values[-1] - values[0])
    if rise < CLIMB_RISE or at[-1] - at[0] < CLIMB_SECONDS:
        return None
    first, second = np.triu_indices(len(at), k=1)
    slopes = (values[second] - values[first]) / (at[second] - at[first])
    slope = float(np.median(slopes))
    steady = float((slopes > 0).mean()) >= RISING_PAIRS and float(np.diff(values).max()) <= JUMP_SHARE * rise
    if slope <= 0 or not steady:
        return None
    end = len(at) - max(2, len(at) // 3)
    late = (values[-1] - values[end]) / (at[-1] - at[end])
    return Climb(slope, float(at[0]), float(at[-1]), float(values[-1]), is_last, bool(late >= slope * STILL_RISING))


def survives_restarts(case: Case, workload: WorkloadView) -> bool:
    """Whether memory is nearly as full right after a kill: then a restart gives nothing back."""
    kills = [one for one in case.history.deaths(workload, since=case.now - KILLS_WINDOW) if one.is_out_of_memory]
    if not kills:
        return False
    after = case.board.window(MEMORY_USAGE, workload.ref, start=kills[-1].at.timestamp() + 1, end=case.now.timestamp())
    return len(after) > 0 and float(after.values.min()) >= STAYS_AFTER_RESTART

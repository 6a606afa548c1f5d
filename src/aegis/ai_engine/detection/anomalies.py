"""From scores to findings: what lasts, goes the bad way and is worth a word; with hysteresis."""

from dataclasses import dataclass
from datetime import UTC, datetime

from aegis.ai_engine.detection.board import Board
from aegis.ai_engine.detection.found import fingerprint
from aegis.catalogue.signals import (
    CONNECTIONS_REFUSED,
    CONNECTIONS_USAGE,
    ERROR_RATIO,
    LATENCY,
    POOL_USAGE,
    Signal,
)
from aegis.contracts.findings import Anomaly, Severity

# Neighbours on a busy node make spikes of some seconds; what users notice lasts longer.
LASTING_SECONDS = 30.0
# A finding ends when the score has fallen below this, and the value is back.
RELEASE_AT = 0.25
QUIET_COLUMNS = 2
CRITICAL_ERROR_RATIO = 0.2
FULL = 0.95
NEARLY_FULL = 0.75
SOON_SECONDS = 600.0
# What fills a cache slows down; a leak does not.
RECENT_COLUMNS = 5
STILL_RISING = 0.5

# What users feel opens an incident; the rest is evidence for one.
FELT_BY_USERS = frozenset({ERROR_RATIO.name, LATENCY.name, CONNECTIONS_REFUSED.name})
FULL_OPENS = frozenset({POOL_USAGE.name, CONNECTIONS_USAGE.name})


@dataclass
class _Watched:
    since: float
    peak: float
    value: float
    observed_at: float
    quiet: int = 0
    reported: bool = False


class Anomalies:
    """Follows each series from the first high score until it is quiet again."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._watched: dict[int, _Watched] = {}
        self._climbing: dict[int, float] = {}

    def update(self, now: float) -> None:
        """Look at the scores of the column that was taken in last."""
        board = self._board
        self._forget_what_is_to_come(now)
        for slot in board.usual_candidates():
            if slot not in self._watched and self._is_bad(slot):
                self._watched[slot] = _Watched(now, 0.0, 0.0, now)
        self._follow_climbs(now)
        for slot, watched in [*self._watched.items()]:
            if not board.scored[slot]:
                continue  # missing data neither begins nor ends anything
            score, value = float(board.scores[slot]), board.value(slot)
            if score < RELEASE_AT or not self._is_bad(slot):
                watched.quiet += 1
                if watched.quiet >= QUIET_COLUMNS or not watched.reported:
                    del self._watched[slot]
                continue
            watched.quiet = 0
            watched.reported |= now - watched.since >= LASTING_SECONDS
            if score > watched.peak:
                # Only a new maximum is news.
                watched.peak, watched.value, watched.observed_at = score, value, now

    def _forget_what_is_to_come(self, now: float) -> None:
        """Where the clock went back, what seems to begin later than now is looked at anew."""
        self._watched = {slot: one for slot, one in self._watched.items() if one.since <= now}
        self._climbing = {slot: since for slot, since in self._climbing.items() if since <= now}

    def _follow_climbs(self, now: float) -> None:
        """Note what climbs towards its limit and will soon be there."""
        climbing = {slot for slot in self._board.rising_candidates() if self._is_soon_full(slot)}
        for slot in [*self._climbing]:
            if self._board.scored[slot] and slot not in climbing:
                del self._climbing[slot]
        for slot in climbing:
            self._climbing.setdefault(slot, now)

    def _is_soon_full(self, slot: int) -> bool:
        value, step = self._board.value(slot), float(self._board.rise.move[slot])
        if value < NEARLY_FULL or step <= 0:
            return False
        goes_on = self._board.risen(slot, RECENT_COLUMNS) >= STILL_RISING * RECENT_COLUMNS * step
        return goes_on and (1.0 - value) / step * self._board.step_seconds <= SOON_SECONDS

    def _is_bad(self, slot: int) -> bool:
        signal = self._board.signal_of(slot)
        off = self._board.value(slot) - float(self._board.usual.usual[slot])
        if abs(off) <= signal.floor:
            return False
        return signal.bad == "either" or (off > 0) == (signal.bad == "high")

    def forget_missing(self, now: float) -> None:
        """Let go of what has had no data for a while: it cannot be judged any more."""
        for known in (self._watched, self._climbing):
            for slot in [*known]:
                if not self._board.is_fresh(slot, now):
                    del known[slot]

    def findings(self) -> list[Anomaly]:
        lasting = {slot: one for slot, one in self._watched.items() if one.reported}
        now = self._board.newest_at or 0.0
        climbs = [self._climb(slot, at) for slot, at in self._climbing.items() if now - at >= LASTING_SECONDS]
        return [self._finding(slot, one) for slot, one in lasting.items() if slot not in self._climbing] + climbs

    def _climb(self, slot: int, since: float) -> Anomaly:
        board = self._board
        signal, workload, value = board.signal_of(slot), board.workload_of(slot), board.value(slot)
        return Anomaly(
            fingerprint=fingerprint(workload, signal.name, "climbs"),
            workload=workload,
            started_at=datetime.fromtimestamp(since, UTC),
            observed_at=datetime.fromtimestamp(board.newest_at or since, UTC),
            severity=Severity.WARNING,
            summary=f"{signal.name} climbs steadily and is {value:.0%} now",
            signal=signal.name,
            value=value,
            score=min(1.0, float(board.rise_scores[slot])),
        )

    def _finding(self, slot: int, watched: _Watched) -> Anomaly:
        board = self._board
        signal, workload = board.signal_of(slot), board.workload_of(slot)
        usual = float(board.usual.usual[slot])
        labels = {name: value for name, value in board.labels_of(slot).items() if name not in _IDENTITY}
        about = "".join(f" {name}={value}" for name, value in sorted(labels.items()))
        return Anomaly(
            fingerprint=fingerprint(workload, signal.name, about),
            workload=workload,
            started_at=datetime.fromtimestamp(watched.since, UTC),
            observed_at=datetime.fromtimestamp(watched.observed_at, UTC),
            severity=_severity(signal, watched.value, usual),
            summary=f"{signal.name}{about} is {watched.value:.4g}, usually {usual:.4g}",
            signal=signal.name,
            value=watched.value,
            score=min(1.0, watched.peak),
            usual=usual,
        )


_IDENTITY = frozenset({"namespace", "kind", "workload"})


def _severity(signal: Signal, value: float, usual: float) -> Severity:
    if signal is ERROR_RATIO and value - usual >= CRITICAL_ERROR_RATIO:
        return Severity.CRITICAL
    if signal.name in FELT_BY_USERS or (signal.name in FULL_OPENS and value >= FULL):
        return Severity.WARNING
    return Severity.INFO

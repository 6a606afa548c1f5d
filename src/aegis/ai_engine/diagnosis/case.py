"""Everything that is known around one incident, and the questions that rules ask of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.ai_engine.correlation.neighbourhood import Neighbourhood
from aegis.ai_engine.detection.board import Band, Board, Window
from aegis.ai_engine.detection.history import History
from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.views import PodView, WorkloadView
from aegis.catalogue.signals import Signal
from aegis.contracts.diagnoses import CauseKind, Evidence, Hypothesis
from aegis.contracts.findings import Anomaly, Finding, Symptom
from aegis.contracts.targets import WorkloadRef

# How far back "lately" goes when a signal is compared with what it was before.
LATELY = timedelta(seconds=60)
BEFORE = timedelta(minutes=10)
ENOUGH = 3
LASTING = timedelta(seconds=30)


@dataclass(frozen=True)
class Case:
    """One incident with the world around it, at one moment."""

    inventory: Inventory
    history: History
    board: Board
    neighbourhood: Neighbourhood
    now: datetime
    opened_at: datetime
    members: frozenset[WorkloadRef]
    findings: Mapping[WorkloadRef, Sequence[Finding]]
    bands: Mapping[tuple[str, str], Band]

    # -- findings

    def symptoms(self, workload: WorkloadRef, *reasons: str) -> list[Symptom]:
        found = (one for one in self.findings.get(workload, ()) if isinstance(one, Symptom))
        return [one for one in found if not reasons or one.reason in reasons]

    def anomalies(self, workload: WorkloadRef, *signals: Signal) -> list[Anomaly]:
        names = {signal.name for signal in signals}
        found = (one for one in self.findings.get(workload, ()) if isinstance(one, Anomaly))
        return [one for one in found if not names or one.signal in names]

    def onset(self, workload: WorkloadRef) -> datetime:
        """Return when trouble began on a workload; on one without findings, when it began at all."""
        return min((one.started_at for one in self.findings.get(workload, ())), default=self.opened_at)

    # -- objects

    def view(self, workload: WorkloadRef) -> WorkloadView | None:
        return self.inventory.find(workload)

    def pods(self, workload: WorkloadView) -> list[PodView]:
        """Return the pods that are meant to work: neither finished nor ending."""
        return [one for one in self.inventory.pods_of(workload) if not one.is_ending and not one.is_finished]

    def down_since(self, workload: WorkloadView) -> datetime | None:
        """Return since when it was seen that a Service in front of it is not served any more, or it has no pods."""
        unserved = [self.history.unserved_since(service) for service in self.inventory.services_of(workload)]
        found = [since for since in unserved if since is not None]
        if found or workload.replicas > 0:
            return max(found, default=None)
        scaled = [one.at for one in self.history.past_of(workload).scalings if one.after == 0]
        return max(scaled, default=self.history.began_at)

    # -- signals

    def lately(self, signal: Signal, workload: WorkloadRef, **labels: str) -> Window:
        start = (self.now - LATELY).timestamp()
        return self.board.window(signal, workload, start=start, end=self.now.timestamp(), **labels)

    def before(self, moment: datetime, signal: Signal, workload: WorkloadRef, **labels: str) -> Window:
        start, end = (moment - BEFORE).timestamp(), moment.timestamp()
        return self.board.window(signal, workload, start=start, end=end, **labels)

    def usual(self, signal: Signal, workload: WorkloadRef) -> Band | None:
        """Return the band frozen when the incident began, else the one that holds now."""
        return self.bands.get((str(workload), signal.name)) or self.board.band(signal, workload)

    def lasts(self, signal: Signal, workload: WorkloadRef, *, above: float, **labels: str) -> bool:
        """Whether a signal has stayed above a value for half a minute, up to now."""
        window = self.lately(signal, workload, **labels)
        recent = window.between(self.now.timestamp() - LASTING.total_seconds() - self.board.step_seconds, 1e12)
        return (
            len(recent) >= ENOUGH
            and recent.seconds >= LASTING.total_seconds() * 0.6
            and bool((recent.values >= above).all())
        )


def hypothesis(
    cause: CauseKind,
    subject: WorkloadRef,
    confidence: float,
    summary: str,
    evidence: Iterable[Evidence | Finding | str] = (),
) -> Hypothesis:
    return Hypothesis(
        cause=cause,
        subject=subject,
        confidence=round(confidence, 3),
        summary=summary[:4000],
        evidence=tuple(as_evidence(one) for one in evidence),
    )


def as_evidence(fact: Evidence | Finding | str) -> Evidence:
    if isinstance(fact, Evidence):
        return fact
    if isinstance(fact, str):
        return Evidence(text=fact)
    return Evidence(text=fact.summary, at=fact.started_at, fingerprint=fact.fingerprint)

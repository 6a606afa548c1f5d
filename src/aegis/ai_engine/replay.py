"""The same pipeline over a recording, as fast as it goes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aegis.ai_engine.pipeline import Freshness, Pipeline
from aegis.ai_engine.ports import Conclusions, ObjectChange
from aegis.ai_engine.sources.recording import Rules, now_of, read
from aegis.contracts.actions import ActionKind
from aegis.contracts.diagnoses import CauseKind

STEP = timedelta(seconds=5)
# Recordings hold a scrape every two seconds, and less than a minute before the fault to learn from.
METRICS_INTERVAL = timedelta(seconds=3)
CLUSTER = "recording"


@dataclass(frozen=True)
class Proposed:
    after: float
    """Seconds since the recording began."""
    at: float
    action: ActionKind
    kind: str
    namespace: str
    name: str
    cause: CauseKind
    confidence: float
    rationale: str


@dataclass(frozen=True)
class Diagnosed:
    """A cause that was the probable one of an incident for the first time."""

    after: float
    at: float
    key: str
    cause: CauseKind
    kind: str
    namespace: str
    name: str
    confidence: float
    summary: str
    needs_person: str


@dataclass(frozen=True)
class Found:
    after: float
    at: float
    what: str
    workload: str
    summary: str


@dataclass
class ReplayReport:
    """What the AI Engine would have said, and when."""

    path: str
    seconds: float = 0.0
    findings: list[Found] = field(default_factory=list)
    diagnoses: list[Diagnosed] = field(default_factory=list)
    proposals: list[Proposed] = field(default_factory=list)


def replay(
    path: Path,
    *,
    step: timedelta = STEP,
    metrics_interval: timedelta = METRICS_INTERVAL,
    with_metrics: bool = True,
) -> ReplayReport:
    """Feed a recording's watch and scrape lines to the pipeline, on recorded time.

    `with_metrics=False` shows what is left without a metrics system: objects and events alone.
    """
    pipeline = Pipeline(cluster_id=CLUSTER, metrics_interval=metrics_interval)
    rules = Rules(pipeline.inventory)
    notes = _Notes(ReplayReport(str(path)))
    next_step = next_column = 0.0
    at_once: list[ObjectChange] = []
    for item in read(path):
        now = now_of(item)
        if at_once and (not isinstance(item, ObjectChange) or item.at != at_once[0].at):
            pipeline.apply(at_once)
            at_once = []
        notes.begin(now)
        next_step, next_column = next_step or now, next_column or now
        while now >= min(next_step, next_column):
            moment = min(next_step, next_column)
            if next_column <= moment:
                if with_metrics:
                    pipeline.take(rules.column(moment), _moment(moment))
                next_column += metrics_interval.total_seconds()
            if next_step <= moment:
                stale_after = metrics_interval * 3
                fresh = Freshness(
                    _moment(moment), pipeline.metrics_as_of, with_metrics, stale_after, cluster_stale_after=stale_after
                )
                notes.add(moment, pipeline.conclude(_moment(moment), fresh))
                next_step += step.total_seconds()
        if isinstance(item, ObjectChange):
            at_once.append(item)  # what a list tells is told at once
        else:
            rules.take(item)
        notes.report.seconds = now - notes.began
    return notes.report


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class _Notes:
    """Writes down what is new."""

    def __init__(self, report: ReplayReport) -> None:
        self.report = report
        self.began = 0.0
        self._seen: set[object] = set()

    def begin(self, now: float) -> None:
        self.began = self.began or now

    def add(self, now: float, conclusions: Conclusions) -> None:
        after = round(now - self.began, 1)
        for report in conclusions.reports:
            for finding in report.findings:
                what = str(getattr(finding, "reason", "") or getattr(finding, "signal", ""))
                if self._is_new(("finding", finding.fingerprint)):
                    self.report.findings.append(Found(after, now, what, str(finding.workload), finding.summary))
            if report.diagnosis is not None and not report.resolved:
                one = report.diagnosis.probable
                if self._is_new((report.key, one.cause, str(one.subject), bool(report.needs_person))):
                    subject = one.subject
                    self.report.diagnoses.append(
                        Diagnosed(
                            after, now, report.key, one.cause, subject.kind, subject.namespace, subject.name,
                            one.confidence, one.summary, report.needs_person,
                        )
                    )  # fmt: skip
        for proposal in conclusions.proposals:
            target = proposal.target
            self.report.proposals.append(
                Proposed(
                    after, now, proposal.action.kind, target.kind, target.namespace or "", target.name,
                    proposal.cause, proposal.confidence, proposal.rationale,
                )
            )  # fmt: skip

    def _is_new(self, what: object) -> bool:
        if what in self._seen:
            return False
        self._seen.add(what)
        return True

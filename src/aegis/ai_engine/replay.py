"""The same pipeline over a recording, as fast as it goes, and how right it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

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


# -- how right it was

Verdict = Literal["right", "silent", "harmful"]


@dataclass(frozen=True)
class Score:
    """How one run was handled.

    * harmful: an action was proposed in a quiet run; or on another target than the one to blame; or of a kind
      that the label does not ask for (every action, where the label asks for people only).
    * right: in a quiet run nothing was proposed and nobody was called; where an action is asked for it was
      proposed (or, where the label says "or notify", a person was called); where people are asked for, a person
      was called about the right object or what runs on it, before the recording ended.
    * silent: anything else. Nothing was harmed, and nothing was healed.
    """

    run: str
    verdict: Verdict
    reason: str
    after_fault: float | None = None
    """Seconds from the fault to the proposal, or to the call for a person."""
    cause: str = ""


@dataclass(frozen=True)
class _Answer:
    actions: frozenset[ActionKind]
    people: bool


def score(report: ReplayReport, label: Mapping[str, Any]) -> Score:
    """Compare with a label. After a person's fix nothing counts for it any more, and harm still counts against it."""
    until = float(label["fix"]["at"]) if label.get("fix") else float("inf")
    proposals = [one for one in report.proposals if one.at <= until]
    calls = [one for one in report.diagnoses if one.needs_person and one.at <= until]
    run = str(label["id"])
    if not label["fault"]:
        return _score_quiet(run, report)
    answer = _answer(str(label["expected_action"]))
    start = float(label["fault_start"])
    harmful = next((one for one in report.proposals if not _is_asked_for(one, answer, label)), None)
    if harmful is not None:
        return Score(
            run, "harmful", f"{harmful.action} on {harmful.kind}/{harmful.name}", harmful.at - start, harmful.cause
        )
    if proposals:
        first = proposals[0]
        return Score(run, "right", f"{first.action} on {first.kind}/{first.name}", first.at - start, first.cause)
    right_calls = [one for one in calls if _is_about(one, label)]
    if answer.people and right_calls:
        call = right_calls[0]
        return Score(run, "right", f"calls a person about {call.kind}/{call.name}", call.at - start, call.cause)
    called = f"called a person about {calls[0].kind}/{calls[0].name}" if calls else "said nothing"
    return Score(run, "silent", called, cause=calls[0].cause if calls else "")


def _score_quiet(run: str, report: ReplayReport) -> Score:
    if report.proposals:
        first = report.proposals[0]
        return Score(run, "harmful", f"{first.action} on {first.kind}/{first.name} in a quiet run", cause=first.cause)
    calls = [one for one in report.diagnoses if one.needs_person]
    if calls:
        return Score(run, "silent", f"called a person for nothing: {calls[0].summary}", cause=calls[0].cause)
    return Score(run, "right", "left alone")


def _answer(expected: str) -> _Answer:
    """Read what a label asks for.

    >>> sorted(_answer("rollback Deployment packer (or scale it out)").actions)
    [<ActionKind.ROLLBACK_ROLLOUT: 'rollback_rollout'>, <ActionKind.SCALE_WORKLOAD: 'scale_workload'>]
    >>> _answer("do NOT scale out orders; notify about ledger").actions
    frozenset()
    """
    text = expected.lower()
    asked = " ".join(part for part in text.split(";") if not part.strip().startswith(("do not", "never")))
    actions = {kind for words, kind in _WORDS if any(word in asked for word in words)}
    people = not actions or "notify" in text or "statefulset" in text
    return _Answer(frozenset(actions), people)


_WORDS = (
    (("rollback deployment", "roll back the change"), ActionKind.ROLLBACK_ROLLOUT),
    (("raise the memory limit of deployment",), ActionKind.RAISE_MEMORY),
    (("(or scale it out)", "scale deployment web up within bounds"), ActionKind.SCALE_WORKLOAD),
)


def _is_asked_for(proposed: Proposed, answer: _Answer, label: Mapping[str, Any]) -> bool:
    return proposed.action in answer.actions and _is_about(proposed, label)


def _is_about(one: Proposed | Diagnosed, label: Mapping[str, Any]) -> bool:
    """Whether it concerns the object to blame, or the workload that this object belongs to or serves."""
    cause = label["root_cause"]
    if (one.kind, one.name) == (cause["kind"], cause["name"]):
        return one.namespace in (cause["namespace"], "")
    if cause["kind"] in ("Deployment", "StatefulSet", "CronJob", "Job", "Node"):
        return False
    # A Service, a budget or an autoscaler is named after what it is for; a pod after its owner; a volume and a
    # quota stand in the text.
    named = cause["name"] == one.name or cause["name"].startswith(f"{one.name}-")
    text = one.needs_person if isinstance(one, Diagnosed) else one.rationale
    told = "quota" in text if cause["kind"] == "ResourceQuota" else f"volume {cause['name']}" in text
    return one.namespace == cause["namespace"] and (named or told)


def totals(scores: Sequence[Score]) -> dict[Verdict, int]:
    verdicts: tuple[Verdict, ...] = ("right", "silent", "harmful")
    return {verdict: sum(one.verdict == verdict for one in scores) for verdict in verdicts}

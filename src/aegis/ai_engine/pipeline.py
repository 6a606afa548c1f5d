"""Observations in, reports and proposals out: what one step concludes. Knows no network and no clock."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from aegis.ai_engine.correlation.grouping import group, opens_incident
from aegis.ai_engine.correlation.incidents import REMEMBER_RESOLVED, Incident, Incidents, Proposed, to_bytes
from aegis.ai_engine.correlation.neighbourhood import Neighbourhood, neighbourhood_of
from aegis.ai_engine.correlation.promotion import promote
from aegis.ai_engine.detection.anomalies import Anomalies
from aegis.ai_engine.detection.board import Board
from aegis.ai_engine.detection.history import History
from aegis.ai_engine.detection.symptoms import symptoms
from aegis.ai_engine.diagnosis.case import Case
from aegis.ai_engine.diagnosis.diagnose import CONFIDENT, diagnose, independent_causes, where_it_hurts
from aegis.ai_engine.diagnosis.load import more_traffic
from aegis.ai_engine.ports import Conclusion, Conclusions, ObjectChange, Sample, StoredIncident
from aegis.ai_engine.proposals.propose import Remedy, proposal_of, remedy_for
from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.verification.judge import Scene, judge
from aegis.catalogue.signals import SIGNALS
from aegis.contracts.actions import RollbackRollout
from aegis.contracts.diagnoses import CauseKind, Diagnosis, Hypothesis
from aegis.contracts.findings import Anomaly, Finding, Severity, Symptom
from aegis.contracts.incidents import IncidentReport
from aegis.contracts.outcomes import Stage
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import Named, WorkloadRef
from aegis.contracts.verifications import Verification, VerificationRequest

log = logging.getLogger(__name__)

# The first symptoms may come from upstream of the culprit: a cause has to stay the probable one for a moment.
SETTLED = timedelta(seconds=10)
PERSON_AFTER = timedelta(seconds=20)
PERSON_AFTER_UNUSUAL = timedelta(minutes=2)
PERSON_AFTER_BUSY = timedelta(minutes=10)
# Requests fail while a new workload's parts come up one by one; that is nothing to learn from.
COMING_UP = timedelta(seconds=24)
RATES_LOOK_BACK = 2
# What was proposed and never concluded (denied, only observed) does not silence an incident for ever.
UNDECIDED = timedelta(minutes=15)
# An approval may take a quarter of an hour, and an order another; nobody tells the AI Engine of a no.
UNANSWERED = timedelta(minutes=30)
# What ended without help may have left a playbook's next rung to try, and what helped takes a while to be seen.
STILL_THERE = timedelta(minutes=10)
ACTED = frozenset({Stage.ACTING, Stage.SETTLING, Stage.HELD, Stage.UNDOING})
CONCLUDED = frozenset({Stage.UNDONE, Stage.ESCALATED, Stage.REFUSED, Stage.KEPT, Stage.RELEASED, Stage.EXPIRED})
# What did not help is worth another try after a day, as the Executor sees it too.
HELD_AGAINST_IT = timedelta(days=1)
CONCLUDED_MAX = 1000
REASON_MAX = 500
# What a view makes of an object that is not as the API server's schema has it.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Freshness:
    """How old the newest of what a step rests on may be."""

    cluster_as_of: datetime | None
    metrics_as_of: datetime | None
    has_metrics: bool
    stale_after: timedelta
    """Of metrics."""
    cluster_stale_after: timedelta

    def cluster_is_fresh(self, now: datetime) -> bool:
        return _is_recent(self.cluster_as_of, now, self.cluster_stale_after)

    def metrics(self, now: datetime) -> str:
        if not self.has_metrics:
            return "none"
        return "fresh" if _is_recent(self.metrics_as_of, now, self.stale_after) else "stale"


@dataclass(frozen=True)
class Ended:
    """How a remediation ended, as far as the AI Engine is told."""

    stage: str
    at: datetime
    reason: str = ""


# An older version kept only that it had ended.
_ENDED_SOMEHOW = Ended("concluded", datetime.fromtimestamp(0, UTC))


def _is_recent(as_of: datetime | None, now: datetime, stale_after: timedelta) -> bool:
    """Whether it is; what is of the future was read before the clock went back, and nobody knows how old it is."""
    return as_of is not None and abs(now - as_of) <= stale_after


class Pipeline:
    """All the AI Engine knows, and what it concludes from it."""

    def __init__(self, *, cluster_id: str, metrics_interval: timedelta) -> None:
        self.inventory = Inventory(cluster_id)
        self.history = History()
        self.board = Board(cluster_id=cluster_id, step_seconds=metrics_interval.total_seconds())
        self.incidents = Incidents(cluster_id)
        self._cluster_id = cluster_id
        self._metrics_interval = metrics_interval
        self._anomalies = Anomalies(self.board)
        self._active: list[Finding] = []
        self._proposed_at: dict[str, datetime] = {}
        self._remedies: dict[str, str] = {}
        self._failed: dict[str, datetime] = {}
        self._acted: set[str] = set()
        self._concluded: dict[str, Ended] = {}
        self._unreadable: dict[str, str] = {}
        self._neighbourhood = Neighbourhood((), self.inventory)
        self._written: dict[str, str] = {}

    # -- observe

    def apply(self, changes: Iterable[ObjectChange]) -> None:
        """Take changes in. An object that cannot be read is named, and keeps nobody from seeing the others."""
        for change in changes:
            name = _name_of(change)
            try:
                before, after = self.inventory.apply(change)
            except _UNREADABLE as error:
                if name not in self._unreadable:
                    log.warning("cannot read %s: %s %s", name, type(error).__name__, error)
                self._unreadable[name] = f"cannot be read: {type(error).__name__} {error}"
                continue
            self._unreadable.pop(name, None)
            if before is not None or after is not None:
                self.history.note(before, after, inventory=self.inventory, at=change.at)
        self.history.note_rollouts(self.inventory)

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Objects that nothing is known of, because they are not as they should be: which, and why."""
        return self._unreadable

    def take(self, column: Sequence[Sample], now: datetime) -> None:
        """Take in the newest value of every signal."""
        age = COMING_UP + RATES_LOOK_BACK * self._metrics_interval
        coming_up = frozenset(one.ref for one in self.inventory.workloads.values() if now - one.created_at < age)
        self.board.take(column, now.timestamp(), unsettled=coming_up)
        self._anomalies.update(now.timestamp())

    @property
    def metrics_as_of(self) -> datetime | None:
        newest = self.board.newest_at
        return datetime.fromtimestamp(newest, UTC) if newest is not None else None

    # -- conclude

    def conclude(self, now: datetime, freshness: Freshness) -> Conclusions:
        """Say what is new. On stale objects nothing is concluded at all: an incident neither begins nor ends."""
        if not freshness.cluster_is_fresh(now):
            return Conclusions()
        self.history.settle(now)
        self._forget_proposals(now)
        if freshness.metrics(now) == "fresh":
            self._anomalies.forget_missing(now.timestamp())
        found: list[Finding] = [*symptoms(self.inventory, self.history, now), *self._anomalies.findings()]
        self._active = promote(found, self.inventory, self.history, self.board, now)
        self._neighbourhood = neighbourhood_of(self.inventory, self.board)
        uids = {one.ref: one.uid for one in self.inventory.workloads.values()}
        uids |= {self._node_ref(one.name): one.uid for one in self.inventory.nodes.values()}
        opened = self.incidents.update(group(self._active, self._neighbourhood), now, uids=uids, related=self._called)
        for incident in opened:
            self._freeze_bands(incident)
        troubled = {uids[member] for one in self.incidents.open() for member in one.members if member in uids}
        self.history.acquit(now, troubled=troubled)
        return self._conclusions(now, freshness)

    def _node_ref(self, name: str) -> WorkloadRef:
        return WorkloadRef(cluster_id=self._cluster_id, namespace="", kind="Node", name=name)

    def _freeze_bands(self, incident: Incident) -> None:
        around = incident.members | {one for member in incident.members for one in self._called(member)}
        for ref in around:
            for signal in SIGNALS:
                band = self.board.band(signal, ref)
                if band is not None:
                    incident.bands.setdefault((str(ref), signal.name), band)

    def _called(self, ref: WorkloadRef) -> set[WorkloadRef]:
        return set(self._neighbourhood.dependencies(ref)) | set(self._neighbourhood.dependents(ref))

    def _conclusions(self, now: datetime, freshness: Freshness) -> Conclusions:
        reports: list[IncidentReport] = []
        proposals: list[Proposal] = []
        for incident in self.incidents.all():
            if incident.active:
                proposals.extend(self._follow(incident, now, freshness))
            report = self._report(incident, now)
            digest = _digest(report)
            if digest != incident.reported and (incident.diagnosis is not None or not incident.is_open):
                incident.reported = digest
                reports.append(report)
        stored = [self._stored(one) for one in self.incidents.all()]
        changed = tuple(one for one in stored if self._written.get(one.key) != _hash(one.body))
        self._written = {one.key: _hash(one.body) for one in stored}
        return Conclusions(tuple(reports), tuple(proposals), changed)

    def _stored(self, incident: Incident) -> StoredIncident:
        return StoredIncident(incident.key, to_bytes(incident))

    def _follow(self, incident: Incident, now: datetime, freshness: Freshness) -> list[Proposal]:
        """Diagnose an incident anew, and propose what to do once its causes have settled."""
        case = self.case_of(incident, now)
        diagnosis = diagnose(case)
        # Evidence comes and goes while a problem lasts; what was known once is better than "unknown", to tell people.
        is_kept = incident.diagnosis is not None and _is_vaguer(diagnosis, incident.diagnosis)
        incident.diagnosis = incident.diagnosis if is_kept else diagnosis
        assert incident.diagnosis is not None
        incident.workload = where_it_hurts(case)
        causes = [incident.diagnosis.probable] if is_kept else independent_causes(case, diagnosis)
        remedies = [(cause, remedy_for(case, cause)) for cause in causes]
        follows = [_what_follows(cause, remedy) for cause, remedy in remedies]
        incident.settled = {what: incident.settled.get(what, now) for what in follows}
        subjects = {cause.subject for cause in causes}
        proposals: list[Proposal] = []
        for (cause, remedy), what in zip(remedies, follows, strict=True):
            settled = now - incident.settled[what]
            if isinstance(remedy, str):
                if settled >= _patience(case, cause) and not self._is_under_way(incident.proposed, incident, now):
                    incident.needs_person = remedy
            elif settled >= SETTLED and not is_kept:
                proposals += self._propose(
                    incident, case, cause, remedy, independent=subjects - {cause.subject}, freshness=freshness
                )
            was_patient = settled >= max(PERSON_AFTER_UNUSUAL, _patience(case, diagnosis.probable))
            if isinstance(remedy, Remedy) and was_patient and not (proposals or incident.needs_person):
                incident.needs_person = self._why_alone(incident, remedy, now)
        return proposals

    def _why_alone(self, incident: Incident, remedy: Remedy, now: datetime) -> str:
        """Return why somebody has to look although there is a remedy; empty while something may still help."""
        same = {one: what for one, what in self._proposed_lately(now).items() if what == remedy.unchanged}
        known = same | {one: proposed.unchanged for one, proposed in incident.proposed.items()}
        if any(self._may_still_help(one, incident, now) for one in known):
            return ""
        if not known:
            why = f"{remedy.action.kind} might help, but what speaks for it is not seen any more, or out of date"
            return f"{remedy.owner.ref}: {why}."
        last = max(known, key=lambda one: (self._last_heard_at(one, incident), one))
        action, ended = known[last].partition(":")[0], self._concluded.get(last)
        became = f"ended as {ended.stage}" if ended is not None else "nothing came of it"
        because = f" ({ended.reason})" if ended is not None and ended.reason else ""
        return f"{remedy.owner.ref}: {action} was proposed and {became}{because}. The trouble is still there."

    def _may_still_help(self, proposal_id: str, incident: Incident, now: datetime) -> bool:
        is_with_executor = proposal_id in self._acted and proposal_id not in self._concluded
        patience = STILL_THERE if proposal_id in self._concluded else UNANSWERED
        return is_with_executor or now - self._last_heard_at(proposal_id, incident) < patience

    def _last_heard_at(self, proposal_id: str, incident: Incident) -> datetime:
        ended = self._concluded.get(proposal_id)
        return ended.at if ended is not None else self._proposed_at.get(proposal_id, incident.opened_at)

    def _propose(
        self,
        incident: Incident,
        case: Case,
        cause: Hypothesis,
        remedy: Remedy,
        *,
        independent: AbstractSet[WorkloadRef],
        freshness: Freshness,
    ) -> list[Proposal]:
        """Propose a remedy, unless something is under way already; what has a cause of its own is no hindrance."""
        now = case.now
        failed_at = self._failed.get(remedy.unchanged)
        if failed_at is not None and now - failed_at < HELD_AGAINST_IT:
            incident.needs_person = f"{remedy.action.kind} was tried on the same unchanged spec and did not help"
            return []
        hindering = [key for key, one in incident.proposed.items() if one.owner not in independent]
        if self._is_under_way(hindering, incident, now) or self._was_proposed(remedy, incident, now):
            return []
        as_of = self._data_as_of(case, now, freshness)
        if as_of is None:
            return []  # proposes nothing on stale data
        proposal = proposal_of(
            remedy,
            case=case,
            probable=cause,
            incident_key=incident.key,
            data_as_of=as_of,
            has_metrics=freshness.has_metrics,
        )
        if isinstance(remedy.action, RollbackRollout):
            rollout = self.history.last_rollout(remedy.owner)
            if rollout is not None:
                self.history.condemn(remedy.owner, rollout.revision)
        incident.needs_person = ""
        incident.proposed[proposal.id] = Proposed(remedy.unchanged, remedy.owner.ref)
        self._remedies[proposal.id] = remedy.unchanged
        self._proposed_at[proposal.id] = now
        return [proposal]

    def _was_proposed(self, remedy: Remedy, incident: Incident, now: datetime) -> bool:
        """Whether the same was proposed for this incident, or just now for another: incidents part and join."""
        lately = self._proposed_lately(now).values()
        return remedy.unchanged in lately or any(
            remedy.unchanged == one.unchanged for one in incident.proposed.values()
        )

    def _proposed_lately(self, now: datetime) -> dict[str, str]:
        return {one: self._remedies[one] for one, at in self._proposed_at.items() if now - at < UNDECIDED}

    def _forget_proposals(self, now: datetime) -> None:
        for one in [one for one, at in self._proposed_at.items() if now - at > REMEMBER_RESOLVED]:
            del self._proposed_at[one], self._remedies[one]
        for one in [one for one, at in self._failed.items() if now - at > HELD_AGAINST_IT]:
            del self._failed[one]

    def _is_under_way(self, proposals: Iterable[str], incident: Incident, now: datetime) -> bool:
        open_since = [self._proposed_at.get(one, incident.opened_at) for one in proposals if one not in self._concluded]
        return any(now - since < UNDECIDED for since in open_since)

    def _data_as_of(self, case: Case, now: datetime, freshness: Freshness) -> datetime | None:
        """Return the time of the oldest observation that a proposal rests on; None where that is stale."""
        rests_on_metrics = any(isinstance(one, Anomaly) for found in case.findings.values() for one in found)
        if not rests_on_metrics:
            return freshness.cluster_as_of
        if freshness.metrics(now) != "fresh" or freshness.metrics_as_of is None or freshness.cluster_as_of is None:
            return None
        return min(freshness.metrics_as_of, freshness.cluster_as_of)

    def case_of(self, incident: Incident, now: datetime) -> Case:
        findings: dict[WorkloadRef, list[Finding]] = {}
        for one in incident.active:
            findings.setdefault(one.workload, []).append(one)
        return Case(
            inventory=self.inventory,
            history=self.history,
            board=self.board,
            neighbourhood=self._neighbourhood,
            now=now,
            opened_at=incident.opened_at,
            members=frozenset(findings),
            findings=findings,
            bands=incident.bands,
        )

    def _report(self, incident: Incident, now: datetime) -> IncidentReport:
        return IncidentReport(
            key=incident.key,
            workload=incident.workload,
            affected=tuple(sorted(incident.members - {incident.workload}, key=str)),
            findings=tuple(one for one in incident.findings.values() if opens_incident(one) or one in incident.active),
            diagnosis=incident.diagnosis,
            resolved=not incident.is_open,
            merged_into=incident.merged_into,
            needs_person=incident.needs_person if incident.is_open else "",
            reported_at=now,
        )

    # -- verify

    def verify(self, request: VerificationRequest, now: datetime, freshness: Freshness) -> Verification:
        incident = self.incidents.survivor(request.incident_key)
        scene = Scene(
            inventory=self.inventory,
            history=self.history,
            board=self.board,
            neighbourhood=self._neighbourhood,
            now=now,
            active=[*symptoms(self.inventory, self.history, now), *self._anomalies.findings()],
            known=tuple(incident.findings.values()) if incident is not None else (),
            bands=incident.bands if incident is not None else {},
            cluster_is_fresh=freshness.cluster_is_fresh(now),
            metrics=freshness.metrics(now),
        )
        return judge(request, scene)

    # -- learn

    def learn(self, conclusion: Conclusion) -> None:
        """Remember what came of a proposal: what was done and did not help is not proposed again for the same spec.

        What was never done (a guardrail refused it, the order was withdrawn) says nothing about whether it would help.
        """
        proposal_id, stage = conclusion.proposal_id, conclusion.outcome.stage
        if stage in ACTED:
            self._acted.add(proposal_id)
        if stage not in CONCLUDED:
            return
        outcome = conclusion.outcome
        self._concluded[proposal_id] = Ended(outcome.stage, outcome.at, outcome.reason[:REASON_MAX])
        was_done = stage is Stage.UNDONE or (stage is Stage.ESCALATED and proposal_id in self._acted)
        self._acted.discard(proposal_id)
        unchanged = self._remedies.get(proposal_id) or self._remedy_of(proposal_id)
        if was_done and unchanged is not None:
            self._failed[unchanged] = conclusion.outcome.at

    def _remedy_of(self, proposal_id: str) -> str | None:
        found = (one.proposed[proposal_id] for one in self.incidents.all() if proposal_id in one.proposed)
        return next((one.unchanged for one in found), None)

    # -- a restart loses nothing

    def adopt(self, stored: Iterable[StoredIncident]) -> None:
        """Take over incidents that were written down by another replica or before a restart."""
        self.incidents.adopt(one.body for one in stored)

    def to_plain(self) -> dict[str, Any]:
        return {
            "board": self.board.to_plain(),
            "history": self.history.to_plain(),
            "services": self.history.services_to_plain(),
            "failed": {one: at.isoformat() for one, at in self._failed.items()},
            "acted": sorted(self._acted),
            "concluded": [*self._concluded][-CONCLUDED_MAX:],
            "ended": {name: _plain_ended(one) for name, one in [*self._concluded.items()][-CONCLUDED_MAX:]},
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        self.board.restore(plain["board"])
        self.history.restore(plain["history"])
        self.history.restore_services(plain.get("services", ()))  # an older version kept none
        self._failed.update({one: datetime.fromisoformat(at) for one, at in plain["failed"].items()})
        self._acted.update(plain["acted"])
        self._concluded.update(dict.fromkeys(plain["concluded"], _ENDED_SOMEHOW))
        self._concluded.update({name: _ended_of(one) for name, one in plain.get("ended", {}).items()})

    def take_back(self, conclusions: Conclusions) -> None:
        """Forget having said what could not be written down: the next step says it again."""
        for report in conclusions.reports:
            incident = self.incidents.get(report.key)
            if incident is not None:
                incident.reported = ""
        for proposal in conclusions.proposals:
            incident = self.incidents.get(proposal.incident_key)
            if incident is not None:
                incident.proposed.pop(proposal.id, None)
            self._proposed_at.pop(proposal.id, None)
        self._written.clear()

    # -- names

    def named(self, ref: WorkloadRef) -> Named | None:
        """Return the very object that a name means now, and the workload it belongs to."""
        workload = self.inventory.find(ref)
        if workload is not None:
            found = self.inventory.reference(workload)
            return Named(target=found, owner=found)
        pod = self.inventory.find_pod(ref.namespace, ref.name) if ref.kind == "Pod" else None
        if pod is None:
            return None
        return Named(
            target=self.inventory.reference(pod), owner=self.inventory.reference(self.inventory.owner_of(pod) or pod)
        )


def _what_follows(cause: Hypothesis, remedy: Remedy | str) -> str:
    return f"{cause.cause}:{cause.subject}" if isinstance(remedy, str) else remedy.unchanged


def _patience(case: Case, probable: Hypothesis) -> timedelta:
    """How long to wait before somebody is called: what is merely unusual, and nobody knows why, may pass."""
    shown = [one for found in case.findings.values() for one in found]
    if probable.confidence >= CONFIDENT:
        return PERSON_AFTER
    if probable.cause is CauseKind.MEMORY_LIMIT_TOO_LOW:
        return PERSON_AFTER_UNUSUAL  # once out of memory: the next kill, if there is one, tells more
    is_bad = any(isinstance(one, Symptom) or one.severity is Severity.CRITICAL for one in shown)
    if is_bad:
        return PERSON_AFTER
    is_busy = any(more_traffic(case, member) for member in case.members)
    return PERSON_AFTER_BUSY if is_busy else PERSON_AFTER_UNUSUAL


def _plain_ended(ended: Ended) -> dict[str, str]:
    return {"stage": ended.stage, "at": ended.at.isoformat(), "reason": ended.reason}


def _ended_of(plain: Mapping[str, str]) -> Ended:
    return Ended(plain["stage"], datetime.fromisoformat(plain["at"]), plain["reason"])


def _name_of(change: ObjectChange) -> str:
    metadata = change.object.get("metadata") or {}
    return f"{change.resource} {metadata.get('namespace', '')}/{metadata.get('name', '')}"


def _is_vaguer(new: Diagnosis, old: Diagnosis) -> bool:
    return new.probable.confidence < CONFIDENT <= old.probable.confidence


def _digest(report: IncidentReport) -> str:
    """What makes a report news: not the time, nor how a number wobbles."""
    probable = report.diagnosis.probable if report.diagnosis is not None else None
    return _hash(
        orjson.dumps([
            str(report.workload),
            sorted(str(one) for one in report.affected),
            sorted((one.fingerprint, one.severity) for one in report.findings),
            [probable.cause, str(probable.subject), round(probable.confidence, 1)] if probable is not None else None,
            report.resolved,
            report.merged_into,
            bool(report.needs_person),
        ])
    )  # fmt: skip


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]

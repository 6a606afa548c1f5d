"""The life of incidents: opened, joined, quiet for a while, resolved. Keys are the same on every replica."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import TypeAdapter

from aegis.ai_engine.correlation.grouping import TOGETHER, Group
from aegis.ai_engine.detection.board import Band
from aegis.contracts.diagnoses import Diagnosis
from aegis.contracts.findings import Finding, Severity
from aegis.contracts.targets import WorkloadRef

# Findings come and go while a problem lasts; only a stretch without any means that it is over.
QUIET_BEFORE_RESOLVED = timedelta(seconds=90)
# A change that is held for a while is judged by what was usual before, long after the incident is over.
REMEMBER_RESOLVED = timedelta(hours=6)
FINDINGS_MAX = 100

_FINDING: TypeAdapter[Finding] = TypeAdapter(Finding)
_SEVERITIES = list(Severity)

Related = Callable[[WorkloadRef], set[WorkloadRef]]
BandKey = tuple[str, str]
"""Workload (as text) and signal."""


@dataclass(frozen=True)
class Proposed:
    """What was proposed for an incident."""

    unchanged: str
    """What it would do to what: the same text means the same action on the same unchanged thing."""
    owner: WorkloadRef


@dataclass
class Incident:
    """A problem as the AI Engine follows it."""

    key: str
    workload: WorkloadRef
    opened_at: datetime
    members: set[WorkloadRef]
    findings: dict[str, Finding] = field(default_factory=dict)
    """All it ever showed, by fingerprint."""
    active: tuple[Finding, ...] = ()
    last_active_at: datetime | None = None
    resolved_at: datetime | None = None
    bands: dict[BandKey, Band] = field(default_factory=dict)
    """What was usual for its workloads when it began."""
    diagnosis: Diagnosis | None = None
    needs_person: str = ""
    settled: dict[str, datetime] = field(default_factory=dict)
    """What follows from its causes, and since when it always did."""
    proposed: dict[str, Proposed] = field(default_factory=dict)
    """By the proposals' ids."""
    merged_into: str | None = None
    """The key of the incident that it turned out to be part of."""
    reported: str = ""
    """A digest of what was reported last: the same again is no news."""

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None


def incident_key(cluster_id: str, workload: str, started_at: datetime) -> str:
    """Return the same key wherever and whenever it is asked for; to the minute, as replicas see things seconds apart.

    >>> from datetime import UTC, datetime
    >>> incident_key("c", "uid-1", datetime(2026, 1, 5, 10, 0, 1, tzinfo=UTC)) == incident_key(
    ...     "c", "uid-1", datetime(2026, 1, 5, 10, 0, 59, tzinfo=UTC))
    True
    """
    text = f"{cluster_id}\0{workload}\0{started_at:%Y-%m-%dT%H:%M}"
    return f"inc-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


class Incidents:
    """All that are open, and for a while those that were."""

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id
        self._known: dict[str, Incident] = {}

    def all(self) -> list[Incident]:
        return list(self._known.values())

    def open(self) -> list[Incident]:
        return [one for one in self._known.values() if one.is_open]

    def get(self, key: str) -> Incident | None:
        return self._known.get(key)

    def survivor(self, key: str) -> Incident | None:
        """Return the incident with that key, or the one that it was merged into."""
        found = self._known.get(key)
        while found is not None and found.merged_into is not None:
            found = self._known.get(found.merged_into)
        return found

    def update(
        self, groups: Sequence[Group], now: datetime, *, uids: Mapping[WorkloadRef, str], related: Related
    ) -> list[Incident]:
        """Continue, open, join and resolve; return those that were opened now.

        `related` says what depends on a workload, or it on them: the tail of a problem may show there alone.
        """
        opened, continued = [], set()
        for found in sorted(groups, key=lambda one: one.started_at):
            same = self._matching(found, related)
            incident = same[0] if same else self._open(found, uids)
            if not same:
                opened.append(incident)
            for other in same[1:]:
                self._absorb(incident, other, now)
            if incident.key not in continued:
                incident.active = ()
            continued.add(incident.key)
            _continue(incident, found, now)
        for incident in self.open():
            if incident.key not in continued:
                _let_rest(incident, now)
        self._forget(now)
        return opened

    def _matching(self, found: Group, related: Related) -> list[Incident]:
        ours = sorted((one for one in self.open() if one.members & found.members), key=_age)
        if ours:
            return ours
        near = {other for member in found.members for other in related(member)}
        tails = (one for one in self.open() if one.members & near and found.started_at - one.opened_at <= TOGETHER)
        return sorted(tails, key=_age)[:1]

    def _open(self, found: Group, uids: Mapping[WorkloadRef, str]) -> Incident:
        first = min(
            found.findings, key=lambda one: (-_SEVERITIES.index(one.severity), one.started_at, str(one.workload))
        )
        key = incident_key(self._cluster_id, uids.get(first.workload, str(first.workload)), found.started_at)
        incident = self._known.get(key)
        if incident is None:
            incident = Incident(key, first.workload, found.started_at, set(found.members))
            self._known[key] = incident
        incident.resolved_at = incident.merged_into = None
        return incident

    def _absorb(self, incident: Incident, other: Incident, now: datetime) -> None:
        incident.members |= other.members
        incident.findings |= other.findings
        incident.bands = other.bands | incident.bands
        incident.proposed = other.proposed | incident.proposed
        other.active, other.resolved_at, other.merged_into = (), now, incident.key

    def _forget(self, now: datetime) -> None:
        for incident in [*self._known.values()]:
            if incident.resolved_at is not None and now - incident.resolved_at > REMEMBER_RESOLVED:
                del self._known[incident.key]

    def adopt(self, bodies: Iterable[bytes]) -> None:
        """Take over incidents that another replica, or this one before it restarted, has written down."""
        for body in bodies:
            incident = from_bytes(body)
            self._known.setdefault(incident.key, incident)


def _age(incident: Incident) -> tuple[datetime, str]:
    return incident.opened_at, incident.key


def _continue(incident: Incident, found: Group, now: datetime) -> None:
    incident.members |= found.members
    incident.active += found.findings
    incident.last_active_at = now
    for finding in found.findings:
        if finding.fingerprint in incident.findings or len(incident.findings) < FINDINGS_MAX:
            incident.findings[finding.fingerprint] = finding


def _let_rest(incident: Incident, now: datetime) -> None:
    incident.active = ()
    if incident.last_active_at is None or now - incident.last_active_at >= QUIET_BEFORE_RESOLVED:
        incident.resolved_at = now


def to_bytes(incident: Incident) -> bytes:
    return orjson.dumps({
        "key": incident.key,
        "workload": incident.workload.model_dump(),
        "opened_at": incident.opened_at,
        "members": [one.model_dump() for one in sorted(incident.members, key=str)],
        "findings": [_FINDING.dump_python(one, mode="json") for one in incident.findings.values()],
        "last_active_at": incident.last_active_at,
        "resolved_at": incident.resolved_at,
        "bands": [[*key, band.low, band.high] for key, band in incident.bands.items()],
        "proposed": [[key, one.unchanged, one.owner.model_dump()] for key, one in incident.proposed.items()],
        "merged_into": incident.merged_into,
        "diagnosis": incident.diagnosis.model_dump(mode="json") if incident.diagnosis is not None else None,
        "needs_person": incident.needs_person,
        "reported": incident.reported,
    })  # fmt: skip


def from_bytes(body: bytes) -> Incident:
    plain: dict[str, Any] = orjson.loads(body)
    findings = [_FINDING.validate_python(one) for one in plain["findings"]]
    return Incident(
        key=plain["key"],
        workload=WorkloadRef.model_validate(plain["workload"]),
        opened_at=datetime.fromisoformat(plain["opened_at"]),
        members={WorkloadRef.model_validate(one) for one in plain["members"]},
        findings={one.fingerprint: one for one in findings},
        last_active_at=_moment(plain["last_active_at"]),
        resolved_at=_moment(plain["resolved_at"]),
        bands={(workload, signal): Band(low, high) for workload, signal, low, high in plain["bands"]},
        proposed={
            key: Proposed(unchanged, WorkloadRef.model_validate(owner)) for key, unchanged, owner in plain["proposed"]
        },
        merged_into=plain["merged_into"],
        diagnosis=Diagnosis.model_validate(plain["diagnosis"]) if plain["diagnosis"] is not None else None,
        needs_person=plain["needs_person"],
        reported=plain["reported"],
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None

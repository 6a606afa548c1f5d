"""How symptoms are written down: one way to make fingerprints and texts."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from aegis.contracts.findings import Severity, Symptom
from aegis.contracts.targets import WorkloadRef


def fingerprint(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one rule saw on one object."""

    workload: WorkloadRef
    reason: str
    since: datetime
    summary: str
    severity: Severity = Severity.WARNING
    object_kind: str = ""
    object_name: str = ""
    revision: str | None = None
    count: int = 1

    def as_symptom(self, now: datetime) -> Symptom:
        return Symptom(
            fingerprint=fingerprint(self.workload, self.reason, self.revision or ""),
            workload=self.workload,
            started_at=self.since,
            observed_at=now,
            severity=self.severity,
            summary=self.summary[:4000],
            reason=self.reason,
            object_kind=self.object_kind,
            object_name=self.object_name,
            revision=self.revision,
            count=self.count,
        )

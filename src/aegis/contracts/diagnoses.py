"""Why it is wrong: possible causes, ranked, with what speaks for them."""

from enum import StrEnum

from pydantic import Field

from aegis.contracts.base import Contract, Moment, Text
from aegis.contracts.targets import WorkloadRef


class CauseKind(StrEnum):
    """What can be the matter, as far as Aegis can tell today."""

    BAD_REVISION = "bad_revision"
    CONFIGURATION_MISSING = "configuration_missing"
    IMAGE_UNAVAILABLE = "image_unavailable"
    DEPENDENCY_OUTAGE = "dependency_outage"
    CONNECTIONS_EXHAUSTED = "connections_exhausted"
    MEMORY_LIMIT_TOO_LOW = "memory_limit_too_low"
    MEMORY_LEAK = "memory_leak"
    TRAFFIC_SATURATION = "traffic_saturation"
    CPU_LIMIT_TOO_LOW = "cpu_limit_too_low"
    PROBE_TOO_TIGHT = "probe_too_tight"
    UNSCHEDULABLE = "unschedulable"
    QUOTA_EXHAUSTED = "quota_exhausted"
    NODE_LOST = "node_lost"
    JOB_FAILING = "job_failing"
    DISK_FULL = "disk_full"
    UNKNOWN = "unknown"


class Evidence(Contract):
    """A finding or a fact that supports a hypothesis."""

    text: Text
    at: Moment | None = None
    fingerprint: str = ""


class Hypothesis(Contract):
    cause: CauseKind
    subject: WorkloadRef
    """Where the cause sits, which need not be where it hurts."""
    confidence: float = Field(ge=0, le=1)
    evidence: tuple[Evidence, ...] = ()
    summary: Text = ""


class Diagnosis(Contract):
    """Hypotheses, ranked; the first is the probable cause."""

    hypotheses: tuple[Hypothesis, ...] = Field(min_length=1)
    made_at: Moment

    @property
    def probable(self) -> Hypothesis:
        return self.hypotheses[0]

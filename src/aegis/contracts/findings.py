"""Something looks wrong. Learned, seen, or told: Anomaly, Symptom, Alert."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from aegis.contracts.base import Contract, Moment, Name, Text
from aegis.contracts.targets import WorkloadRef


class Severity(StrEnum):
    """How bad for users."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class _Finding(Contract):
    fingerprint: Name
    """Stable identity of a finding that repeats: the same for every occurrence."""
    workload: WorkloadRef
    started_at: Moment
    observed_at: Moment
    severity: Severity = Severity.WARNING
    summary: Text = ""


class Anomaly(_Finding):
    """A signal left the range its detector learned."""

    type: Literal["anomaly"] = "anomaly"
    signal: Name
    value: float
    score: float = Field(ge=0, le=1)
    usual: float | None = None


class Symptom(_Finding):
    """Kubernetes itself reports a known bad state, such as OOMKilled."""

    type: Literal["symptom"] = "symptom"
    reason: Name
    object_kind: str = ""
    object_name: str = ""
    revision: str | None = None
    """The pod-template-hash of the pods that show it, where there is one."""
    count: int = 1


class Alert(_Finding):
    """Somebody else's monitoring told us."""

    type: Literal["alert"] = "alert"
    name: Name
    labels: dict[str, str] = Field(default_factory=dict)
    resolved: bool = False


Finding = Annotated[Anomaly | Symptom | Alert, Field(discriminator="type")]

"""Did it help, and did it do harm next door?"""

from enum import StrEnum
from typing import Literal

from aegis.contracts.base import Contract, Moment, Name, Text
from aegis.contracts.findings import Finding
from aegis.contracts.targets import WorkloadRef


class Judgement(StrEnum):
    BETTER = "better"
    """The signals are back in their band and nothing new broke."""
    NOT_YET = "not_yet"
    WORSE = "worse"
    UNKNOWN = "unknown"
    """Cannot be told: no metrics, no baseline, no answer."""


class VerificationRequest(Contract):
    """The Executor asks the AI Engine: is what you proposed back to usual, since `acted_at`?

    With `purpose` `release` it asks of a temporary change that helped: would it be well without it now, that is,
    has what made it necessary (the traffic, say) gone? `better` then means: give it back.
    """

    purpose: Literal["recovery", "release"] = "recovery"
    remediation_id: Name
    order_id: Name
    incident_key: Name
    workload: WorkloadRef
    signals: tuple[Name, ...] = ()
    acted_at: Moment
    settle_until: Moment


class SignalCheck(Contract):
    signal: Name
    value: float | None
    usual_low: float | None = None
    usual_high: float | None = None
    in_band: bool | None
    """None where there is no data."""


class Verification(Contract):
    judgement: Judgement
    reasons: tuple[Text, ...] = ()
    signals: tuple[SignalCheck, ...] = ()
    new_findings: tuple[Finding, ...] = ()
    """What broke near the target since it was acted on."""
    at: Moment

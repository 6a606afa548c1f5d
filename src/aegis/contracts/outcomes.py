"""How far an order has come, as the Executor reports it."""

from enum import StrEnum

from pydantic import Field

from aegis.contracts.base import Contract, Moment, Name, Text
from aegis.contracts.verifications import Verification


class Stage(StrEnum):
    BLOCKED = "blocked"
    """A guardrail says not now; looked at again until the order expires."""
    REFUSED = "refused"
    EXPIRED = "expired"
    ACTING = "acting"
    SETTLING = "settling"
    KEPT = "kept"
    HELD = "held"
    RELEASED = "released"
    UNDOING = "undoing"
    UNDONE = "undone"
    ESCALATED = "escalated"
    """Neither done nor undone as it should be: a person has to look."""


class Outcome(Contract):
    """One report about one order. `sequence` counts up from 1 for each order; a report may come twice."""

    order_id: Name
    remediation_id: Name
    sequence: int = Field(ge=1, le=10**9)
    stage: Stage
    reason: Text = ""
    guardrail: str = ""
    """The check or reservation that said so, where one did."""
    verification: Verification | None = None
    escalate: bool = False
    """Somebody should look, whatever the stage: a held change that must not be given back by itself, say."""
    at: Moment

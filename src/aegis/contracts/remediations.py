"""The whole attempt on one incident: its states, and how the Backend shows it."""

from enum import StrEnum

from aegis.contracts.approvals import Approval
from aegis.contracts.base import Contract, Moment, Name, Text
from aegis.contracts.decisions import Decision
from aegis.contracts.outcomes import Outcome
from aegis.contracts.plans import CheckResult, Plan
from aegis.contracts.proposals import Proposal


class RemediationState(StrEnum):
    """The states of docs/design of a remediation; which follows which is the Backend's lifecycle."""

    PROPOSED = "proposed"
    REHEARSING = "rehearsing"
    DECIDING = "deciding"
    AWAITING_APPROVAL = "awaiting_approval"
    ORDERED = "ordered"
    BLOCKED = "blocked"
    ACTING = "acting"
    SETTLING = "settling"
    HELD = "held"
    UNDOING = "undoing"
    KEPT = "kept"
    RELEASED = "released"
    UNDONE = "undone"
    ESCALATED = "escalated"
    REFUSED = "refused"
    DENIED = "denied"
    EXPIRED = "expired"
    OBSERVED = "observed"
    CANCELLED = "cancelled"


class Remediation(Contract):
    """A remediation as the Backend keeps and shows it."""

    id: Name
    incident_id: str
    order_id: Name
    state: RemediationState
    reason: Text = ""
    proposal: Proposal
    plan: Plan | None = None
    checks: tuple[CheckResult, ...] = ()
    decision: Decision | None = None
    approvals: tuple[Approval, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    proposed_at: Moment
    updated_at: Moment
    expires_at: Moment | None = None

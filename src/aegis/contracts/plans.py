"""What an action would change, without changing it: the Executor's answer to a rehearsal."""

from datetime import timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from aegis.contracts.actions import ActionKind
from aegis.contracts.base import Contract, Moment, Name, StrictContract, Text
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetFacts, TargetRef


class Rehearsal(StrictContract):
    """The Backend asks: work out what this would do, and try it without changing anything.

    `order_id` is drawn now, so that the plan can carry the stamp of the order that may follow.
    """

    id: Name
    remediation_id: Name
    order_id: Name
    proposal: Proposal
    requested_at: Moment
    expires_at: Moment


class FieldChange(Contract):
    """One touched field, redacted: never a value of an environment variable or a Secret."""

    path: Name
    before: str | None
    after: str | None


class CheckVerdict(StrEnum):
    PASSED = "passed"
    REFUSED = "refused"
    """No, for good."""
    BLOCKED = "blocked"
    """No, for now."""
    INCONCLUSIVE = "inconclusive"
    """Data is missing: it pauses and asks, it never acts."""


class CheckResult(Contract):
    name: Name
    verdict: CheckVerdict
    reason: Text = ""


class Disturbance(Contract):
    """How much this would disturb: pods that are healthy now and would be taken away."""

    healthy_pods: int = 0
    of_healthy_pods: int = 0
    at_once: int = 0


class LeaseTerms(Contract):
    """A change with an end date: given back when its signals are usual again, at the latest after `maximum`."""

    maximum: timedelta


class Plan(Contract):
    """The redacted picture of the exact requests an order would send, and of their undo.

    `hash` is the SHA-256 (hex) of the exact bytes, which stay with the Executor. It is what people approve.
    """

    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    order_id: Name
    target: TargetRef
    owner: TargetRef
    action: ActionKind
    summary: Text
    requests: tuple[str, ...]
    """What would be sent, a line each: `PATCH /apis/apps/v1/namespaces/shop/deployments/web`."""
    changes: tuple[FieldChange, ...] = ()
    undo_changes: tuple[FieldChange, ...] = ()
    reversible: bool
    on_unknown: Literal["revert", "hold_and_page", "escalate"]
    lease: LeaseTerms | None = None
    settle: timedelta
    deadline: timedelta
    """From the write: neither kept nor undone by then means the verdict is unknown."""
    disturbance: Disturbance = Disturbance()
    facts: TargetFacts
    made_at: Moment


class RehearsalStatus(StrEnum):
    PLANNED = "planned"
    REFUSED = "refused"
    FAILED = "failed"
    """It could not be worked out now (the API server is gone, say): worth another try until it expires."""


class RehearsalResult(Contract):
    """What came of a rehearsal. `plan` is there exactly when `status` is `planned`.

    A planned one may have checks that say `blocked` or `inconclusive` for now; policy and people see them.
    """

    rehearsal_id: Name
    remediation_id: Name
    status: RehearsalStatus
    reason: Text = ""
    checks: tuple[CheckResult, ...] = ()
    plan: Plan | None = None
    facts: TargetFacts | None = None
    finished_at: Moment

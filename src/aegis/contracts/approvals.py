"""A person's yes or no to exactly one plan, until a time."""

from enum import StrEnum

from aegis.contracts.base import Moment, Name, StrictContract, Text


class Verdict(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"


class Approval(StrictContract):
    id: Name
    remediation_id: Name
    plan_hash: Name
    approver: Name
    verdict: Verdict
    comment: Text = ""
    given_at: Moment
    expires_at: Moment

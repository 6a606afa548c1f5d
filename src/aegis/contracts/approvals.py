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
    key_id: str = ""
    signature: str = ""
    """The approver's own, over `consent_bytes`: what the Executor's policy floor may ask for."""


def consent_bytes(*, remediation_id: str, plan_hash: str, approver: str, verdict: Verdict) -> bytes:
    """Return what an approver signs, so that nobody else can consent in their name."""
    return f"aegis-consent:1:{remediation_id}:{plan_hash}:{approver}:{verdict}".encode()

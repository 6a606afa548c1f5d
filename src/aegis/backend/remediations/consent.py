"""Whose yes counts, and when it is enough. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime

from aegis.backend.identity.roles import Permission, Principal
from aegis.contracts.approvals import Approval, Verdict
from aegis.contracts.decisions import Decision


def objection(
    principal: Principal, *, requesters: Collection[str], decision: Decision, namespace: str | None
) -> str | None:
    """Say why this person's word does not count for this remediation; None means that it does."""
    if principal.is_service:
        return f"{principal.actor} is a service; only a person approves"
    if principal.actor in requesters:
        return f"{principal.actor} requested this; somebody else has to approve it"
    if not principal.may(Permission.APPROVE, namespace):
        return f"{principal.actor} may not approve in namespace {namespace}"
    if not principal.has_role(decision.approver_role, namespace):
        return f"{principal.actor} does not hold the role {decision.approver_role} in namespace {namespace}"
    return None


def is_consent(approvals: Iterable[Approval], *, plan_hash: str, decision: Decision, now: datetime) -> bool:
    """Return whether enough people said yes to exactly this plan, and still mean it."""
    live = {
        approval.approver
        for approval in approvals
        if approval.plan_hash == plan_hash and approval.verdict is Verdict.APPROVED and approval.expires_at > now
    }
    return len(live) >= max(1, decision.approvals_needed)

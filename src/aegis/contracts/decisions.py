"""What policy says of a plan, and why."""

from enum import StrEnum

from pydantic import Field

from aegis.contracts.base import Contract, Text


class Effect(StrEnum):
    """Ordered by strictness: the strictest matching rule wins."""

    ALLOW = "allow"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"


class Decision(Contract):
    effect: Effect
    reasons: tuple[Text, ...] = Field(min_length=1)
    rule: str = ""
    """`<policy>/<rule>` of the rule that decided; empty where silence decided."""
    policy_version: str
    approvals_needed: int = Field(default=0, ge=0)
    approver_role: str = ""

"""What follows from health and signals: wait, keep, hold, undo, or call a person. Pure.

Keep needs both the owner's health and the signals; either may say undo; unknown is its own answer.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from aegis.contracts.plans import Plan
from aegis.contracts.verifications import Judgement, Verification
from aegis.executor.observe.health import Health

WORSE_LOOKS_NEEDED = 2


class Follow(Enum):
    WAIT = "wait"
    KEEP = "keep"
    HOLD = "hold"
    UNDO = "undo"
    HOLD_AND_PAGE = "hold_and_page"
    ESCALATE = "escalate"


@dataclass(frozen=True)
class Look:
    """One look at what an action has done so far."""

    now: datetime
    acted_at: datetime
    health: Health
    """Of the owner, as the Executor itself reads it."""
    verification: Verification | None
    """None where the AI Engine did not answer in time."""
    well_since: datetime | None = None
    worse_looks: int = 0
    follows_on: bool = True
    """Whether it came soon enough after the one before; nobody knows what happened in a gap."""


@dataclass(frozen=True)
class Verdict:
    follow: Follow
    reason: str
    well_since: datetime | None = None
    worse_looks: int = 0


def judge(look: Look, plan: Plan) -> Verdict:
    """Return what follows from one look, given the looks before."""
    judgement = look.verification.judgement if look.verification is not None else Judgement.UNKNOWN
    why = "; ".join(look.verification.reasons) if look.verification is not None else "the AI Engine does not answer"
    worse_looks = look.worse_looks + 1 if judgement is Judgement.WORSE else 0
    if worse_looks >= WORSE_LOOKS_NEEDED:
        return _take_back(plan, f"worse: {why}")
    if look.health.is_well and judgement is Judgement.BETTER:
        return _while_well(look, plan)
    if look.now - look.acted_at >= plan.deadline:
        return _at_deadline(look, plan, judgement, why)
    reason = look.health.why_not or why or judgement.value
    return Verdict(Follow.WAIT, reason, worse_looks=worse_looks)


def _while_well(look: Look, plan: Plan) -> Verdict:
    well_since = look.well_since if look.follows_on and look.well_since is not None else look.now
    lasted = look.now - well_since
    if lasted < plan.settle:
        return Verdict(Follow.WAIT, f"well for {lasted.total_seconds():.0f} s", well_since=well_since)
    reason = f"healthy and back to usual for {lasted.total_seconds():.0f} s"
    if look.verification is not None and look.verification.reasons:
        reason += f" ({'; '.join(look.verification.reasons)})"
    return Verdict(Follow.HOLD if plan.lease is not None else Follow.KEEP, reason, well_since=well_since)


def _at_deadline(look: Look, plan: Plan, judgement: Judgement, why: str) -> Verdict:
    unreadable = look.health.unreadable_because
    if unreadable or (look.health.is_well and judgement is Judgement.UNKNOWN):
        reason = f"nobody can tell whether it helped: {unreadable or why}"
        match plan.on_unknown:
            case "revert":
                return _take_back(plan, reason)
            case "hold_and_page":
                return Verdict(Follow.HOLD_AND_PAGE, reason)
            case "escalate":
                return Verdict(Follow.ESCALATE, reason)
    return _take_back(plan, f"not better by the deadline: {look.health.why_not or why}")


def _take_back(plan: Plan, reason: str) -> Verdict:
    if plan.reversible:
        return Verdict(Follow.UNDO, reason)
    return Verdict(Follow.ESCALATE, f"{reason}; {plan.action} has no undo")

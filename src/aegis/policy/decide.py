"""Yes, no, or ask somebody: the strictest rule that matches wins, and silence means no."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from aegis.catalogue.actions import ACTIONS
from aegis.contracts.base import TEXT_MAX
from aegis.contracts.decisions import Decision, Effect
from aegis.contracts.plans import Plan
from aegis.contracts.proposals import Proposal
from aegis.policy.conditions import Known, Truth
from aegis.policy.rules import Policy, Rule

FAILURES_THAT_DEMOTE = 3
"""After so many of a rule's actions in a row came to nothing, a person decides, until one helps again."""
FAILURES_COUNT_FOR = timedelta(days=30)
"""What failed before that says little about the cluster of today."""

_STRICTEST_FIRST = (Effect.DENY, Effect.REQUIRE_APPROVAL, Effect.ALLOW)


@dataclass(frozen=True)
class Context:
    """What a decision depends on besides the proposal, the plan and the policies."""

    now: datetime
    policy_version: str
    demoted: frozenset[str] = frozenset()
    """Rules that have failed so often in a row that they allow nothing without a person."""


class Match(NamedTuple):
    """One rule that speaks of a proposal, and whether its condition holds."""

    policy: str
    rule: Rule
    truth: Truth

    @property
    def counts(self) -> bool:
        return _counts(self.truth, self.rule.effect)

    @property
    def name(self) -> str:
        return f"{self.policy}/{self.rule.name}"


def _counts(truth: Truth, effect: Effect) -> bool:
    """A condition that cannot be evaluated never grants anything, and always holds back."""
    return truth is Truth.TRUE or (truth is Truth.UNDECIDED and effect is not Effect.ALLOW)


def decide(proposal: Proposal, plan: Plan, policies: Sequence[Policy], context: Context) -> Decision:
    """Return what the policies, the target's mode and the catalogue say, with reasons. Pure."""
    speaking = _speaking(proposal, plan, policies)
    facts = Known(facts_of(proposal, plan, context))
    for effect in _STRICTEST_FIRST:
        matches = [
            Match(name, rule, truth)
            for name, rule in speaking
            if rule.effect is effect and _counts(truth := rule.condition.holds(facts), effect)
        ]
        if matches:
            return _decision(effect, matches, plan, context)
    reason = f"no rule allows {plan.action} in {proposal.target.namespace or 'the cluster'}: silence means no"
    return Decision(effect=Effect.DENY, reasons=(reason,), policy_version=context.policy_version)


def _decision(effect: Effect, matches: Sequence[Match], plan: Plan, context: Context) -> Decision:
    """Return what the strictest rules that matched, all of one effect, come to."""
    reasons = tuple(_reason(match) for match in matches)
    rule, version = matches[0].name, context.policy_version
    held_back = _held_back(plan, matches, context) if effect is Effect.ALLOW else ()
    if held_back:
        return Decision(
            effect=Effect.REQUIRE_APPROVAL, reasons=(*held_back, reasons[0]), rule=rule, policy_version=version,
            approvals_needed=1, approver_role="approver",
        )  # fmt: skip
    asks = effect is Effect.REQUIRE_APPROVAL
    return Decision(
        effect=effect, reasons=reasons, rule=rule, policy_version=version,
        approvals_needed=_approvals_needed(matches) if asks else 0,
        approver_role=_approver_role(matches) if asks else "",
    )  # fmt: skip


def matching(proposal: Proposal, plan: Plan, policies: Sequence[Policy], context: Context) -> list[Match]:
    """Return every rule that speaks of this action, cause and namespace, and how its condition came out."""
    facts = Known(facts_of(proposal, plan, context))
    return [Match(name, rule, rule.condition.holds(facts)) for name, rule in _speaking(proposal, plan, policies)]


def _speaking(proposal: Proposal, plan: Plan, policies: Sequence[Policy]) -> list[tuple[str, Rule]]:
    action, cause, namespace = plan.action, proposal.cause, proposal.target.namespace or ""
    return [
        (policy.name, rule)
        for policy in policies
        for rule in policy.rules_that_speak_of(action=action, cause=cause, namespace=namespace)
    ]


def facts_of(proposal: Proposal, plan: Plan, context: Context) -> dict[str, object]:
    """Return what conditions may mention (`aegis.policy.conditions.VARIABLES`), as of now."""
    facts = plan.facts
    return {
        "workload.cluster": proposal.owner.cluster_id,
        "workload.namespace": proposal.owner.namespace or "",
        "workload.kind": proposal.owner.kind,
        "workload.name": proposal.owner.name,
        "workload.labels": facts.workload_labels,
        "workload.namespace_labels": facts.namespace_labels,
        "workload.replicas": facts.replicas,
        "workload.healthy": facts.healthy,
        "workload.owned_by": facts.owned_by,
        "action": plan.action.value,
        "cause": proposal.cause.value,
        "confidence": proposal.confidence,
        "mode": facts.mode,
        "proposed_by": proposal.proposed_by,
        "plan.reversible": plan.reversible,
        "plan.disturbs": plan.disturbance.healthy_pods,
        "plan.changes": len(plan.changes),
        "now": context.now,
    }


def _held_back(plan: Plan, matches: Sequence[Match], context: Context) -> tuple[str, ...]:
    """Return why an allowed plan still needs a person: its target's mode, what may never run unasked, what failed."""
    reasons = []
    if plan.facts.mode == "approve":
        reasons.append("the target is in mode approve")
    if not (plan.reversible or ACTIONS[plan.action].harmless):
        reasons.append(f"{plan.action} can neither be undone nor is it harmless")
    reasons += [
        f"rule {match.name} has failed {FAILURES_THAT_DEMOTE} times in a row; it is allowed again once it helps"
        for match in matches
        if match.name in context.demoted
    ]
    return tuple(reasons)


def _reason(match: Match) -> str:
    why = match.rule.because or f"rule {match.name} says {match.rule.effect}"
    undecided = " (its condition could not be evaluated)" if match.truth is Truth.UNDECIDED else ""
    return f"{match.name}: {why}{undecided}"[:TEXT_MAX]


def _approvals_needed(matches: Sequence[Match]) -> int:
    return max(match.rule.approvals.count for match in matches)


def _approver_role(matches: Sequence[Match]) -> str:
    return "admin" if any(match.rule.approvals.role == "admin" for match in matches) else "approver"

"""Yes, no, or ask somebody: the strictest rule that matches wins, and silence means no."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aegis.catalogue.actions import ACTIONS
from aegis.contracts.decisions import Decision, Effect
from aegis.contracts.plans import Plan
from aegis.contracts.proposals import Proposal
from aegis.policy.conditions import Truth
from aegis.policy.rules import Policy, Rule

_STRICTNESS = {Effect.ALLOW: 0, Effect.REQUIRE_APPROVAL: 1, Effect.DENY: 2}


@dataclass(frozen=True)
class Context:
    """What a decision depends on besides the proposal, the plan and the policies."""

    now: datetime
    policy_version: str


@dataclass(frozen=True)
class Match:
    """One rule that speaks of a proposal, and whether its condition holds."""

    policy: str
    rule: Rule
    truth: Truth

    @property
    def counts(self) -> bool:
        """A condition that cannot be evaluated never grants anything, and always holds back."""
        return self.truth is Truth.TRUE or (self.truth is Truth.UNDECIDED and self.rule.effect is not Effect.ALLOW)

    @property
    def name(self) -> str:
        return f"{self.policy}/{self.rule.name}"


def decide(proposal: Proposal, plan: Plan, policies: Sequence[Policy], context: Context) -> Decision:
    """Return what the policies, the target's mode and the catalogue say, with reasons. Pure."""
    matches = [match for match in matching(proposal, plan, policies, context) if match.counts]
    if not matches:
        reason = f"no rule allows {plan.action} in {proposal.target.namespace or 'the cluster'}: silence means no"
        return Decision(effect=Effect.DENY, reasons=(reason,), policy_version=context.policy_version)
    strictest = max(matches, key=lambda match: _STRICTNESS[match.rule.effect])
    held_back = _held_back(plan)
    if strictest.rule.effect is Effect.ALLOW and held_back:
        return Decision(
            effect=Effect.REQUIRE_APPROVAL,
            reasons=(*held_back, _reason(strictest)),
            rule=strictest.name,
            policy_version=context.policy_version,
            approvals_needed=1,
            approver_role="approver",
        )
    asks = strictest.rule.effect is Effect.REQUIRE_APPROVAL
    return Decision(
        effect=strictest.rule.effect,
        reasons=tuple(_reason(match) for match in matches if match.rule.effect is strictest.rule.effect),
        rule=strictest.name,
        policy_version=context.policy_version,
        approvals_needed=_approvals_needed(matches) if asks else 0,
        approver_role=_approver_role(matches) if asks else "",
    )


def matching(proposal: Proposal, plan: Plan, policies: Sequence[Policy], context: Context) -> list[Match]:
    """Return every rule that speaks of this action, cause and namespace, and how its condition came out."""
    facts = facts_of(proposal, plan, context)
    namespace = proposal.target.namespace or ""
    return [
        Match(policy.name, rule, rule.condition.holds(facts))
        for policy in policies
        for rule in policy.spec.rules
        if rule.speaks_of(action=plan.action, cause=proposal.cause, namespace=namespace)
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


def _held_back(plan: Plan) -> tuple[str, ...]:
    """Return why an allowed plan still needs a person: its target's mode, or what may never run unasked."""
    reasons = []
    if plan.facts.mode == "approve":
        reasons.append("the target is in mode approve")
    if not (plan.reversible or ACTIONS[plan.action].harmless):
        reasons.append(f"{plan.action} can neither be undone nor is it harmless")
    return tuple(reasons)


def _reason(match: Match) -> str:
    why = match.rule.because or f"rule {match.name} says {match.rule.effect}"
    undecided = " (its condition could not be evaluated)" if match.truth is Truth.UNDECIDED else ""
    return f"{match.name}: {why}{undecided}"


def _approvals_needed(matches: Sequence[Match]) -> int:
    return max(match.rule.approvals.count for match in matches if match.rule.effect is Effect.REQUIRE_APPROVAL)


def _approver_role(matches: Sequence[Match]) -> str:
    roles = {match.rule.approvals.role for match in matches if match.rule.effect is Effect.REQUIRE_APPROVAL}
    return "admin" if "admin" in roles else "approver"

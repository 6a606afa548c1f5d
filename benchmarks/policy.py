"""Policy decisions, unaudited, beside what people would otherwise take: an if-chain in Python, and CEL called naively.

Run `python benchmarks/policy.py`. All three decide the same cases in the same run; what counts is the ratio.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cel_expr_python import cel

from aegis.contracts.actions import Action, EvictPod, RaiseMemory, RestartWorkload, RollbackRollout, ScaleWorkload
from aegis.contracts.decisions import Decision, Effect
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.plans import Disturbance, Plan
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetFacts, TargetRef
from aegis.policy.conditions import VARIABLES
from aegis.policy.decide import Context, decide, facts_of
from aegis.policy.defaults import default_policies
from aegis.policy.rules import Policy, Rule, parse_policy

GOAL = 20_000
CHUNK = 50
"""So few cases are over within a few milliseconds, which other processes seldom take away."""
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
# What a platform team writes beside the shipped policy: office hours, tiers, teams, a freeze of one namespace.
TEAM = """
apiVersion: aegis.dev/v1
kind: Policy
metadata: {name: team}
spec:
  rules:
    - name: tier-zero-asks
      effect: require_approval
      when: '"tier" in workload.labels && workload.labels["tier"] == "0"'
      approvals: {count: 2}
    - name: payments-at-night
      effect: deny
      namespaces: [pay-*]
      when: now.getHours("Europe/Berlin") < 6 || now.getHours("Europe/Berlin") >= 22
    - name: small-enough
      effect: allow
      actions: [evict_pod, restart_workload]
      namespaces: [shop, shop-*]
      when: plan.disturbs <= 1 && workload.replicas >= 2 && workload.healthy * 2 > workload.replicas
"""
HOURS = """
apiVersion: aegis.dev/v1
kind: Policy
metadata: {name: hours}
spec:
  rules:
    - name: nobody-owns-it
      effect: deny
      when: '!("team" in workload.labels) && workload.namespace_labels["env"] == "production"'
    - name: not-what-git-owns
      effect: deny
      when: workload.owned_by in ["argocd", "flux"]
    - name: unsure
      effect: require_approval
      when: confidence < 0.8 && plan.changes > 1
"""
ACTIONS: tuple[tuple[Action, CauseKind], ...] = (
    (RollbackRollout(), CauseKind.BAD_REVISION),
    (RestartWorkload(), CauseKind.UNKNOWN),
    (ScaleWorkload(replicas=5), CauseKind.TRAFFIC_SATURATION),
    (RaiseMemory(container="web", factor=1.5), CauseKind.MEMORY_LIMIT_TOO_LOW),
    (EvictPod(), CauseKind.NODE_LOST),
)
Case = tuple[Proposal, Plan]


def cases(count: int) -> list[Case]:
    """Return proposals with their plans, no two alike: nothing can be answered from memory."""
    return [_case(number) for number in range(count)]


def _case(number: int) -> Case:
    action, cause = ACTIONS[number % len(ACTIONS)]
    target = TargetRef(
        cluster_id="bench", api_version="apps/v1", kind="Deployment",
        namespace=("shop", "shop-eu", "pay-core", "billing")[number % 4], name=f"web-{number}", uid=f"uid-{number}",
    )  # fmt: skip
    proposal = Proposal(
        id=f"pro-{number}", incident_key=f"key-{number}", target=target, owner=target, action=action, cause=cause,
        confidence=0.5 + number % 50 / 100, rationale="it crashes", proposed_by="service:ai-engine",
        proposed_at=NOW, data_as_of=NOW,
    )  # fmt: skip
    facts = TargetFacts(
        mode="auto", workload_labels={"team": "shop", "tier": str(number % 3)},
        namespace_labels={"env": "production"}, replicas=3 + number % 5, healthy=2 + number % 4,
    )  # fmt: skip
    plan = Plan(
        hash="a" * 64, order_id=f"ord-{number}", target=target, owner=target, action=action.kind, summary="do it",
        requests=("PATCH …",), reversible=action.kind not in ("restart_workload", "evict_pod"), on_unknown="revert",
        settle=timedelta(seconds=60), deadline=timedelta(seconds=300),
        disturbance=Disturbance(healthy_pods=number % 3), facts=facts, made_at=NOW,
    )  # fmt: skip
    return proposal, plan


def ours(policies: Sequence[Policy], case: Case) -> Effect:
    proposal, plan = case
    return decide(proposal, plan, policies, Context(NOW, "bench")).effect


_STRICTNESS = {Effect.ALLOW: 0, Effect.REQUIRE_APPROVAL: 1, Effect.DENY: 2}
_NAIVE = cel.NewEnv(variables=VARIABLES)


def naive(policies: Sequence[Policy], case: Case) -> Effect:
    """Decide with the same rules, each condition compiled where it is asked."""
    proposal, plan = case
    facts = facts_of(proposal, plan, Context(NOW, "bench"))
    effects = [
        rule.effect
        for policy in policies
        for rule in policy.spec.rules
        if rule.speaks_of(action=plan.action, cause=proposal.cause, namespace=proposal.target.namespace or "")
        and _holds(rule, facts)
    ]
    return max(effects, key=_STRICTNESS.__getitem__, default=Effect.DENY)


def _holds(rule: Rule, facts: dict[str, Any]) -> bool:
    value = _NAIVE.compile(rule.when).eval(data=facts)
    if value.type() != cel.Type.BOOL:
        return rule.effect is not Effect.ALLOW
    return bool(value.value())


def if_chain(_: Sequence[Policy], case: Case) -> Effect:  # noqa: PLR0911 (that is what it is)
    """Decide as somebody would write these policies into a program."""
    proposal, plan = case
    facts, action, namespace = plan.facts, plan.action.value, proposal.target.namespace or ""
    if namespace.startswith("pay-") and not 6 <= (NOW.hour + 1) % 24 < 22:
        return Effect.DENY
    if "team" not in facts.workload_labels and facts.namespace_labels["env"] == "production":
        return Effect.DENY
    if facts.owned_by in ("argocd", "flux"):
        return Effect.DENY
    if facts.workload_labels.get("tier") == "0" or (proposal.confidence < 0.8 and len(plan.changes) > 1):
        return Effect.REQUIRE_APPROVAL
    if action == "raise_memory":
        return Effect.REQUIRE_APPROVAL
    if action == "rollback_rollout":
        known = proposal.cause in ("bad_revision", "configuration_missing", "image_unavailable")
        return Effect.ALLOW if proposal.confidence >= 0.7 and known else Effect.REQUIRE_APPROVAL
    if action == "scale_workload":
        return Effect.ALLOW if proposal.confidence >= 0.6 and facts.owned_by == "" else Effect.DENY
    if proposal.confidence >= 0.6:
        return Effect.ALLOW
    small = plan.disturbance.healthy_pods <= 1 and facts.replicas >= 2 and facts.healthy * 2 > facts.replicas
    return Effect.ALLOW if small and (namespace == "shop" or namespace.startswith("shop-")) else Effect.DENY


def per_second(
    decide_one: Callable[[Sequence[Policy], Case], Effect | Decision], policies: Sequence[Policy],
    found: Sequence[Case], *, repeats: int,
) -> float:  # fmt: skip
    """Return cases a second, by the best of several runs of each few: the others were disturbed."""
    total = 0.0
    for first in range(0, len(found), CHUNK):
        few = found[first : first + CHUNK]
        best = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            for case in few:
                decide_one(policies, case)
            best = min(best, time.perf_counter() - start)
        total += best
    return len(found) / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    policies = [parse_policy(source) for source in (*default_policies().values(), TEAM, HOURS)]
    found = cases(given.cases)
    differ = sum(not ours(policies, case) is naive(policies, case) is if_chain(policies, case) for case in found[:500])
    chain = per_second(if_chain, policies, found, repeats=given.repeats)
    slow = per_second(naive, policies, found[: max(1, given.cases // 20)], repeats=5)
    fast = per_second(ours, policies, found, repeats=given.repeats)
    rules = sum(len(policy.spec.rules) for policy in policies)
    reached = "goal reached" if fast >= GOAL else f"below the goal of {GOAL:,}"
    print(f"one thread; {len(policies)} policies, {rules} rules with conditions; {differ} of 500 decided otherwise")
    print(f"{'who decides':38} {'decisions/s':>12} {'if-chain':>10} {'naive CEL':>10}")
    print(f"{'an if-chain in Python, no reasons':38} {chain:12,.0f} {1:>9}x {chain / slow:>9,.0f}x")
    print(f"{'cel-expr-python, compiled every time':38} {slow:12,.0f} {slow / chain:>9.4f}x {1:>9}x")
    print(
        f"{'aegis.policy.decide, with reasons':38} {fast:12,.0f} {fast / chain:>9.3f}x {fast / slow:>9,.0f}x  {reached}"
    )


if __name__ == "__main__":
    main()

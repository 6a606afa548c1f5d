"""Rehearse: work out the exact requests, run every check, and try the write without changing anything."""

import logging
from dataclasses import dataclass

from aegis.catalogue.actions import ACTIONS
from aegis.contracts.plans import (
    CheckResult,
    CheckVerdict,
    LeaseTerms,
    Plan,
    Rehearsal,
    RehearsalResult,
    RehearsalStatus,
)
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetFacts
from aegis.executor.actions.base import CannotPlanError, Draft
from aegis.executor.actions.registry import REGISTRY
from aegis.executor.guardrails.checks import blast_radius_is_small, result_of, run_checks, strictest
from aegis.executor.guardrails.facts import Facts
from aegis.executor.guardrails.ownership import field_owner
from aegis.executor.guardrails.preflight import run_preflight
from aegis.executor.journal import repository
from aegis.executor.journal.plan import ExactPlan, KeptPlan, PlanCipher
from aegis.executor.orders.look import Eyes
from aegis.executor.ports import ExactRequest, ExecutorPorts, WriteRefusedError
from aegis.kit.errors import TemporaryError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rehearser:
    ports: ExecutorPorts
    eyes: Eyes
    cipher: PlanCipher

    async def rehearse(self, rehearsal: Rehearsal) -> RehearsalResult:
        """Return a plan, or why there can be none. The plan's exact bytes are kept, encrypted, before it is shown."""
        try:
            facts = await self.eyes.look(rehearsal.proposal, order_id=rehearsal.order_id, rehearsing=True)
            return await self._worked_out(rehearsal, facts)
        except TemporaryError as error:
            return self.failed(rehearsal, str(error))

    async def _worked_out(self, rehearsal: Rehearsal, facts: Facts) -> RehearsalResult:
        proposal = rehearsal.proposal
        checks = run_checks(proposal, facts)
        if not _says_no(checks):
            checks.append(run_preflight(proposal, facts))
        if _says_no(checks):
            return self._said_no(rehearsal, facts, checks)
        try:
            draft = REGISTRY[proposal.action.kind].draft(proposal, facts, order_id=rehearsal.order_id)
        except CannotPlanError as error:
            checks.append(CheckResult(name="plan", verdict=CheckVerdict.REFUSED, reason=str(error)))
            return self._said_no(rehearsal, facts, checks)
        checks.append(result_of("blast_radius", blast_radius_is_small(draft.disturbance, facts)))
        checks.append(await self.dry_run(draft.request))
        if _says_no(checks):
            return self._said_no(rehearsal, facts, checks)
        plan = await self._kept(rehearsal, facts, draft)
        return self._result(rehearsal, RehearsalStatus.PLANNED, checks=checks, facts=facts, plan=plan)

    async def dry_run(self, request: ExactRequest) -> CheckResult:
        """Ask the API server what it would say; a PodDisruptionBudget's no is for now."""
        try:
            await self.ports.cluster.send(request, dry_run=True)
        except WriteRefusedError as error:
            verdict = CheckVerdict.BLOCKED if error.reason == "TooManyRequests" else CheckVerdict.REFUSED
            return CheckResult(
                name="dry_run", verdict=verdict, reason=f"the API server says {error.code}: {error}"[:4000]
            )
        return CheckResult(name="dry_run", verdict=CheckVerdict.PASSED)

    async def _kept(self, rehearsal: Rehearsal, facts: Facts, draft: Draft) -> Plan:
        exact = ExactPlan(rehearsal.order_id, rehearsal.proposal.target.uid, draft.request, draft.undo)
        shown = _shown(rehearsal, facts, draft, exact.hash)
        async with self.ports.database.transaction() as tx:
            await repository.add_plan(
                tx,
                hash=exact.hash,
                order_id=rehearsal.order_id,
                body=self.cipher.encrypt(KeptPlan(rehearsal.proposal, exact, shown)),
                made_at=facts.now,
            )
        return shown

    def _said_no(self, rehearsal: Rehearsal, facts: Facts, checks: list[CheckResult]) -> RehearsalResult:
        """A refusal is for good; where data is missing it is worth another try until the rehearsal expires."""
        decisive = strictest(checks)
        assert decisive is not None
        reason = f"{decisive.name}: {decisive.reason}"
        if decisive.verdict is CheckVerdict.REFUSED:
            return self._result(rehearsal, RehearsalStatus.REFUSED, reason=reason, checks=checks, facts=facts)
        return self.failed(rehearsal, reason)

    def failed(self, rehearsal: Rehearsal, reason: str) -> RehearsalResult:
        """Return that it could not be worked out now."""
        log.warning("rehearsal %s of %s: %s", rehearsal.id, rehearsal.proposal.target, reason)
        return self._result(rehearsal, RehearsalStatus.FAILED, reason=reason)

    def _result(
        self,
        rehearsal: Rehearsal,
        status: RehearsalStatus,
        *,
        reason: str = "",
        checks: list[CheckResult] | None = None,
        facts: Facts | None = None,
        plan: Plan | None = None,
    ) -> RehearsalResult:
        return RehearsalResult(
            rehearsal_id=rehearsal.id,
            remediation_id=rehearsal.remediation_id,
            status=status,
            reason=reason[:4000],
            checks=tuple(checks or ()),
            plan=plan,
            facts=target_facts(rehearsal.proposal, facts) if facts is not None else None,
            finished_at=self.ports.clock.now(),
        )


def target_facts(proposal: Proposal, facts: Facts) -> TargetFacts:  # noqa: ARG001
    owner = facts.owner or {"metadata": {}, "spec": {}}
    namespace = facts.namespace or {"metadata": {}}
    return TargetFacts(
        mode=facts.mode,
        namespace_labels=namespace["metadata"].get("labels") or {},
        workload_labels=owner["metadata"].get("labels") or {},
        owned_by=field_owner(facts.owner, facts.autoscalers) if facts.owner is not None else "",
        replicas=owner["spec"].get("replicas", len(facts.pods)),
        healthy=len(facts.healthy_pods),
    )


def _says_no(checks: list[CheckResult]) -> bool:
    """Whether there is no point in going on: refused for good, or data is missing. A block may pass."""
    return any(check.verdict in (CheckVerdict.REFUSED, CheckVerdict.INCONCLUSIVE) for check in checks)


def _shown(rehearsal: Rehearsal, facts: Facts, draft: Draft, plan_hash: str) -> Plan:
    known = ACTIONS[rehearsal.proposal.action.kind]
    return Plan(
        hash=plan_hash,
        order_id=rehearsal.order_id,
        target=rehearsal.proposal.target,
        owner=rehearsal.proposal.owner,
        action=known.kind,
        summary=draft.summary,
        requests=(str(draft.request),),
        changes=draft.changes,
        undo_changes=draft.undo_changes,
        reversible=draft.undo is not None,
        on_unknown=known.on_unknown,
        lease=LeaseTerms(maximum=known.lease) if known.lease is not None else None,
        settle=known.settle,
        deadline=known.deadline,
        disturbance=draft.disturbance,
        facts=target_facts(rehearsal.proposal, facts),
        made_at=facts.now,
    )

"""Restart a workload's pods, a few at a time, as `kubectl rollout restart` does."""

from aegis.contracts.actions import RestartWorkload as Request
from aegis.contracts.plans import Disturbance
from aegis.contracts.proposals import Proposal
from aegis.executor.actions.base import ABSENT, Draft, FieldEdit, edit_object, redacted, taken_away_at_once
from aegis.executor.guardrails.facts import Facts

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


class RestartWorkload:
    def draft(self, proposal: Proposal, facts: Facts, *, order_id: str) -> Draft:
        assert isinstance(proposal.action, Request)
        assert facts.target is not None
        template = facts.target["spec"]["template"].get("metadata") or {}
        before = template.get("annotations", ABSENT)
        after = {**(before if isinstance(before, dict) else {}), RESTARTED_AT: facts.now.isoformat(timespec="seconds")}
        edits = [FieldEdit("/spec/template/metadata/annotations", before, after)]
        # It has no undo: pods that were restarted cannot be un-restarted.
        request, _ = edit_object(facts.target, edits, order_id=order_id)
        healthy = len(facts.healthy_pods)
        return Draft(
            summary=f"restart {proposal.target}, a few pods at a time",
            request=request,
            undo=None,
            changes=redacted(edits),
            disturbance=Disturbance(healthy_pods=healthy, of_healthy_pods=healthy, at_once=taken_away_at_once(facts)),
        )

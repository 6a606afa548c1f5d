"""Restart a workload's pods, a few at a time, as `kubectl rollout restart` does."""

from aegis.contracts.actions import RestartWorkload as Request
from aegis.contracts.proposals import Proposal
from aegis.executor.actions.base import ABSENT, Draft, FieldEdit, edit_object, redacted
from aegis.executor.actions.rollout import disturbance_of_rollout
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
        return Draft(
            summary=f"restart {proposal.target}, a few pods at a time",
            request=request,
            undo=None,
            changes=redacted(edits),
            disturbance=disturbance_of_rollout(facts),
        )

"""Scale a workload out for a while."""

from aegis.contracts.actions import ScaleWorkload as Request
from aegis.contracts.proposals import Proposal
from aegis.executor.actions.base import CannotPlanError, Draft, FieldEdit, edit_object, redacted
from aegis.executor.guardrails.facts import Facts


class ScaleWorkload:
    def draft(self, proposal: Proposal, facts: Facts, *, order_id: str) -> Draft:
        assert isinstance(proposal.action, Request)
        assert facts.target is not None
        before, after = facts.target["spec"].get("replicas", 1), proposal.action.replicas
        if after <= before:
            raise CannotPlanError(f"{proposal.target} has {before} replicas: {after} would not be more")
        edits = [FieldEdit("/spec/replicas", before, after)]
        request, undo = edit_object(facts.target, edits, order_id=order_id)
        return Draft(
            summary=f"scale {proposal.target} from {before} to {after} replicas, for a while",
            request=request,
            undo=undo,
            changes=redacted(edits),
            undo_changes=redacted(edits, reverse=True),
        )

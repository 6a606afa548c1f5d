"""Raise a container's memory limit in the template; the request follows where it was equal to the limit."""

import math

from aegis.catalogue.actions import MEMORY_FACTOR_MAX
from aegis.contracts.actions import RaiseMemory as Request
from aegis.contracts.proposals import Proposal
from aegis.executor.actions.base import CannotPlanError, Draft, FieldEdit, edit_object, redacted
from aegis.executor.actions.rollout import disturbance_of_rollout
from aegis.executor.guardrails.facts import Facts
from aegis.executor.guardrails.quantities import bytes_of, mebibytes


class RaiseMemory:
    def draft(self, proposal: Proposal, facts: Facts, *, order_id: str) -> Draft:
        assert isinstance(proposal.action, Request)
        assert facts.target is not None
        action = proposal.action
        if action.factor > MEMORY_FACTOR_MAX:
            raise CannotPlanError(f"a factor of {action.factor} is more than {MEMORY_FACTOR_MAX} at once")
        containers = facts.target["spec"]["template"]["spec"]["containers"]
        names = [container["name"] for container in containers]
        if action.container not in names:
            raise CannotPlanError(f"{proposal.target} has no container {action.container}, but {', '.join(names)}")
        index = names.index(action.container)
        resources = containers[index].get("resources") or {}
        limit = (resources.get("limits") or {}).get("memory")
        if limit is None:
            raise CannotPlanError(f"container {action.container} of {proposal.target} has no memory limit")
        raised = mebibytes(math.ceil(bytes_of(limit) * action.factor))
        pointer = f"/spec/template/spec/containers/{index}"
        edits = [FieldEdit(f"{pointer}/resources/limits/memory", limit, raised)]
        requested = (resources.get("requests") or {}).get("memory")
        if requested is not None and bytes_of(requested) == bytes_of(limit):
            edits.append(FieldEdit(f"{pointer}/resources/requests/memory", requested, raised))
        request, undo = edit_object(facts.target, edits, order_id=order_id)
        return Draft(
            summary=f"raise the memory limit of {action.container} in {proposal.target} from {limit} to {raised}",
            request=request,
            undo=undo,
            changes=redacted(edits),
            undo_changes=redacted(edits, reverse=True),
            disturbance=disturbance_of_rollout(facts),
        )

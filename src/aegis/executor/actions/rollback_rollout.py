"""Roll a Deployment back: copy the pod template of an earlier ReplicaSet, as `kubectl rollout undo` does."""

import copy
from collections.abc import Sequence

from aegis.contracts.actions import RollbackRollout as Request
from aegis.contracts.proposals import Proposal
from aegis.executor.actions.base import CannotPlanError, Draft, FieldEdit, edit_object, redacted
from aegis.executor.actions.rollout import disturbance_of_rollout
from aegis.executor.guardrails.facts import Facts, Object, is_ready, newest_replicaset, revision_of, template_hash


class RollbackRollout:
    def draft(self, proposal: Proposal, facts: Facts, *, order_id: str) -> Draft:
        assert isinstance(proposal.action, Request)
        assert facts.target is not None
        newest = newest_replicaset(facts)
        if newest is None:
            raise CannotPlanError(f"{proposal.target} has no revisions")
        earlier = revision_to_go_to(facts, newest, wanted=proposal.action.to_revision)
        if earlier is None:
            raise CannotPlanError(f"no earlier revision of {proposal.target} is known to have been healthy")
        template = _template_of(earlier)
        edits = [FieldEdit("/spec/template", facts.target["spec"]["template"], template)]
        request, undo = edit_object(facts.target, edits, order_id=order_id)
        return Draft(
            summary=f"roll {proposal.target} back from revision {revision_of(newest)} to {revision_of(earlier)}",
            request=request,
            undo=undo,
            changes=redacted(edits),
            undo_changes=redacted(edits, reverse=True),
            disturbance=disturbance_of_rollout(facts, going=_pods_of(newest, facts.pods)),
        )


def revision_to_go_to(facts: Facts, newest: Object, *, wanted: int | None) -> Object | None:
    """Return the newest earlier revision that was healthy, or the one asked for if it was."""
    earlier = [one for one in facts.replicasets if revision_of(one) < revision_of(newest)]
    for candidate in sorted(earlier, key=revision_of, reverse=True):
        if wanted is not None and revision_of(candidate) != wanted:
            continue
        if was_healthy(candidate, facts.pods, facts.healthy_revisions):
            return candidate
    return None


def was_healthy(replicaset: Object, pods: Sequence[Object], seen_healthy: frozenset[str]) -> bool:
    """Whether a revision serves now beside the new one, or was seen fully available by us."""
    own = template_hash(replicaset)
    return own in seen_healthy or any(template_hash(pod) == own and is_ready(pod) for pod in pods)


def _pods_of(revision: Object, pods: Sequence[Object]) -> list[Object]:
    return [pod for pod in pods if template_hash(pod) == template_hash(revision)]


def _template_of(replicaset: Object) -> Object:
    template: Object = copy.deepcopy(replicaset["spec"]["template"])
    template["metadata"]["labels"].pop("pod-template-hash", None)
    return template

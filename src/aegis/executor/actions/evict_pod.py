"""Evict one pod through the Eviction API, which asks the PodDisruptionBudgets; never a raw delete."""

import orjson

from aegis.contracts.plans import Disturbance
from aegis.contracts.proposals import Proposal
from aegis.executor.actions.base import Draft
from aegis.executor.cluster.paths import path_of
from aegis.executor.guardrails.facts import Facts, is_ready
from aegis.executor.ports import ExactRequest


class EvictPod:
    def draft(self, proposal: Proposal, facts: Facts, *, order_id: str) -> Draft:  # noqa: ARG002
        assert facts.target is not None
        metadata = facts.target["metadata"]
        path = path_of("v1", "Pod", metadata["namespace"], metadata["name"], "eviction")
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            # The stamp of an eviction: the pod with this UID is gone. It can be carried out only once.
            "deleteOptions": {"preconditions": {"uid": metadata["uid"]}},
        }
        healthy = int(is_ready(facts.target))
        return Draft(
            summary=f"evict {proposal.target}; {proposal.owner} makes another",
            request=ExactRequest("POST", path, "application/json", orjson.dumps(eviction)),
            undo=None,
            disturbance=Disturbance(healthy_pods=healthy, of_healthy_pods=len(facts.healthy_pods), at_once=healthy),
        )

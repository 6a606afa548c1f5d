"""How many healthy pods a new template takes away at a time, by the workload's own strategy."""

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import NOW, deployment, pod, proposal, replicaset

from aegis.contracts.actions import Action, RaiseMemory, RestartWorkload, RollbackRollout
from aegis.contracts.plans import Disturbance
from aegis.executor.actions.registry import REGISTRY
from aegis.executor.actions.rollout import disturbance_of_rollout
from aegis.executor.guardrails.checks import blast_radius_is_small
from aegis.executor.guardrails.facts import Facts


def facts(kind: str = "Deployment", *, replicas: int, healthy: int, old: int = 0, **strategy: Any) -> Facts:
    """Return a workload some of whose pods are healthy: `old` ones of the earlier revision, the rest of the newest."""
    web = deployment(replicas=replicas) | {"kind": kind}
    web["spec"]["strategy" if kind == "Deployment" else "updateStrategy"] = strategy
    if kind == "DaemonSet":
        del web["spec"]["replicas"]
        web["status"]["desiredNumberScheduled"] = replicas
    pods = [pod(f"new-{number}", ready=number < healthy) for number in range(replicas)]
    pods += [pod(f"old-{number}", template="old") for number in range(old)]
    revisions = [replicaset("old", revision=1), replicaset("new", revision=2)]
    return Facts(now=NOW, target=web, owner=web, pods=pods, replicasets=revisions, healthy_revisions=frozenset({"old"}))


def rolling(unavailable: int | str, surge: int | str = 0) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}


@pytest.mark.parametrize(
    ("found", "at_once"),
    [
        (facts(replicas=10, healthy=10, type="Recreate"), 10),
        (facts(replicas=10, healthy=4, type="Recreate"), 4),
        (facts(replicas=10, healthy=10), 2),  # 25 %, rounded down
        (facts(replicas=3, healthy=3), 0),
        (facts(replicas=3, healthy=3, **rolling("25%")), 1),  # without a surge one has to go first
        (facts(replicas=10, healthy=10, **rolling("29%", 1)), 2),
        (facts(replicas=10, healthy=10, **rolling(4, "100%")), 4),
        (facts(replicas=10, healthy=10, **rolling(0, 1)), 0),
        (facts(replicas=3, healthy=3, **rolling(99)), 3),
        (facts(replicas=10, healthy=3, **rolling(4)), 0),  # fewer than must stay: no healthy one goes
        (facts(replicas=10, healthy=8, **rolling(4)), 2),
        (facts(replicas=3, healthy=3, old=1, **rolling(1)), 1),  # one more than wanted is nobody's loss
        (facts("StatefulSet", replicas=5, healthy=5), 1),
        (facts("StatefulSet", replicas=5, healthy=2), 1),
        (facts("StatefulSet", replicas=5, healthy=0), 0),
        (facts("StatefulSet", replicas=5, healthy=5, **rolling(2)), 2),
        (facts("DaemonSet", replicas=10, healthy=10), 1),
        (facts("DaemonSet", replicas=10, healthy=10, **rolling("25%")), 3),  # rounded up
        (facts("DaemonSet", replicas=10, healthy=10, **rolling(0, 1)), 0),
        (facts("DaemonSet", replicas=10, healthy=10, type="OnDelete"), 0),
    ],
)
def test_as_many_go_at_once_as_the_strategy_lets_go(found: Facts, at_once: int) -> None:
    assert disturbance_of_rollout(found).at_once == at_once


@pytest.mark.parametrize("action", [RollbackRollout(), RestartWorkload(), RaiseMemory(container="web", factor=1.5)])
def test_every_action_that_writes_a_template_says_what_recreating_takes_away(action: Action) -> None:
    found = facts(replicas=4, healthy=4, type="Recreate")

    draft = REGISTRY[action.kind].draft(proposal(action), found, order_id="o")

    assert draft.disturbance == Disturbance(healthy_pods=4, of_healthy_pods=4, at_once=4)
    assert blast_radius_is_small(draft.disturbance, found) is not None


def test_a_rollback_takes_away_pods_of_the_newest_revision_only() -> None:
    found = facts(replicas=4, healthy=0, old=3, **rolling(2))

    draft = REGISTRY[proposal().action.kind].draft(proposal(), found, order_id="o")

    assert draft.disturbance == Disturbance(healthy_pods=0, of_healthy_pods=3, at_once=0)
    assert blast_radius_is_small(draft.disturbance, replace(found, owner=found.target)) is None


def test_a_rollback_of_ready_pods_is_small_under_the_default_strategy_and_not_under_a_hastier_one() -> None:
    def is_small(found: Facts) -> bool:
        return blast_radius_is_small(disturbance_of_rollout(found), replace(found, owner=found.target)) is None

    for replicas in range(1, 120):
        assert is_small(facts(replicas=replicas, healthy=replicas))
    assert not is_small(facts(replicas=4, healthy=4, **rolling("50%")))
    assert not is_small(facts(replicas=40, healthy=40, **rolling(11)))
    assert not is_small(facts(replicas=2, healthy=2, type="Recreate"))

"""Each action on a real cluster: asked for by one person, allowed by another, done, and taken back to the letter.

All are asked for at once, each for a namespace of its own.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aegis.cli.api import Api
from aegis.contracts.remediations import RemediationState
from aegis.kit.errors import ForbiddenError
from testbed.driver.aegis import Aegis, fields_of_aegis
from testbed.driver.cluster import Cluster, Object, wait_for
from testbed.driver.manifests import script, service

DECIDED_WITHIN_S = 90
CONCLUDED_WITHIN_S = 400
KILLED_TWICE_WITHIN_S = 120
HEALTHY_FOR_S = 30
"""So long a revision is watched at work before Aegis would go back to it."""
REPLICAS = 3
DATA = {"configMapKeyRef": {"name": "data", "key": "mib"}}
OWNER = "the-team"


@dataclass(frozen=True)
class Wish:
    """An action, and what a service must look like for it."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    replicas: int = REPLICAS
    ends: RemediationState = RemediationState.KEPT
    is_undone: bool = True
    """What has no undo cannot be taken back: new pods are new pods."""


WISHES = {
    "restart_workload": Wish(is_undone=False),
    "evict_pod": Wish(is_undone=False),
    "scale_workload": Wish({"replicas": REPLICAS + 2}, ends=RemediationState.HELD),
    "rollback_rollout": Wish({"to_revision": 1}),
    "raise_memory": Wish({"container": "service", "factor": 1.5}, replicas=1),
}


@dataclass(frozen=True)
class Asked:
    namespace: str
    manifests: list[Object]
    before: Object
    pods_before: frozenset[str]
    remediation_id: str


@pytest.fixture(scope="module")
def asked(*, cluster: Cluster, aegis: Aegis, ann: Api, bob: Api, new_namespace: Callable[[], str]) -> dict[str, Asked]:
    """Set everything up, then let a person ask for each action, and another one approve what was rehearsed."""
    namespaces = {action: new_namespace() for action in WISHES}
    manifests = {action: _set_up(cluster, namespace, WISHES[action]) for action, namespace in namespaces.items()}
    for namespace in namespaces.values():
        cluster.wait_until_rolled_out(namespace, "web")
    _outgrow_its_memory(cluster, namespaces["raise_memory"])
    time.sleep(HEALTHY_FOR_S)
    manifests["rollback_rollout"] = _roll_out_another(cluster, namespaces["rollback_rollout"])
    found = {
        action: _ask(cluster, aegis, ann, action, namespace=namespaces[action], manifests=manifests[action])
        for action in WISHES
    }
    for one in found.values():
        waiting = aegis.conclusion(one.remediation_id, RemediationState.AWAITING_APPROVAL, within_s=DECIDED_WITHIN_S)
        body = {"plan_hash": waiting["plan"]["hash"], "comment": "go ahead"}
        with pytest.raises(ForbiddenError):
            ann.post(f"/api/v1/remediations/{one.remediation_id}/approve", body)
        bob.post(f"/api/v1/remediations/{one.remediation_id}/approve", body)
    return found


@pytest.mark.parametrize("action", WISHES)
def test_an_action_does_what_it_says_and_its_undo_gives_everything_back(
    *, cluster: Cluster, aegis: Aegis, ann: Api, asked: dict[str, Asked], action: str
) -> None:
    wish, one = WISHES[action], asked[action]

    remediation = aegis.conclusion(
        one.remediation_id, wish.ends, RemediationState.ESCALATED, within_s=CONCLUDED_WITHIN_S
    )

    assert remediation["state"] == wish.ends, remediation["reason"]
    DONE[action](cluster, one)
    if wish.is_undone:
        ann.post(f"/api/v1/remediations/{one.remediation_id}/undo")
        aegis.conclusion(one.remediation_id, RemediationState.UNDONE, within_s=DECIDED_WITHIN_S)
        after = cluster.get("deployment", one.namespace, "web")
        assert _without_stamps(after) == _without_stamps(one.before)
        assert not fields_of_aegis(after)
        # No field is Aegis's any more: its owner applies the very same manifest without a conflict.
        cluster.apply(*one.manifests, manager=OWNER)


def _was_restarted(cluster: Cluster, one: Asked) -> None:
    assert not one.pods_before & pods_of(cluster, one.namespace)


def _lost_one_pod(cluster: Cluster, one: Asked) -> None:
    assert len(one.pods_before & pods_of(cluster, one.namespace)) == REPLICAS - 1


def _has_more_replicas(cluster: Cluster, one: Asked) -> None:
    assert cluster.get("deployment", one.namespace, "web")["status"]["readyReplicas"] == REPLICAS + 2


def _greets_as_before(cluster: Cluster, one: Asked) -> None:
    (container,) = cluster.get("deployment", one.namespace, "web")["spec"]["template"]["spec"]["containers"]
    assert not container.get("env")


def _has_more_memory(cluster: Cluster, one: Asked) -> None:
    (container,) = cluster.get("deployment", one.namespace, "web")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "96Mi"


DONE: dict[str, Callable[[Cluster, Asked], None]] = {
    "restart_workload": _was_restarted,
    "evict_pod": _lost_one_pod,
    "scale_workload": _has_more_replicas,
    "rollback_rollout": _greets_as_before,
    "raise_memory": _has_more_memory,
}


def pods_of(cluster: Cluster, namespace: str) -> frozenset[str]:
    return frozenset(one["metadata"]["uid"] for one in cluster.list("pods", namespace, "app=web"))


def _set_up(cluster: Cluster, namespace: str, wish: Wish) -> list[Object]:
    cluster.kubectl("label", "namespace", namespace, "aegis.dev/mode=approve", "--overwrite")
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "data", "namespace": namespace}}
    cluster.apply(script(namespace), data | {"data": {"mib": "10"}}, manager=OWNER)
    manifests = service(namespace, "web", replicas=wish.replicas, **({"HOLD_MIB": DATA} if wish.replicas == 1 else {}))
    cluster.apply(*manifests, manager=OWNER)
    return manifests


def _roll_out_another(cluster: Cluster, namespace: str) -> list[Object]:
    manifests = service(namespace, "web", replicas=REPLICAS, GREETING="another")
    cluster.apply(*manifests, manager=OWNER)
    cluster.wait_until_rolled_out(namespace, "web")
    return manifests


def _outgrow_its_memory(cluster: Cluster, namespace: str) -> None:
    """Let its data grow beyond its memory limit, and wait until the kernel has killed it twice."""
    cluster.kubectl("-n", namespace, "patch", "configmap", "data", "--patch", '{"data": {"mib": "60"}}')
    cluster.kubectl("-n", namespace, "delete", "pod", "--selector=app=web")

    def is_killed_twice() -> bool:
        pods = cluster.list("pods", namespace, "app=web")
        return any(
            status["restartCount"] >= 2 and "OOMKilled" in str(status)
            for pod in pods
            for status in pod["status"].get("containerStatuses", [])
        )

    wait_for(is_killed_twice, within_s=KILLED_TWICE_WITHIN_S, what="it is not killed for its memory")


def _ask(cluster: Cluster, aegis: Aegis, ann: Api, action: str, *, namespace: str, manifests: list[Object]) -> Asked:
    pods = cluster.list("pods", namespace, "app=web")
    kind, name = ("Pod", pods[0]["metadata"]["name"]) if action == "evict_pod" else ("Deployment", "web")
    wanted = {"kind": action, **WISHES[action].parameters}
    before, uids = cluster.get("deployment", namespace, "web"), pods_of(cluster, namespace)
    remediation_id = aegis.ask(ann, f"{namespace}/{kind}/{name}", wanted)
    return Asked(namespace, manifests, before, uids, remediation_id)


def _without_stamps(deployment: Object) -> Object:
    """Return what an owner wrote; the revision number counts rollouts, forward and back."""
    annotations = dict(deployment["metadata"].get("annotations") or {})
    annotations.pop("deployment.kubernetes.io/revision", None)
    return {"spec": deployment["spec"], "annotations": annotations, "labels": deployment["metadata"].get("labels")}

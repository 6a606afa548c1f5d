"""What Aegis leaves alone on a real cluster: it says why, calls a person where one is needed, and writes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aegis.cli.api import Api
from aegis.contracts.remediations import RemediationState
from testbed import machine
from testbed.driver.aegis import Aegis, cause_of, fields_of_aegis, writes_in
from testbed.driver.cluster import Cluster, Object, wait_for
from testbed.driver.manifests import script, service
from testbed.layout import NODE, State

DECIDED_WITHIN_S = 90
NODE_LOST_WITHIN_S = 240
REPLICAS = 3


def budget(namespace: str) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"minAvailable": REPLICAS, "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
    }


def autoscaler(namespace: str) -> Object:
    load = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": load}],
        },
    }


def quota(namespace: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": namespace},
        "spec": {"hard": {"pods": str(REPLICAS)}},
    }


def nothing(cluster: Cluster, namespace: str) -> None:
    pass


def guarded_by(make: Callable[[str], Object]) -> Callable[[Cluster, str], None]:
    return lambda cluster, namespace: cluster.apply(make(namespace))


def owned_by_argo_cd(cluster: Cluster, namespace: str) -> None:
    name = "argocd.argoproj.io/tracking-id=shop:apps/Deployment:shop/web"
    cluster.kubectl("-n", namespace, "annotate", "deployment", "web", name)


def owned_by_flux(cluster: Cluster, namespace: str) -> None:
    """As its kustomize-controller leaves it: labels, and a field manager of its own that applies."""
    deployment, _ = service(namespace, "web", replicas=REPLICAS)
    labels = {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
    deployment["metadata"]["labels"] = labels
    cluster.apply(deployment, manager="kustomize-controller")


def off_limits(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "aegis.dev/mode=off", "--overwrite")


def only_observed(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "aegis.dev/mode=observe", "--overwrite")


RESTART = {"kind": "restart_workload"}
SCALE = {"kind": "scale_workload", "replicas": 4}
ROLL_BACK = {"kind": "rollback_rollout", "to_revision": 1}


@dataclass(frozen=True)
class Wish:
    """What somebody asks for, what stands against it, and how it ends."""

    guard: Callable[[Cluster, str], None]
    action: dict[str, Any]
    ends: RemediationState
    because: str = ""


WISHES = {
    # A budget may allow it in a minute: it is looked at again until the order expires.
    "a disruption budget": Wish(
        guarded_by(budget), {"kind": "evict_pod"}, RemediationState.BLOCKED, "PodDisruptionBudget web"
    ),
    "a real autoscaler": Wish(guarded_by(autoscaler), SCALE, RemediationState.REFUSED, "HorizontalPodAutoscaler web"),
    "a quota": Wish(guarded_by(quota), SCALE, RemediationState.REFUSED, "quota"),
    "Argo CD": Wish(owned_by_argo_cd, RESTART, RemediationState.REFUSED, "Argo CD"),
    "Flux": Wish(owned_by_flux, ROLL_BACK, RemediationState.REFUSED, "Flux"),
    "mode off": Wish(off_limits, RESTART, RemediationState.REFUSED, "mode"),
    "mode observe": Wish(only_observed, RESTART, RemediationState.OBSERVED),
    "too far": Wish(nothing, {"kind": "scale_workload", "replicas": 40}, RemediationState.REFUSED, "40 replicas"),
    "never killed for its memory": Wish(
        nothing, {"kind": "raise_memory", "container": "service", "factor": 1.5}, RemediationState.REFUSED, "OOM"
    ),
    "nothing to go back to": Wish(nothing, ROLL_BACK, RemediationState.REFUSED, "revision"),
}


@dataclass(frozen=True)
class Asked:
    namespace: str
    remediation_id: str


@pytest.fixture(scope="module")
def asked(cluster: Cluster, aegis: Aegis, ann: Api, new_namespace: Callable[[], str]) -> dict[str, Asked]:
    """Set everything up, then ask for all of it at once."""
    namespaces = {name: new_namespace() for name in WISHES}
    for namespace in namespaces.values():
        cluster.apply(script(namespace), *service(namespace, "web", replicas=REPLICAS))
    for name, namespace in namespaces.items():
        cluster.wait_until_rolled_out(namespace, "web")
        WISHES[name].guard(cluster, namespace)
    return {
        name: Asked(namespace, _ask(cluster, aegis, ann, namespace, WISHES[name].action))
        for name, namespace in namespaces.items()
    }


def _ask(cluster: Cluster, aegis: Aegis, ann: Api, namespace: str, action: dict[str, Any]) -> str:
    if action["kind"] == "evict_pod":
        pod = cluster.list("pods", namespace, "app=web")[0]["metadata"]["name"]
        return aegis.ask(ann, f"{namespace}/Pod/{pod}", action)
    return aegis.ask(ann, f"{namespace}/Deployment/web", action)


@pytest.mark.parametrize("against_it", WISHES)
def test_what_must_not_be_done_is_not_done(
    *, cluster: Cluster, aegis: Aegis, asked: dict[str, Asked], audit_log: Path, against_it: str
) -> None:
    wish, one = WISHES[against_it], asked[against_it]

    aegis.conclusion(one.remediation_id, wish.ends, because=wish.because, within_s=DECIDED_WITHIN_S)

    assert writes_in(audit_log, one.namespace) == []
    assert not fields_of_aegis(cluster.get("deployment", one.namespace, "web"))


def test_a_protected_namespace_is_not_touched_whoever_asks(cluster: Cluster, aegis: Aegis, audit_log: Path) -> None:
    with aegis.api as api:
        wanted = aegis.ask(api, "kube-system/Deployment/coredns", RESTART)
    remediation = aegis.conclusion(wanted, RemediationState.REFUSED, within_s=DECIDED_WITHIN_S)

    assert "kube-system" in remediation["reason"]
    assert writes_in(audit_log, "kube-system") == []


def test_a_lost_node_calls_a_person_and_nothing_is_touched(
    cluster: Cluster, aegis: Aegis, state: State, namespace: str, audit_log: Path
) -> None:
    cluster.apply(script(namespace), *service(namespace, "web"))
    cluster.wait_until_rolled_out(namespace, "web")
    kubelet = machine.run(state, "pidof", "kubelet").strip()

    def told() -> Object | None:
        with aegis.api as api:
            found = api.get("/api/v1/incidents", limit=200)["incidents"]
        return next((one for one in found if cause_of(one) == "node_lost"), None)

    machine.run(state, "kill", "-STOP", kubelet)  # a real kubelet that says nothing any more
    try:
        incident = wait_for(told, within_s=NODE_LOST_WITHIN_S, what="nobody noticed that the node is lost")
        assert incident is not None
        assert incident["diagnosis"]["hypotheses"][0]["subject"]["name"] == NODE
        wait_for(
            lambda: "person:called" in aegis.events(incident["id"]), within_s=DECIDED_WITHIN_S, what="nobody was called"
        )
        assert not [one for one in aegis.remediations(namespace) if one["outcomes"]]
        assert writes_in(audit_log, namespace) == []
    finally:
        machine.run(state, "kill", "-CONT", kubelet)
    cluster.kubectl("wait", f"node/{NODE}", "--for=condition=Ready", "--timeout=60s")
    cluster.wait_until_rolled_out(namespace, "web")

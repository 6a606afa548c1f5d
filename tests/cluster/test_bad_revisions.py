"""New revisions that do not work, on real pods: each rolled back by a signed order to what was healthy, and proven.

All are rolled out at once, as on a bad day, and each is looked at by itself.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.conftest import Measured

from aegis.ai_engine.detection.history import PROVEN
from aegis.contracts.remediations import RemediationState
from testbed.driver.aegis import Aegis, cause_of, fields_of_aegis
from testbed.driver.cluster import Cluster, Object
from testbed.driver.manifests import script, service

GOOD_AGAIN_WITHIN_S = 60
"""From the fault until every pod is of the good revision; the goal is 30."""
KEPT_WITHIN_S = 240
STALLED_AFTER_S = 15
LATE_S = 20
SEEN_WITHIN_S = 5


@dataclass(frozen=True)
class Fault:
    change: tuple[str, ...]
    cause: str
    good_again_within_s: float = GOOD_AGAIN_WITHIN_S


def with_variable(*variables: str) -> tuple[str, ...]:
    return ("set", "env", "deployment/web", *variables)


def with_container(**fields: Any) -> tuple[str, ...]:
    spec = {"template": {"spec": {"containers": [{"name": "service", **fields}]}}}
    return ("patch", "deployment", "web", "--patch", json.dumps({"spec": spec}))


MISSING_KEY = {"name": "RATE", "valueFrom": {"configMapKeyRef": {"name": "program", "key": "rate"}}}

FAULTS = {
    "it exits at start": Fault(with_variable("EXIT_CODE=3"), "bad_revision"),
    "it exits after a while": Fault(
        with_variable("EXIT_CODE=3", "EXIT_AFTER_S=8"), "bad_revision", GOOD_AGAIN_WITHIN_S + LATE_S
    ),
    "its image cannot be pulled": Fault(with_container(image="registry.example/no/such:image"), "image_unavailable"),
    "a key of its configuration is missing": Fault(with_container(env=[MISSING_KEY]), "configuration_missing"),
    "it is never ready": Fault(with_variable("READY=no"), "bad_revision", GOOD_AGAIN_WITHIN_S + STALLED_AFTER_S),
    "it needs more memory than it may have": Fault(with_variable("HOLD_MIB=80"), "bad_revision"),
}


@dataclass(frozen=True)
class Broken:
    namespace: str
    before: Object
    at: datetime


@pytest.fixture(scope="module")
def broken(cluster: Cluster, aegis: Aegis, new_namespace: Callable[[], str]) -> dict[str, Broken]:
    namespaces = {fault: new_namespace() for fault in FAULTS}
    for namespace in namespaces.values():
        deployment, front = service(namespace, "web", replicas=3)
        deployment["spec"]["progressDeadlineSeconds"] = STALLED_AFTER_S
        cluster.apply(script(namespace), deployment, front)
    for namespace in namespaces.values():
        cluster.wait_until_rolled_out(namespace, "web")
    # What is gone back to has to have been seen healthy; the bad revision that is ready at first leaves none of it.
    time.sleep(PROVEN.total_seconds() + SEEN_WITHIN_S)
    found = {}
    for fault, namespace in namespaces.items():
        before = cluster.get("deployment", namespace, "web")
        found[fault] = Broken(namespace, before, datetime.now(UTC))  # noqa: TID251 - compared with the cluster's times
        cluster.kubectl("-n", namespace, *FAULTS[fault].change)
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_revision_is_rolled_back(
    *, cluster: Cluster, aegis: Aegis, broken: dict[str, Broken], fault: str, measured: Measured, tmp_path: Path
) -> None:
    namespace, before = broken[fault].namespace, broken[fault].before

    remediation = aegis.remediation(
        namespace, RemediationState.KEPT, RemediationState.ESCALATED, within_s=KEPT_WITHIN_S
    )

    (incident,) = aegis.incidents(namespace)
    after = cluster.get("deployment", namespace, "web")
    measured(f"{fault}: every pod is of the good revision again", good_again_after_s(after, broken[fault].at))
    assert cause_of(incident) == FAULTS[fault].cause
    assert remediation["proposal"]["action"]["kind"] == "rollback_rollout"
    assert remediation["state"] == RemediationState.KEPT, remediation["reason"]
    assert after["spec"]["template"]["spec"] == before["spec"]["template"]["spec"]
    assert after["status"]["readyReplicas"] == after["status"]["updatedReplicas"] == after["status"]["replicas"] == 3
    assert good_again_after_s(after, broken[fault].at) <= FAULTS[fault].good_again_within_s
    # Nothing of it is Aegis's any more: the owner's next apply meets no conflict.
    assert not fields_of_aegis(after)
    told = aegis.events(remediation["id"])
    assert told == [
        "remediation:proposed", "remediation:rehearsing", "remediation:deciding", "decision:allow",
        "remediation:ordered", "order:issued", "remediation:acting", "remediation:settling", "remediation:kept",
    ]  # fmt: skip
    aegis.verify_the_trail(tmp_path)


def good_again_after_s(deployment: Object, fault_at: datetime) -> float:
    """Return when the rollout to the good revision was complete, in whole seconds as Kubernetes notes it."""
    (progressing,) = (one for one in deployment["status"]["conditions"] if one["type"] == "Progressing")
    assert progressing["reason"] == "NewReplicaSetAvailable"
    return (datetime.fromisoformat(progressing["lastUpdateTime"]) - fault_at).total_seconds()

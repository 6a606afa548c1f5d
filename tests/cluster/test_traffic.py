"""What only signals show, on real pods under real traffic: errors, too few pods, and a remedy that makes it worse.

All go wrong at once; each is looked at by itself. Nobody has written an analysis for any of them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from aegis.contracts.remediations import RemediationState
from testbed.driver.aegis import Aegis, cause_of, fields_of_aegis
from testbed.driver.cluster import Cluster
from testbed.driver.manifests import script, service
from testbed.driver.traffic import Traffic

USUAL_S = 75
"""How long the services are watched before something goes wrong."""
ACTED_WITHIN_S = 150
CONCLUDED_WITHIN_S = 300
UNDONE_WITHIN_S = 120
"""From when harm can be seen until the remedy is undone; the goal is 60."""
A_FEW = 4.0
"""Requests a second; one pod has processor time for a dozen."""
TOO_MANY = 30.0
CPU_MS = 4
CPU = "60m"
POOL = 4


@dataclass(frozen=True)
class Scene:
    erring: str
    busy: str
    starved: str
    at: datetime


@pytest.fixture(scope="module")
def scene(cluster: Cluster, aegis: Aegis, new_namespace: Callable[[], str]) -> Iterator[Scene]:
    erring, busy, starved = new_namespace(), new_namespace(), new_namespace()
    for namespace in (erring, busy, starved):
        cluster.apply(script(namespace))
    cluster.apply(*service(erring, "web", replicas=3))
    cluster.apply(*service(busy, "web", cpu=CPU, CPU_MS=CPU_MS))
    # Its store has connections for two pods, and not for one more.
    cluster.apply(*service(starved, "store", replicas=1, CONNECTIONS_MOST=2 * POOL + 2))
    cluster.wait_until_rolled_out(starved, "store")
    cluster.apply(*service(starved, "web", cpu=CPU, CPU_MS=CPU_MS, NEEDS="http://store", CONNECTIONS=POOL))
    with ExitStack() as users:
        for namespace in (erring, busy, starved):
            cluster.wait_until_rolled_out(namespace, "web")
            users.enter_context(Traffic(cluster.address_of(namespace, "web"), A_FEW))
        time.sleep(USUAL_S)
        at = datetime.now(UTC)  # noqa: TID251 - compared with the cluster's times
        cluster.kubectl("-n", erring, "set", "env", "deployment/web", "ERROR_SHARE=0.3")
        for namespace in (busy, starved):
            users.enter_context(Traffic(cluster.address_of(namespace, "web"), TOO_MANY - A_FEW))
        yield Scene(erring, busy, starved, at)


def test_a_revision_that_answers_with_errors_is_rolled_back(cluster: Cluster, aegis: Aegis, scene: Scene) -> None:
    remediation = aegis.remediation(
        scene.erring, RemediationState.KEPT, RemediationState.ESCALATED, within_s=CONCLUDED_WITHIN_S
    )

    (incident,) = aegis.incidents(scene.erring)
    assert cause_of(incident) == "bad_revision"
    assert remediation["state"] == RemediationState.KEPT, remediation["reason"]
    assert remediation["proposal"]["action"]["kind"] == "rollback_rollout"
    (container,) = cluster.get("deployment", scene.erring, "web")["spec"]["template"]["spec"]["containers"]
    assert "ERROR_SHARE" not in {one["name"] for one in container.get("env") or []}


def test_what_is_saturated_is_scaled_out_and_held(cluster: Cluster, aegis: Aegis, scene: Scene) -> None:
    remediation = aegis.remediation(
        scene.busy, RemediationState.HELD, RemediationState.ESCALATED, within_s=CONCLUDED_WITHIN_S
    )

    (incident,) = aegis.incidents(scene.busy)
    assert cause_of(incident) == "traffic_saturation"
    assert remediation["state"] == RemediationState.HELD, remediation["reason"]
    assert remediation["proposal"]["action"]["kind"] == "scale_workload"
    assert cluster.get("deployment", scene.busy, "web")["spec"]["replicas"] > 2


def test_a_remedy_that_makes_it_worse_is_undone_and_a_person_called(
    cluster: Cluster, aegis: Aegis, scene: Scene
) -> None:
    remediation = aegis.remediation(scene.starved, RemediationState.ESCALATED, within_s=CONCLUDED_WITHIN_S)

    assert remediation["proposal"]["action"]["kind"] == "scale_workload"
    events = aegis.events(remediation["id"])
    assert events[-3:] == ["remediation:undoing", "remediation:undone", "remediation:escalated"]
    deployment = cluster.get("deployment", scene.starved, "web")
    assert deployment["spec"]["replicas"] == 2
    assert not fields_of_aegis(deployment)

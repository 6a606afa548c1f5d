"""A new revision that does not work, on real pods: rolled back to the one before, by a signed order, and proven."""

from pathlib import Path

import pytest
from tests.cluster.manifests import script, service
from tests.cluster.real import Aegis, Cluster, cause_of, wait_for

from aegis.contracts.remediations import RemediationState

HEALED_WITHIN_S = 60
"""From the fault until every pod is of the good revision again (the goal is 30)."""
KEPT_WITHIN_S = 180


def template(cluster: Cluster, namespace: str, name: str) -> object:
    return cluster.get("deployment", namespace, name)["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (("set", "env", "EXIT_CODE=3"), "bad_revision"),
        (("set", "image", "*=registry.example/no/such:image"), "image_unavailable"),
    ],
    ids=["crash loop", "image that cannot be pulled"],
)
def test_a_revision_that_cannot_start_is_rolled_back(
    cluster: Cluster, aegis: Aegis, audit_log: Path, namespace: str, change: tuple[str, str, str], cause: str
) -> None:
    cluster.apply(script(namespace), *service(namespace, "web", replicas=3))
    cluster.wait_until_well(namespace, "web")
    before = template(cluster, namespace, "web")

    verb, what, value = change
    cluster.kubectl("-n", namespace, verb, what, "deployment/web", value)
    remediation = healed(aegis, namespace)

    assert cause_of(aegis.incidents(namespace)[0]) == cause
    assert remediation["proposal"]["action"]["kind"] == "rollback_rollout"
    assert template(cluster, namespace, "web") == before
    cluster.wait_until_rolled_out(namespace, "web")


def healed(aegis: Aegis, namespace: str) -> dict[str, object]:
    def kept() -> dict[str, object] | None:
        return next((one for one in aegis.remediations(namespace) if one["state"] == RemediationState.KEPT), None)

    found = wait_for(kept, within_s=KEPT_WITHIN_S, what="nothing was kept")
    assert found is not None
    return found

"""Too much at once, on a real cluster: Aegis keeps its hands off, and calls one person once."""

from pathlib import Path

from testbed.driver.aegis import Aegis, writes_in
from testbed.driver.cluster import Cluster, wait_for
from testbed.driver.manifests import script, service

MANY = 7
STORM_WITHIN_S = 120
DECIDED_WITHIN_S = 120


def test_in_a_storm_nothing_is_touched(cluster: Cluster, aegis: Aegis, namespace: str, audit_log: Path) -> None:
    names = [f"service-{number}" for number in range(MANY)]
    cluster.apply(script(namespace))
    for name in names:
        cluster.apply(*service(namespace, name, replicas=1))
    for name in names:
        cluster.wait_until_rolled_out(namespace, name)

    # What they all run is broken by one change, and each new pod ends as soon as it has started.
    program = '{"data": {"service.py": "raise SystemExit(1)"}}'
    cluster.kubectl("-n", namespace, "patch", "configmap", "program", "--patch", program)
    cluster.kubectl("-n", namespace, "delete", "pods", "--all", "--wait=false")

    wait_for(lambda: aegis.command("status")["storm"] != "none", within_s=STORM_WITHIN_S, what="no storm was seen")
    wait_for(lambda: aegis.incidents(namespace), within_s=DECIDED_WITHIN_S, what="nothing was noticed")
    assert writes_in(audit_log, namespace) == []
    assert not [one for one in aegis.remediations(namespace) if one["outcomes"]]
    assert len([one for one in aegis.notifications() if one["kind"] == "storm"]) == 1

"""What is unhealthy in the whole cluster, each workload once."""

from typing import Any

import pytest
from tests.builders import deployment, pod

from aegis.executor.guardrails.storm import read_health

LOST = {"metadata": {"name": "node1"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"app": "web"}},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]},
    ],
)
def test_what_is_unhealthy_only_through_one_lost_node_counts_as_that_node(selector: dict[str, Any]) -> None:
    workloads = [deployment(name) for name in ("web", "api")]
    for workload in workloads:
        workload["spec"]["selector"] = selector
        workload["status"]["availableReplicas"] = 0
    pods = [pod(str(number), ready=False) for number in range(3)]

    reading = read_health(workloads, pods, [LOST])

    assert reading.unhealthy == ("Node/node1",)


def test_what_is_unhealthy_by_itself_counts_by_itself() -> None:
    web = deployment()
    web["status"]["availableReplicas"] = 0

    assert read_health([web, deployment("api")], [pod("a", ready=False)], []).unhealthy == ("shop/Deployment/web",)

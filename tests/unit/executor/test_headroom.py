"""Whether more pods could be made, and placed."""

from typing import Any

import pytest
from tests.builders import NOW, deployment, pod

from aegis.executor.guardrails.facts import Facts
from aegis.executor.guardrails.headroom import amounts, nodes_have_room, quota_shortage

MI = 2**20


def container(memory: str = "", *, limit: str = "", **fields: Any) -> dict[str, Any]:
    asked = {"requests": {"memory": memory} if memory else {}, "limits": {"memory": limit} if limit else {}}
    return {"name": "c", "resources": asked, **fields}


def spec(*containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"containers": list(containers or (container("100Mi"),)), **fields}


def sidecar(memory: str) -> dict[str, Any]:
    return container(memory, restartPolicy="Always")


@pytest.mark.parametrize(
    ("pod_spec", "mebibytes"),
    [
        (spec(container("100Mi"), container("50Mi")), 150),
        (spec(container(limit="100Mi")), 100),
        (spec(initContainers=[container("300Mi"), container("200Mi")]), 300),
        (spec(initContainers=[container("50Mi")]), 100),
        (spec(initContainers=[sidecar("30Mi")]), 130),
        (spec(initContainers=[sidecar("30Mi"), container("200Mi"), sidecar("20Mi")]), 230),
        (spec(initContainers=[container("200Mi"), sidecar("30Mi")]), 200),
        (spec(overhead={"memory": "40Mi"}), 140),
        (spec(initContainers=[container("200Mi")], overhead={"memory": "40Mi"}), 240),
    ],
)
def test_a_pod_counts_for_what_it_takes_when_it_takes_most(pod_spec: dict[str, Any], mebibytes: int) -> None:
    assert amounts(pod_spec, "requests")["memory"] == mebibytes * MI


def quota(**used_and_hard: tuple[str, str]) -> dict[str, Any]:
    named = {name.replace("__", "."): pair for name, pair in used_and_hard.items()}
    status = {
        "used": {name: used for name, (used, _) in named.items()},
        "hard": {n: hard for n, (_, hard) in named.items()},
    }
    return {"metadata": {"name": "team"}, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("given", "short"),
    [
        (quota(pods=("3", "4")), True),
        (quota(pods=("3", "5")), False),
        (quota(memory=("0", "250Mi")), False),
        (quota(memory=("100Mi", "250Mi")), True),
        (quota(requests__memory=("100Mi", "250Mi")), True),
        (quota(limits__memory=("0", "500Mi")), False),
        (quota(limits__memory=("300Mi", "500Mi")), True),
        (quota(limits__cpu=("3", "3")), False),
    ],
)
def test_a_quota_has_room_for_so_many_more_pods_or_not(given: dict[str, Any], *, short: bool) -> None:
    pod_spec = spec(container("100Mi", limit="200Mi"))

    assert (quota_shortage(given, pod_spec, 2) is not None) is short


TAINT = {"key": "team", "value": "a", "effect": "NoSchedule"}


def node(*taints: dict[str, str], memory: str = "1Gi", ready: bool = True, **labels: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {
        "metadata": {"name": "node1", "labels": labels},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": "4", "memory": memory, "pods": "10"}, "conditions": conditions},
    }


def have_room(*nodes: dict[str, Any], pods: int = 1, running: int = 0, **fields: Any) -> bool:
    beside = [pod(str(number)) for number in range(running)]
    for one in beside:
        one["spec"]["containers"] = [container("300Mi")]
    web = deployment()
    facts = Facts(now=NOW, target=web, owner=web, nodes=nodes, node_pods=beside)
    return nodes_have_room(facts, spec(container("500Mi"), **fields), pods)


def test_nodes_have_room_for_what_they_have_left() -> None:
    assert have_room(node(), pods=2)
    assert not have_room(node(), pods=3)
    assert not have_room(node(), pods=2, running=1)
    assert not have_room(node(ready=False))
    assert not have_room(node(), initContainers=[sidecar("600Mi")])
    assert not have_room(node(), containers=[{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}])


def test_a_node_takes_only_what_asks_for_its_kind() -> None:
    assert have_room(node(disk="ssd"), nodeSelector={"disk": "ssd"})
    assert not have_room(node(disk="hdd"), nodeSelector={"disk": "ssd"})


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "team", "value": "a", "effect": "NoSchedule"}, True),
        ({"key": "team", "operator": "Equal", "value": "a"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "value": "b"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "team", "value": "a", "effect": "NoExecute"}, False),
    ],
)
def test_a_taint_keeps_away_what_does_not_tolerate_it(toleration: dict[str, str], *, tolerated: bool) -> None:
    assert not have_room(node(TAINT))
    assert have_room(node(TAINT), tolerations=[toleration]) is tolerated
    assert have_room(node(TAINT | {"effect": "PreferNoSchedule"}))

"""What somebody with kubectl can and cannot do to a world."""

from typing import Any

import pytest
from tests.unit.simulator.world.builders import Life

from aegis.kit.errors import InvalidError
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import CONFIGMAPS, EVENTS, HPAS, PODS

EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}


def manifest(kind: str, name: str = "x", api_version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, **more}


def test_a_status_is_reported_and_not_applied() -> None:
    life = Life()
    pod = manifest("Pod", spec={"containers": [{"name": "c", "image": "a:1"}]}, status=EVICTED)

    life.do("apply", manifest=pod)
    applied_anew = life.do("apply", manifest=pod)

    assert applied_anew == "Pod x configured"
    assert "reason" not in life.world.store.get(PODS, "default", "x").get("status", {})


@pytest.mark.parametrize("api_version", ["v1", "events.k8s.io/v1"])
def test_events_are_the_clusters_own_to_tell(api_version: str) -> None:
    life = Life()
    told = len(life.world.store.list(EVENTS))

    with pytest.raises(InvalidError, match="an Event is what the cluster tells of itself") as refused:
        life.do("apply", manifest=manifest("Event", api_version=api_version, reason="OOMKilling"))

    assert (refused.value.field, refused.value.value) == ("manifest.kind", "Event")
    assert len(life.world.store.list(EVENTS)) == told


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"replicas": "many"}, "replicas"),
        ({"replicas": 1, "replcas": 2}, "replcas"),
        ({"replicas": 1, "selector": {"matchLabels": {"app": "x"}}}, "template"),
    ],
)
def test_what_the_api_server_would_refuse_is_refused(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ApiError, match=told):
        Life().do("apply", manifest=manifest("Deployment", api_version="apps/v1", spec=spec))


def test_what_is_applied_again_is_changed_whatever_version_it_is_written_in() -> None:
    life = Life()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    life.do("apply", manifest=manifest("ConfigMap", data={"a": "1"}))
    life.do("apply", manifest=manifest("ConfigMap", data={"a": "2"}))
    for version, most in (("v1", 3), ("v2", 4)):
        scaled = manifest(
            "HorizontalPodAutoscaler", "web", f"autoscaling/{version}",
            spec={"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": most},
        )  # fmt: skip
        life.do("apply", manifest=scaled)
        assert life.world.store.get(HPAS, "default", "web")["spec"]["maxReplicas"] == most

    assert life.world.store.get(CONFIGMAPS, "default", "x")["data"] == {"a": "2"}

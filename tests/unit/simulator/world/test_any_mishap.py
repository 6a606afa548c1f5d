"""Whatever happens in whatever order, the world goes on, and its figures stay figures."""

import contextlib
import math
import random
from typing import Any

import pytest
from tests.unit.simulator.world.builders import Life

from aegis.kit.errors import AegisError
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, NODES, PODS, RESOURCEQUOTAS
from aegis.simulator.world.programs import Program
from aegis.simulator.world.topologies import draw

_BEHAVIOURS: tuple[dict[str, Any], ...] = (
    {"error_share": 0.4},
    {"leak_mib_per_s": 3.0},
    {"exit_after_s": 12.0},
    {"exit_at_start": 1},
    {"latency_s": 1.5},
    {"cpu_burn": 3.0},
    {"never_ready": True},
    {"crash_above_rps": 3.0},
    {"pool_size": 1, "pool_eager": True},
)


def some_step(life: Life, rng: random.Random) -> dict[str, Any]:
    target = str(rng.choice(life.world.health()).workload).replace("/Deployment/", "/").replace("/StatefulSet/", "/")
    namespace = target.split("/")[0]
    node = rng.choice(life.world.store.list(NODES))["metadata"]["name"]
    pod = rng.choice(life.world.store.list(PODS))["metadata"]
    behaviour = rng.choice(_BEHAVIOURS)
    return rng.choice(
        (
            {"do": "deploy", "target": target, "tag": str(rng.randint(5, 99)), "behaviour": behaviour},
            {"do": "set_image", "target": target, "image": "registry.example/none:1"},
            {"do": "set_env", "target": target, "env": {"ERROR_SHARE": rng.choice(("0.2", "many"))}},
            {"do": "set_resources", "target": target, "limits": {"memory": rng.choice(("40Mi", "900Mi"))}},
            {"do": "mount", "target": target, "config_map": f"m{rng.randint(0, 9)}"},
            {"do": "require_key", "target": target, "config_map": "none", "key": "key"},
            {"do": "scale", "target": target, "replicas": rng.randint(0, 9)},
            {"do": "undo", "target": target},
            {"do": "restart", "target": target},
            {"do": "label", "target": target, "labels": {"team": "blue", "old": None}},
            {"do": "label", "namespace": namespace, "labels": {"watched": "yes"}},
            {"do": "delete", "kind": "Pod", "namespace": pod["namespace"], "name": pod["name"]},
            {"do": "set_selector", "service": target, "selector": {"app": "typo"}},
            {"do": "set_quota", "namespace": namespace, "hard": {"pods": str(rng.randint(0, 30))}},
            {"do": "cordon", "node": node, "unschedulable": rng.random() < 0.5},
            {"do": "surge", "factor": rng.uniform(0.2, 8.0), "for_s": 60},
            {"do": "set_traffic", "rps": rng.uniform(0, 100)},
            {"do": "behave", "target": target, "changes": behaviour, "survives_restart": rng.random() < 0.5},
            {"do": "behave_normally", "target": target},
            {"do": "crash", "target": target, "exit_code": 3},
            {"do": "cut_power", "node": node},
            {"do": "restore_power", "node": node},
        )
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_world_goes_on(seed: int) -> None:
    rng = random.Random(seed)
    life = Life(draw(seed), seed=seed).go(60)

    for _ in range(25):
        # No such service, no earlier revision, an object that is gone: a person may be told no.
        with contextlib.suppress(AegisError, ApiError):
            life.do(**some_step(life, rng))
        life.go(rng.choice((1, 7, 20, 45)))

        for sample in life.world.samples():
            assert math.isfinite(sample.value)
            assert sample.value >= 0
            assert not sample.metric.endswith("_ratio") or sample.value <= 1.2


@pytest.mark.parametrize("seed", [3, 4])
def test_once_left_alone_every_deployment_has_the_pods_it_asks_for(seed: int) -> None:
    rng = random.Random(seed)
    life = Life(draw(seed), seed=seed).go(60)
    for _ in range(12):
        with contextlib.suppress(AegisError, ApiError):
            life.do(**some_step(life, rng))
        life.go(10)

    for node in life.world.store.list(NODES):
        life.do("restore_power", node=node["metadata"]["name"])
        life.do("cordon", node=node["metadata"]["name"], unschedulable=False)
    for quota in life.world.store.list(RESOURCEQUOTAS):
        life.do("set_quota", namespace=quota["metadata"]["namespace"], hard={"pods": "200"})
    for namespace in {each.workload.namespace for each in life.world.health()}:
        for name in ("none", *(f"m{number}" for number in range(10))):
            life.do("set_config", namespace=namespace, name=name, data={"key": "value"})
    for health in life.world.health():
        target = f"{health.workload.namespace}/{health.workload.name}"
        life.do("behave_normally", target=target)
        life.do("set_env", target=target, env={"ERROR_SHARE": "0"})
        life.do("set_resources", target=target, limits={"memory": "400Mi"})
        life.do("set_image", target=target, image="plain:1")
    life.world.registry.push("plain:1", Program())
    life.go(1500)

    for deployment in life.world.store.list(DEPLOYMENTS):
        counts = deployment["status"]
        assert counts["replicas"] == deployment["spec"]["replicas"]
        assert counts["observedGeneration"] == deployment["metadata"]["generation"]

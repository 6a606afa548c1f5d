"""CPU and memory from metrics-server become canonical signals."""

from typing import Any

from tests.unit.ai_engine.builders import SHOP, World, stamp

from aegis.ai_engine.sources.metrics_server import samples_of


def usage(world: World, memory: str, cpu: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": SHOP, "name": "x"},
        "timestamp": stamp(world.now),
        "containers": [{"name": "app", "usage": {"memory": memory, "cpu": cpu}}],
    }


def test_memory_is_that_of_the_fullest_pod_and_cpu_the_mean() -> None:
    world = World()
    world.deploy("web", memory="128Mi", cpu="500m")
    items = {(SHOP, "web-h1-0"): usage(world, "64Mi", "250m"), (SHOP, "web-h1-1"): usage(world, "96Mi", "0")}

    found = {one.metric: one.value for one in samples_of(items, world.pipeline.inventory, now=world.now)}

    assert found == {
        "aegis:memory_usage_bytes": 96 * 2**20,
        "aegis:memory_usage_ratio": 0.75,
        "aegis:cpu_usage_ratio": 0.25,
        "aegis:restarts_total": 0,
    }


def test_a_workload_without_limits_has_no_ratio() -> None:
    world = World()
    world.deploy("web", memory="", cpu="")
    items = {(SHOP, "web-h1-0"): usage(world, "64Mi", "250m")}

    found = {one.metric for one in samples_of(items, world.pipeline.inventory, now=world.now)}

    assert found == {"aegis:memory_usage_bytes", "aegis:restarts_total"}

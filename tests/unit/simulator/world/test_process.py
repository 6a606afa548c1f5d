"""The world as a process: two ports, one life, and an end when told so."""

import asyncio
from datetime import UTC, datetime

import httpx

from aegis.kit.clock import ScaledClock
from aegis.simulator.world.process import ServedWorld, serve_world
from aegis.simulator.world.topologies import shop
from aegis.simulator.world.world import World


async def test_a_world_is_served_lives_and_stops() -> None:
    world = World(seed=1, clock=ScaledClock(datetime(2026, 1, 5, tzinfo=UTC), 50.0))
    world.install(shop())
    stopping, where = asyncio.Event(), asyncio.get_running_loop().create_future()

    def started(at: ServedWorld) -> None:
        where.set_result(at)

    serving = asyncio.create_task(
        serve_world(world, kubernetes_port=0, prometheus_port=0, stopping=stopping, started=started)
    )

    served: ServedWorld = await asyncio.wait_for(where, timeout=5)
    await asyncio.sleep(0.4)
    async with httpx.AsyncClient() as client:
        pods = (await client.get(f"{served.kubernetes.url}/api/v1/namespaces/shop/pods")).json()["items"]
        name = pods[0]["metadata"]["name"]
        log = await client.get(f"{served.kubernetes.url}/api/v1/namespaces/shop/pods/{name}/log")
        usage = await client.get(f"{served.kubernetes.url}/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods")
        query = {"query": "aegis:memory_usage_bytes"}
        signals = await client.get(f"{served.prometheus_url}/api/v1/query", params=query)
        about = await client.get(f"{served.prometheus_url}/world")
    stopping.set()
    await asyncio.wait_for(serving, timeout=5)

    assert len(pods) == 6
    assert "starting registry.example/shop/" in log.text
    assert len(usage.json()["items"]) == 6
    assert len(signals.json()["data"]["result"]) == 4
    assert about.json()["seed"] == 1

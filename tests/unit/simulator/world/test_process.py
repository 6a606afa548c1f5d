"""The world as a process: two ports, one life, and an end when told so."""

import asyncio
import socket
from datetime import UTC, datetime

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from aegis.kit.clock import ScaledClock
from aegis.simulator.world.process import Address, serve_world
from aegis.simulator.world.topologies import shop
from aegis.simulator.world.world import World


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def hello(_request: object) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def test_a_world_is_served_lives_and_stops() -> None:
    world = World(seed=1, clock=ScaledClock(datetime(2026, 1, 5, tzinfo=UTC), 50.0))
    world.install(shop())
    stopping = asyncio.Event()
    kubernetes, prometheus = free_port(), free_port()
    serving = asyncio.create_task(
        serve_world(
            world,
            kubernetes=Starlette(routes=[Route("/healthz", hello)]),
            kubernetes_at=Address(kubernetes),
            prometheus_at=Address(prometheus),
            stopping=stopping,
        )
    )

    await asyncio.sleep(0.5)
    async with httpx.AsyncClient() as client:
        healthy = await client.get(f"http://127.0.0.1:{kubernetes}/healthz")
        signals = await client.get(
            f"http://127.0.0.1:{prometheus}/api/v1/query", params={"query": "aegis:memory_usage_bytes"}
        )
        about = await client.get(f"http://127.0.0.1:{prometheus}/world")
    stopping.set()
    await asyncio.wait_for(serving, timeout=5)

    assert healthy.text == "ok"
    assert len(signals.json()["data"]["result"]) == 4
    assert about.json()["seed"] == 1

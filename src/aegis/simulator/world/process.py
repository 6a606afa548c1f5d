"""The world as a process: the Kubernetes API on one port, Prometheus and the world's own endpoint on another."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from aegis.simulator.world.control import WorldApi
from aegis.simulator.world.prometheus import PrometheusApi
from aegis.simulator.world.world import World


@dataclass(frozen=True)
class Tls:
    """A certificate for the Kubernetes API, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Address:
    port: int
    host: str = "127.0.0.1"


def world_app(world: World) -> Starlette:
    """Return what listens on the Prometheus port: `/api/v1/…`, `/-/…` and `/world…`."""
    prometheus = PrometheusApi(world.recording, world.clock)
    return Starlette(routes=[*prometheus.routes(), *WorldApi(world).routes()])


async def serve_world(
    world: World,
    *,
    kubernetes: Any,
    kubernetes_at: Address,
    prometheus_at: Address,
    tls: Tls | None = None,
    stopping: asyncio.Event | None = None,
) -> None:
    """Serve and live until `stopping` is set; `kubernetes` is the API server's ASGI app over `world.store`."""
    stop = stopping or asyncio.Event()
    servers = [
        _server(kubernetes, kubernetes_at, tls),
        _server(world_app(world), prometheus_at, None),
    ]
    living = asyncio.create_task(world.run(until=stop.is_set))
    serving = [asyncio.create_task(each.serve()) for each in servers]
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([living, waiting, *serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving, return_exceptions=True)
        living.cancel()
        waiting.cancel()
    for task in done:
        if task is not waiting:
            task.result()  # whoever ended first without being asked may have something to say


def _server(app: Any, at: Address, tls: Tls | None) -> "_Server":
    return _Server(
        uvicorn.Config(
            app,
            host=at.host,
            port=at.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            ssl_certfile=str(tls.certificate) if tls else None,
            ssl_keyfile=str(tls.key) if tls else None,
        )
    )


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals to whoever sets `stopping`."""
        yield

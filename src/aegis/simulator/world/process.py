"""The world as a process: the Kubernetes API on one port, Prometheus and the world's own endpoint on another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from aegis.kit.http import this_process
from aegis.simulator.kubernetes.server import ApiServer, create_app
from aegis.simulator.kubernetes.serving import GuestServer, Served, listen, serving
from aegis.simulator.kubernetes.users import Users
from aegis.simulator.world.control import WorldApi
from aegis.simulator.world.governor import Governor
from aegis.simulator.world.machines import Machines
from aegis.simulator.world.prometheus import PrometheusApi
from aegis.simulator.world.world import World


@dataclass(frozen=True)
class ServedWorld:
    """Where a world is to be found."""

    kubernetes: Served
    prometheus_url: str
    api: ApiServer
    life: asyncio.Task[None]
    """Ends when the world does, with the error it ended of."""


def kubernetes_app(world: World, *, users: Users | None = None) -> ApiServer:
    """Return the API server of the world's cluster, with its logs and measurements."""
    machines = Machines(world.store, world.physics)
    return create_app(world.store, runtime=machines, usage=machines, users=users)


def world_app(world: World) -> Starlette:
    """Return what listens on the Prometheus port: `/api/v1/…`, `/-/…` and `/world…`."""
    prometheus = PrometheusApi(world.recording, world.clock)
    return Starlette(routes=[*prometheus.routes(), *WorldApi(world).routes()])


@contextlib.asynccontextmanager
async def serving_world(
    world: World,
    *,
    host: str = "127.0.0.1",
    kubernetes_port: int = 0,
    prometheus_port: int = 0,
    tls: bool = False,
    users: Users | None = None,
    governor: Governor | None = None,
) -> AsyncIterator[ServedWorld]:
    """Serve and live while the context lasts; port 0 takes a free one."""
    api = kubernetes_app(world, users=users)
    listening = listen(host, prometheus_port)
    url = f"http://{host}:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        world_app(world),
        log_level="error",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        headers=this_process(),
    )
    server = GuestServer(config)
    stopped = asyncio.Event()
    living = asyncio.create_task(world.run(until=stopped.is_set, governor=governor))
    answering = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with serving(api, host, kubernetes_port, tls=tls) as served:
            await server.is_up.wait()
            yield ServedWorld(served, url, api, living)
    finally:
        stopped.set()
        server.should_exit = True
        await answering
        listening.close()
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living  # a world that broke says so here


async def serve_world(
    world: World,
    *,
    host: str = "127.0.0.1",
    kubernetes_port: int,
    prometheus_port: int,
    tls: bool = False,
    users: Users | None = None,
    governor: Governor | None = None,
    stopping: asyncio.Event,
    started: Callable[[ServedWorld], None] = lambda _: None,
) -> None:
    """Serve until `stopping` is set; `started` hears once where."""
    ports = {"kubernetes_port": kubernetes_port, "prometheus_port": prometheus_port}
    async with serving_world(world, host=host, tls=tls, users=users, governor=governor, **ports) as served:
        started(served)
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait([told, served.life], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()

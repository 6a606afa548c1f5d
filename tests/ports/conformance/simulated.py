"""The simulated cluster that the suite runs against where no other one is given."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from tests.ports.conformance.manifests import IMAGE

from aegis.kit.clock import ScaledClock, SystemClock
from aegis.simulator.kubernetes.serving import Served, kubeconfig
from aegis.simulator.kubernetes.users import ADMIN, Users
from aegis.simulator.world.process import serving_world
from aegis.simulator.world.programs import Program
from aegis.simulator.world.topologies import Topology, a_node
from aegis.simulator.world.world import World

RATE = 20.0
"""So many times as fast as ours time passes there: what real pods do in a minute is done in three seconds."""
REMEMBERS = 250
"""Changes, for watches to go on from: few enough to be forgotten in a test."""
_TOKEN = "the-administrator"
_STARTS_WITHIN_S = 30


@contextlib.contextmanager
def simulated_cluster(folder: Path) -> Iterator[Path]:
    """Serve a world with one node from a thread of its own; yield its administrator's kubeconfig."""
    is_up: Future[tuple[Served, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        world = World(seed=1, clock=ScaledClock(SystemClock().now(), RATE), history=REMEMBERS)
        world.install(Topology(parts=[], nodes=[a_node("node1")], traffic={}))
        world.registry.push(IMAGE, Program(memory_mib=4.0, cpu_idle=0.001, stop_s=0.2))
        stopping = asyncio.Event()
        async with serving_world(world, tls=True, users=Users({_TOKEN: ADMIN})) as served:
            is_up.set_result((served.kubernetes, asyncio.get_running_loop(), stopping))
            await stopping.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    served, loop, stopping = is_up.result(_STARTS_WITHIN_S)
    try:
        file = folder / "kubeconfig"
        file.write_text(kubeconfig(served, token=_TOKEN))
        yield file
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()

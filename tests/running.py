"""A service on a real port, in a thread of its own: for those who can only speak through a socket."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from aegis.simulator.kubernetes.serving import GuestServer, listen

T = TypeVar("T")


@dataclass(frozen=True)
class Running:
    url: str
    loop: asyncio.AbstractEventLoop

    def do(self, story: Coroutine[Any, Any, T]) -> T:
        """Let something happen where the service lives."""
        return asyncio.run_coroutine_threadsafe(story, self.loop).result(60)


@contextlib.contextmanager
def running(app: Any, *, close: Callable[[], Awaitable[None]]) -> Iterator[Running]:
    """Serve an app while the context lasts."""
    listening = listen("127.0.0.1", 0)
    server = GuestServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    is_up: Future[asyncio.AbstractEventLoop] = Future()

    async def serve() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await server.is_up.wait()
        is_up.set_result(asyncio.get_running_loop())
        await serving
        await close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        loop = is_up.result(30)
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", loop)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()

"""A service on a real port, in a thread of its own: for those who can only speak through a socket."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

T = TypeVar("T")


@dataclass(frozen=True)
class Running:
    url: str
    loop: asyncio.AbstractEventLoop

    def do(self, story: Coroutine[Any, Any, T]) -> T:
        """Let something happen where the service lives."""
        return asyncio.run_coroutine_threadsafe(story, self.loop).result(60)


class _Server(uvicorn.Server):
    """Leaves the process's signals alone, and tells when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.contextmanager
def running(app: Any, *, close: Callable[[], Awaitable[None]]) -> Iterator[Running]:
    """Serve an app while the context lasts."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))

    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listening])
        await close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert server.is_up.wait(30), "it did not start"
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", loops[0])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()

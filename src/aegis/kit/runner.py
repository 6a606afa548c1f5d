"""Run a service: serve its API and repeat its steps, until told to stop."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import uvicorn

from aegis.kit.clock import Clock
from aegis.kit.errors import TemporaryError
from aegis.kit.http import this_process

log = logging.getLogger(__name__)

SHORTEST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Loop:
    """Something a service does again and again, `every` so often on its clock."""

    name: str
    step: Callable[[], Awaitable[None]]
    every: timedelta


async def run_service(
    app: Any, *, host: str, port: int, clock: Clock, loops: Sequence[Loop], close: Callable[[], Awaitable[None]]
) -> None:
    """Serve and loop until SIGTERM or SIGINT; then finish the steps under way and `close`."""
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, lifespan="off", headers=this_process()
    )
    server = _Server(config)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve())
    repeating = [asyncio.create_task(_repeat(loop, clock=clock, stopping=stopping)) for loop in loops]
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    server.should_exit = True
    await asyncio.wait(repeating, timeout=10) if repeating else None
    for task in [*repeating, stop]:
        task.cancel()
    await serving
    await close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals to `run_service`."""
        yield


async def _repeat(loop: Loop, *, clock: Clock, stopping: asyncio.Event) -> None:
    """Step, wait, step again. Trouble makes the pauses longer, and never ends the loop."""
    trouble = 0
    while not stopping.is_set():
        started = clock.now()
        try:
            await loop.step()
            trouble = 0
        except TemporaryError as error:
            trouble += 1
            log.warning("%s waits: %s", loop.name, error)
        except Exception:
            trouble += 1
            log.exception("%s failed", loop.name)
        await _pause(loop, clock=clock, passed=clock.now() - started, trouble=trouble, stopping=stopping)


async def _pause(loop: Loop, *, clock: Clock, passed: timedelta, trouble: int, stopping: asyncio.Event) -> None:
    if trouble:
        seconds = min(0.1 * 2 ** min(trouble, 12), LONGEST_PAUSE_S)
        waiting = asyncio.create_task(asyncio.sleep(seconds))
    else:
        waiting = asyncio.create_task(_sleep(clock, loop.every - passed))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiting, stop], return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, stop):
        task.cancel()


async def _sleep(clock: Clock, duration: timedelta) -> None:
    # A clock that runs fast may leave nothing to wait for; others must get their turn all the same.
    await asyncio.sleep(SHORTEST_PAUSE_S)
    if duration > timedelta():
        await clock.sleep(duration)

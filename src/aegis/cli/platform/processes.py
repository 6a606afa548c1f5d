"""A program of ours as a child process: its log in a file, its end never forgotten."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import httpx

from aegis.kit.clock import SystemClock
from aegis.kit.errors import UpstreamError
from aegis.kit.http import PROCESS_HEADER
from aegis.kit.lifeline import Lifeline

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 12.0
_A_MOMENT = timedelta(seconds=0.05)
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SSL_CERT_FILE")
"""What a child inherits; everything else that it knows stands in its settings."""


class Process:
    """`python -m module …` with exactly these settings."""

    def __init__(self, name: str, arguments: list[str], *, settings: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._settings = dict(settings)
        self.log = log
        self._child: asyncio.subprocess.Process | None = None
        self._lifeline: Lifeline | None = None

    async def start(self) -> None:
        inherited = {key: os.environ[key] for key in _KEPT if key in os.environ}  # noqa: TID251 (handed on, not read)
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._arguments,
                env=inherited | self._settings,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._let_go()  # of the one before, where it is started again
        self._lifeline = Lifeline(self._child.pid, signal.SIGKILL)

    async def ready(self, url: str, *, within_s: float = READY_WITHIN_S) -> None:
        """Wait until this very process answers with success at the address.

        Raises:
            UpstreamError: it ended, or took too long; with the end of its log, and whether another one answers.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        async with httpx.AsyncClient(timeout=2) as http:
            while True:
                answer = await _answer(http, url)
                is_ours = answer is not None and answer.headers.get(PROCESS_HEADER) == str(self.pid)
                if answer is not None and is_ours and answer.is_success:
                    return
                ended = self._child is not None and self._child.returncode is not None
                if ended:
                    self._let_go()
                if ended or loop.time() > deadline:
                    why = f"{self.name} {self._how_it_ended() if ended else f'took longer than {within_s:.0f} s'}"
                    other = f"; another process answers at {url}" if answer is not None and not is_ours else ""
                    raise UpstreamError(
                        f"{why} before it was ready{other}; the end of {self.log}:\n{self.tail()}",
                        hint="" if ended else "This machine may be too busy: less at once is quicker.",
                    )
                await SystemClock().sleep(_A_MOMENT)

    def _how_it_ended(self) -> str:
        code = self._child.returncode if self._child is not None else None
        return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def stop(self) -> None:
        """Ask it to end; insist after a while."""
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._child.wait(), STOP_WITHIN_S)
            except TimeoutError:
                await self.kill()
        self._let_go()

    async def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self._lifeline is not None:
            self._lifeline.let_go()
            self._lifeline = None

    def tail(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


async def _answer(http: httpx.AsyncClient, url: str) -> httpx.Response | None:
    try:
        return await http.get(url)
    except httpx.TransportError:
        return None  # it does not listen yet

"""One process's worth of a service: it can be killed at any boundary, and built anew from its database."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.ports import ExactRequest, Object
from aegis.kit.clock import Clock
from aegis.kit.database import Database, Transaction, take_note

Kind = Literal["backend", "ai-engine", "executor"]


class CrashError(BaseException):
    """This process is gone, now. No `except Exception` of a service may survive it."""

    def __init__(self, replica: "Replica", boundary: str) -> None:
        super().__init__(f"{replica.name} was killed {boundary}")
        self.replica = replica


@dataclass
class Replica:
    """A place where a service runs, whether it does just now or not."""

    kind: Kind
    number: int
    build: Callable[["Replica"], Awaitable[Any]]
    service: Any = None
    """The service object; None while it is dead."""
    stop: Callable[[], Awaitable[None]] | None = None
    """Hangs up what the service object holds open."""
    back_at: datetime | None = None
    """When a dead one is started again; None for at once."""
    crash_at: int | None = None
    """The boundary, counted from the start of the run, at which it is killed once."""
    at_boundary: Callable[[str], None] = lambda _: None
    """Hears of each boundary as it is reached; may change the world, or end the replica."""
    boundaries: list[str] = field(default_factory=list)
    deaths: int = 0
    last: dict[str, datetime] = field(default_factory=dict)
    """When each of its steps was taken last."""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def is_alive(self) -> bool:
        return self.service is not None

    def passes(self, boundary: str) -> None:
        """Note that a boundary is reached; CrashError if this is where it ends."""
        self.boundaries.append(boundary)
        self.at_boundary(boundary)
        if self.crash_at is not None and len(self.boundaries) >= self.crash_at:
            self.crash_at = None
            raise CrashError(self, boundary)

    async def start(self) -> None:
        self.service = await self.build(self)
        self.back_at = None

    async def die(self, *, back_at: datetime | None = None) -> None:
        """Drop all that was in memory; the database remains."""
        self.service, self.back_at = None, back_at
        self.deaths += 1
        self.last.clear()
        if self.stop is not None:
            await self.stop()


class CrashableDatabase(Database):
    """The real database; whoever uses it can be killed before and after each transaction that wrote something."""

    def __init__(self, url: str, replica: Replica) -> None:
        super().__init__(url, pool_size=3)
        self._replica = replica
        self.note_writes()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with super().transaction() as tx:
            take_note(tx)
            yield tx
            wrote = take_note(tx)
            if wrote:
                self._replica.passes(f"before committing {wrote}")
        if wrote:
            self._replica.passes(f"after committing {wrote}")


class CrashableCluster(KubernetesCluster):
    """The real adapter; the Executor can be killed before and after each write."""

    def __init__(self, http: Any, clock: Clock, replica: Replica) -> None:
        super().__init__(http, clock)
        self._replica = replica

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        if dry_run:
            return await super().send(request, dry_run=True)
        self._replica.passes(f"before sending {request}")
        answer = await super().send(request, dry_run=False)
        self._replica.passes(f"after sending {request}")
        return answer

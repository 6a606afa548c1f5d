"""The wires between the services: they may lose a request or its answer, deliver twice, or late."""

import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
import httpx2
import orjson

from aegis.kit.clock import Clock
from aegis.kit.errors import TemporaryError
from aegis.simulator.together.replicas import CrashError, Replica

LATE = timedelta(seconds=20)
"""Shorter than a claim: a real connection is closed before somebody else takes over."""
R = TypeVar("R")


@dataclass(frozen=True)
class Trouble:
    """What goes wrong on a wire, each as a share of its requests."""

    request_lost: float = 0.0
    answer_lost: float = 0.0
    twice: float = 0.0
    late: float = 0.0


CALM = Trouble()


@dataclass(frozen=True)
class Exchange:
    """One request that was answered, as whoever sent it sees it."""

    at: datetime
    client: str
    server: str
    method: str
    path: str
    sent: bytes
    status: int
    answered: bytes


@dataclass(frozen=True)
class _Errors:
    """What a library says of a request that came to nothing."""

    refused: type[Exception]
    broken: type[Exception]
    timeout: type[Exception]


_HTTPX = _Errors(httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout)
_HTTPX2 = _Errors(httpx2.ConnectError, httpx2.ReadError, httpx2.ReadTimeout)


@dataclass
class Network:
    clock: Clock
    rng: random.Random
    troubles: dict[tuple[str, str], Trouble] = field(default_factory=dict)
    """By kinds of client and server."""
    exchanges: list[Exchange] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    """Errors in a service that nobody raised on purpose."""
    delivers_orders_twice: bool = False
    """Whatever an Executor fetches, the next one that fetches gets too, whoever that is."""
    order_deliveries: Counter[str] = field(default_factory=Counter)
    """How often each signed order was handed to an Executor, by its signature."""
    echo: dict[str, list[Any]] = field(default_factory=dict)
    """What was fetched and is still to be delivered once more."""
    delayed: dict[bytes, datetime] = field(default_factory=dict)
    """When a request that arrived late was sent, by its body."""
    _late: list[tuple[datetime, Callable[[], Awaitable[object]]]] = field(default_factory=list)

    async def carry(
        self,
        client: str,
        server: str,
        deliver: Callable[[], Awaitable[R]],
        errors: _Errors,
        *,
        body: bytes,
        may_be_late: bool,
    ) -> R:
        """Deliver a request as the wire's trouble has it."""
        trouble = self.troubles.get((client, server), CALM)
        fate = self.rng.random() if trouble is not CALM else 1.0
        if fate < trouble.request_lost:
            self.happened["request_lost"] += 1
            raise errors.refused("the wire lost the request")
        fate -= trouble.request_lost
        if fate < trouble.late and may_be_late:
            self.happened["late"] += 1
            self.delayed[body] = self.clock.now()
            self._late.append((self.clock.now() + LATE * self.rng.random(), deliver))
            raise errors.timeout("the request is on its way")
        fate -= trouble.late
        answer = await deliver()
        if fate < trouble.twice:
            self.happened["twice"] += 1
            answer = await deliver()
        elif fate < trouble.twice + trouble.answer_lost:
            self.happened["answer_lost"] += 1
            raise errors.broken("the wire lost the answer")
        return answer

    def hand_out(self, answered: bytes) -> bytes:
        """Return fetched work as it reaches the Executor: with all that the one before fetched, a second time."""
        work = orjson.loads(answered)
        fresh = {kind: work[kind] for kind in ("orders", "rehearsals", "announcements")}
        if self.delivers_orders_twice:
            again, self.echo = self.echo, {kind: items for kind, items in fresh.items() if items}
            work |= {kind: items + again.get(kind, []) for kind, items in fresh.items()}
        self.order_deliveries.update(order["signature"] for order in work["orders"])
        return orjson.dumps(work)

    async def deliver_what_is_late(self) -> None:
        due = [deliver for at, deliver in self._late if at <= self.clock.now()]
        self._late = [one for one in self._late if one[0] > self.clock.now()]
        for deliver in due:
            with contextlib.suppress(httpx.TransportError, httpx2.TransportError, TemporaryError):
                await deliver()  # nobody waits for the answer


class ServiceWire(httpx.AsyncBaseTransport):
    """From one replica to any live replica of another service."""

    def __init__(self, network: Network, client: str, servers: Sequence[Replica]) -> None:
        self._network = network
        self._client = client
        self._servers = servers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        client, server = self._client.rpartition("-")[0], self._servers[0].kind
        return await self._network.carry(
            client,
            server,
            lambda: self._deliver(request),
            _HTTPX,
            body=request.content,
            may_be_late=request.method == "POST",
        )

    async def _deliver(self, request: httpx.Request) -> httpx.Response:
        alive = [one for one in self._servers if one.is_alive]
        if not alive:
            raise httpx.ConnectError(f"no {self._servers[0].kind} answers")
        server = alive[0] if len(alive) == 1 else self._network.rng.choice(alive)
        try:
            response = await httpx.ASGITransport(server.service.app).handle_async_request(request)
        except CrashError as crash:
            if crash.replica is not server:
                raise
            await server.die(back_at=server.back_at)
            raise httpx.ReadError(str(crash)) from None
        except httpx.TransportError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect in a service is what we look for
            self._network.surprises.append(f"{server.name} {request.method} {request.url.path}: {error!r}")
            return httpx.Response(500)
        answered = await response.aread()
        self._note(request, server, response.status_code, answered)
        if request.url.path == "/api/v1/work" and response.is_success:
            return httpx.Response(response.status_code, content=self._network.hand_out(answered))
        return httpx.Response(response.status_code, headers=response.headers, content=answered)

    def _note(self, request: httpx.Request, server: Replica, status: int, answered: bytes) -> None:
        if request.method == "GET":
            return
        now = self._network.clock.now()
        path, sent = request.url.path, request.content
        self._network.exchanges.append(
            Exchange(now, self._client, server.name, request.method, path, sent, status, answered)
        )


class ClusterWire(httpx2.AsyncBaseTransport):
    """From an Executor to the API server."""

    def __init__(self, network: Network, app: Any) -> None:
        self._network = network
        self._transport = httpx2.ASGITransport(app)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._network.carry(
            "executor",
            "cluster",
            lambda: self._deliver(request),
            _HTTPX2,
            body=request.content,
            may_be_late=request.method != "GET",
        )

    async def _deliver(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transport.handle_async_request(request)

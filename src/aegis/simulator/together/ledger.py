"""Every write that reaches the API server, to the byte, with the object as it was before and after it."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.requests import Target, target_of
from aegis.simulator.kubernetes.resources import NAMESPACES
from aegis.simulator.kubernetes.server import ApiServer
from aegis.simulator.world.invariants.evidence import Write

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
LookUp = Callable[[bytes], Awaitable[dict[str, Any]]]


@dataclass
class Ledger:
    """An ASGI app before the API server."""

    api: ApiServer
    look_up: LookUp
    """Finds the journal's row of the order that a body is about."""
    writes: list[Write] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.api(scope, receive, send)
            return
        body = await _body(receive)
        target = target_of(str(scope["path"]))
        dry_run = "dryRun" in dict(parse_qsl(scope["query_string"].decode()))
        before = self._object(target)
        journal = {} if dry_run else await self.look_up(body)
        codes: list[int] = []

        async def noting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                codes.append(int(message["status"]))
            await send(message)

        await self.api(scope, _replay(body), noting)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        write = Write(
            at=self.api.store.clock.now(),
            user=self.api.users.who_is(headers.get("authorization", "")).name,
            method=str(scope["method"]),
            path=str(scope["path"]),
            body=body,
            dry_run=dry_run,
            code=codes[0] if codes else 500,
            before=before,
            after=self._object(target),
            namespace=self._namespace(target),
            journal=journal,
        )
        self.writes.append(write)

    def _object(self, target: Target | None) -> Object | None:
        if target is None or not target.name:
            return None
        return self.api.store.find(target.resource, target.namespace or None, target.name)

    def _namespace(self, target: Target | None) -> Object | None:
        return self.api.store.find(NAMESPACES, None, target.namespace) if target and target.namespace else None


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _replay(body: bytes) -> Receive:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive

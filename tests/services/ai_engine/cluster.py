"""A pretend API server behind an httpx2 transport: lists, watches, and every way they can fail."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx2
import orjson

from aegis.ai_engine.sources.kubernetes import PATHS
from aegis.clients.api_server import VERSION

_RESOURCES = {path: resource for resource, path in PATHS.items()}


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, queue: "asyncio.Queue[bytes | None]", started: Callable[[], None]) -> None:
        self._queue = queue
        self._started = started

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._started()
        while (line := await self._queue.get()) is not None:
            yield line + b"\n"


class PretendApi(httpx2.AsyncBaseTransport):
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self.version = 100
        self.requests: list[str] = []
        self.failures: dict[str, list[httpx2.Response]] = defaultdict(list)
        self.ends_at_once: dict[str, int] = {}
        """The code with which each watch of these resources is answered, and nothing else."""
        self.is_up = True
        self.server = {"major": "1", "minor": "37", "gitVersion": "v1.37.2"}
        """What it says of its version."""
        self._watchers: dict[str, list[asyncio.Queue[bytes | None]]] = defaultdict(list)
        self.watching: set[str] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self.is_up:
            raise httpx2.ConnectError("connection refused")
        if request.url.path == VERSION:
            self.requests.append(VERSION)
            return httpx2.Response(200, json=self.server)
        resource = _RESOURCES.get(request.url.path, "")
        self.requests.append(f"{resource}?{request.url.query.decode()}")
        if self.failures[resource]:
            return self.failures[resource].pop(0)
        if not resource:
            return httpx2.Response(404, json={"message": "not found"})
        if request.url.params.get("watch") == "true":
            if resource in self.ends_at_once:
                return httpx2.Response(self.ends_at_once[resource])
            queue: asyncio.Queue[bytes | None] = asyncio.Queue()
            self._watchers[resource].append(queue)
            return httpx2.Response(200, stream=_Stream(queue, lambda: self.watching.add(resource)))
        items = list(self.objects[resource].values())
        return httpx2.Response(200, json={"metadata": {"resourceVersion": str(self.version)}, "items": items})

    def put(self, resource: str, item: Mapping[str, Any]) -> None:
        self.version += 1
        item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        known = item["metadata"]["uid"] in self.objects[resource]
        self.objects[resource][item["metadata"]["uid"]] = item
        self.say(resource, "MODIFIED" if known else "ADDED", item)

    def remove(self, resource: str, uid: str) -> None:
        self.say(resource, "DELETED", self.objects[resource].pop(uid))

    def say(self, resource: str, type: str, item: Mapping[str, Any]) -> None:
        self.say_bytes(resource, orjson.dumps({"type": type, "object": item}))

    def say_bytes(self, resource: str, line: bytes) -> None:
        for queue in self._watchers[resource]:
            queue.put_nowait(line)

    def hang_up(self, resource: str = "") -> None:
        for name, queues in self._watchers.items():
            if resource in ("", name):
                for queue in queues:
                    queue.put_nowait(None)
                queues.clear()
                self.watching.discard(name)

"""A cluster of which every part has a default, and a client that speaks to it without a network."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from aegis.kit.clock import VirtualClock
from aegis.simulator.kubernetes.bootstrap import bootstrap
from aegis.simulator.kubernetes.resources import NAMESPACES
from aegis.simulator.kubernetes.server import ApiServer, create_app
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import Users

Object = dict[str, Any]

DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments"
PODS_PATH = "/api/v1/namespaces/shop/pods"
CONFIG = "/api/v1/namespaces/shop/configmaps"

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def a_store(*, history: int = 20_000) -> Store:
    store = Store(VirtualClock(), random.Random(1), history=history)
    bootstrap(store)
    return store


def a_container(name: str = "web", image: str = "web:1", **more: Any) -> Object:
    return {"name": name, "image": image, **more}


def a_deployment(
    name: str = "web", *, replicas: int = 2, containers: list[Object] | None = None, **spec: Any
) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers or [a_container()]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def a_pod(
    name: str = "web-1",
    *,
    labels: dict[str, str] | None = None,
    node: str = "",
    owner: Object | None = None,
    ready: bool = False,
    phase: str = "",
    resources: Object | None = None,
) -> Object:
    metadata: Object = {"name": name, "namespace": "shop", "labels": labels or {"app": "web"}}
    if owner is not None:
        metadata["ownerReferences"] = [owner_reference(owner)]
    spec: Object = {"containers": [a_container(resources=resources or {})]}
    if node:
        spec["nodeName"] = node
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    if ready or phase:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        pod["status"] = {"phase": phase or "Running", "conditions": conditions}
    return pod


def owner_reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


def a_config_map(name: str = "settings", data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "data": {"color": "blue"} if data is None else data,
    }


@dataclass
class Reply:
    code: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Stream:
    """The events of an open watch, one by one."""

    def __init__(self, chunks: "asyncio.Queue[bytes | None]") -> None:
        self._chunks = chunks
        self._lines: list[bytes] = []

    async def next(self) -> Object:
        while not self._lines:
            chunk = await asyncio.wait_for(self._chunks.get(), timeout=2)
            assert chunk is not None, "the watch ended"
            self._lines += chunk.splitlines()
        event: Object = orjson.loads(self._lines.pop(0))
        return event

    async def ends(self) -> bool:
        return not self._lines and await asyncio.wait_for(self._chunks.get(), timeout=2) is None


class Api:
    """Speaks HTTP to an app in this process, as the user of a token or as nobody."""

    def __init__(self, app: ApiServer, *, token: str = "") -> None:
        self.app = app
        self._token = token

    @property
    def store(self) -> Store:
        return self.app.store

    async def get(self, path: str, *, headers: dict[str, str] | None = None, **query: str) -> Reply:
        return await self.call("GET", path, headers=headers, query=query)

    async def create(self, path: str, obj: Object, **query: str) -> Reply:
        return await self.call("POST", path, orjson.dumps(obj), query=query)

    async def replace(self, path: str, obj: Object, **query: str) -> Reply:
        return await self.call("PUT", path, orjson.dumps(obj), query=query)

    async def patch(self, path: str, content: Any, kind: str = MERGE_PATCH, **query: str) -> Reply:
        return await self.call("PATCH", path, orjson.dumps(content), {"content-type": kind}, query)

    async def apply(self, path: str, obj: Object, *, manager: str, **query: str) -> Reply:
        return await self.patch(path, obj, APPLY_PATCH, fieldManager=manager, **query)

    async def delete(self, path: str, options: Object | None = None, **query: str) -> Reply:
        return await self.call("DELETE", path, orjson.dumps(options) if options else b"", query=query)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> Reply:
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        starts: list[Object] = []
        await self._run(self._scope(method, path, headers, query), body, chunks, starts)
        content = b"".join(iter(chunks.get_nowait, None))
        pairs = [(name.decode(), value.decode()) for name, value in starts[0]["headers"]]
        warnings = [value for name, value in pairs if name == "warning"]
        return Reply(starts[0]["status"], content, dict(pairs), warnings)

    @asynccontextmanager
    async def watch(self, path: str, *, headers: dict[str, str] | None = None, **query: str) -> AsyncIterator[Stream]:
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        scope = self._scope("GET", path, headers, {"watch": "true", **query})
        running = asyncio.create_task(self._run(scope, b"", chunks, []))
        try:
            yield Stream(chunks)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _scope(self, method: str, path: str, headers: dict[str, str] | None, query: dict[str, str] | None) -> Object:
        sent = {"content-type": "application/json", "user-agent": "tests/1", **(headers or {})}
        if self._token:
            sent["authorization"] = f"Bearer {self._token}"
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        text = "&".join(f"{name}={quote(value)}" for name, value in (query or {}).items())
        return {"type": "http", "method": method, "path": path, "query_string": text.encode(), "headers": raw}

    async def _run(
        self, scope: Object, body: bytes, chunks: "asyncio.Queue[bytes | None]", starts: list[Object]
    ) -> None:
        requests = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Object:
            for request in requests:
                return request
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Object) -> None:
            if message["type"] == "http.response.start":
                starts.append(message)
                return
            if message["body"]:
                chunks.put_nowait(message["body"])
            if not message.get("more_body"):
                chunks.put_nowait(None)

        await self.app(scope, receive, send)


def an_api(*, users: Users | None = None, token: str = "", history: int = 20_000, **parts: Any) -> Api:
    """Return a client of a new cluster that has the namespace `shop`."""
    app = create_app(a_store(history=history), users=users, **parts)
    api = Api(app, token=token)
    api.store.create(NAMESPACES, {"metadata": {"name": "shop"}})
    return api

"""A cluster as these tests see it: plain requests over the connection that Aegis makes, and what is seen in the end."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import yaml
from tests.ports.conformance.manifests import Object
from tests.ports.conformance.requests import Request, of_http

from aegis.clients.kubernetes import connect

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_GROUPS = {
    "deployments": "apps/v1",
    "replicasets": "apps/v1",
    "statefulsets": "apps/v1",
    "daemonsets": "apps/v1",
    "horizontalpodautoscalers": "autoscaling/v2",
    "poddisruptionbudgets": "policy/v1",
    "roles": "rbac.authorization.k8s.io/v1",
    "rolebindings": "rbac.authorization.k8s.io/v1",
    "clusterroles": "rbac.authorization.k8s.io/v1",
    "clusterrolebindings": "rbac.authorization.k8s.io/v1",
    "jobs": "batch/v1",
    "cronjobs": "batch/v1",
    "endpointslices": "discovery.k8s.io/v1",
}
_LOOKS_EVERY_S = 0.05
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    code: int
    body: Any
    headers: Mapping[str, str]

    @property
    def is_ok(self) -> bool:
        return self.code < 300

    @property
    def causes(self) -> list[Object]:
        found: list[Object] = self.body["details"]["causes"]
        return found


@dataclass
class Cluster:
    """A connection to the cluster as somebody, and the namespace that the test has for itself."""

    http: httpx2.AsyncClient
    namespace: str
    kubeconfig: Path
    exercised: set[Request]

    def path(self, resource: str, name: str = "", *, namespace: str | None = None) -> str:
        """Return where things are, by default in the test's own namespace; `""` is the whole cluster.

        A resource may name its subresource: `pods/log`.
        """
        kind, _, subresource = resource.partition("/")
        root = f"/apis/{_GROUPS[kind]}" if kind in _GROUPS else "/api/v1"
        where = self.namespace if namespace is None else namespace
        scope = f"/namespaces/{where}" if where else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{kind}{tail}"

    async def ask(self, method: str, path: str, body: Any = None, *, kind: str = JSON, **query: str | int) -> Answer:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind} if content is not None else {}
        response = await self.http.request(method, path, params=query, content=content, headers=headers)
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(response.status_code, response.json() if is_json else response.text, response.headers)

    # What has to work

    async def get(self, resource: str, name: str, **where: Any) -> Object:
        return await self._ok("GET", self.path(resource, name, **where))

    async def find(self, resource: str, name: str) -> Object | None:
        answer = await self.ask("GET", self.path(resource, name))
        return answer.body if answer.is_ok else None

    async def list(self, resource: str, *, namespace: str | None = None, **query: str | int) -> list[Object]:
        found: list[Object] = (await self._ok("GET", self.path(resource, namespace=namespace), **query))["items"]
        return found

    async def create(self, resource: str, thing: Object, *, namespace: str | None = None, **query: str | int) -> Object:
        return await self._ok("POST", self.path(resource, namespace=namespace), thing, **query)

    async def patch(self, resource: str, name: str, change: Any, *, kind: str = MERGE_PATCH, **query: Any) -> Object:
        return await self._ok("PATCH", self.path(resource, name), change, kind=kind, **query)

    async def delete(self, resource: str, name: str, options: Object | None = None) -> Object:
        return await self._ok("DELETE", self.path(resource, name), options)

    async def _ok(self, method: str, path: str, body: Any = None, **more: Any) -> Object:
        answer = await self.ask(method, path, body, **more)
        assert answer.is_ok, f"{method} {path}: {answer.code} {answer.body}"
        found: Object = answer.body
        return found

    # What is seen sooner or later

    async def until(self, look: Callable[[], Awaitable[T]], *, within_s: float = 60) -> T:
        """Look until there is something; what was seen last stands in the complaint."""
        end = time.monotonic() + within_s
        while not (seen := await look()):
            assert time.monotonic() < end, f"not within {within_s:.0f} s; last seen: {seen!r}"
            await asyncio.sleep(_LOOKS_EVERY_S)
        return seen

    async def seen(
        self,
        resource: str,
        name: str,
        is_so: Callable[[Object], Any],
        *,
        within_s: float = 60,
        namespace: str | None = None,
    ) -> Object:
        """Return an object once it is as it has to be."""
        end = time.monotonic() + within_s
        while True:
            thing = await self.get(resource, name, namespace=namespace)
            if is_so(thing):
                return thing
            shown = json.dumps({key: thing.get(key) for key in ("metadata", "status")})
            assert time.monotonic() < end, f"{resource} {name}: not within {within_s:.0f} s; last seen: {shown}"
            await asyncio.sleep(_LOOKS_EVERY_S)

    async def gone(self, resource: str, name: str, *, uid: str = "") -> None:
        async def is_gone() -> bool:
            found = await self.find(resource, name)
            return found is None or (uid != "" and found["metadata"]["uid"] != uid)

        await self.until(is_gone)

    @contextlib.asynccontextmanager
    async def watching(self, resource: str, **query: str | int) -> AsyncIterator["Watched"]:
        """Watch the test's namespace, or what `namespace` says; take events one by one."""
        where = query.pop("namespace", None)
        path = self.path(resource, namespace=str(where) if where is not None else None)
        async with self.http.stream("GET", path, params={"watch": "true", **query}) as response:
            yield Watched(response)


@dataclass
class Watched:
    """An open watch."""

    response: httpx2.Response
    _lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    async def event(self, *, within_s: float = 20) -> tuple[str, Object]:
        line = await asyncio.wait_for(anext(self._lines), within_s)
        event = json.loads(line)
        return event["type"], event["object"]

    async def events(self) -> AsyncIterator[tuple[str, Object]]:
        """Yield all that comes until the server ends it."""
        async for line in self._lines:
            if line:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def rest(self) -> list[tuple[str, Object]]:
        return [event async for event in self.events()]


def connected(kubeconfig: Path, namespace: str, exercised: set[Request]) -> Cluster:
    """Connect as Aegis does, and write down what is asked."""

    async def note(response: httpx2.Response) -> None:
        asked = response.request
        kind = asked.headers.get("Content-Type", "")
        request = of_http(asked.method, str(asked.url), kind, response.status_code)
        if request is not None:
            exercised.add(request)

    http = connect(str(kubeconfig))
    http.event_hooks = {"response": [note]}
    return Cluster(http, namespace, kubeconfig, exercised)


@contextlib.asynccontextmanager
async def connected_as(cluster: Cluster, token: str | None) -> AsyncIterator[Cluster]:
    """Connect to the same cluster as whom a token says; None says nothing of who it is."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    for each in config["users"]:
        each["user"] = {"token": token} if token else {}
    with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
        yaml.safe_dump(config, file)
        file.flush()
        other = connected(Path(file.name), cluster.namespace, cluster.exercised)
    async with other.http:
        yield other

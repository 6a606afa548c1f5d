"""The cluster's objects by list and watch."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx2
import orjson

from aegis.ai_engine.ports import ObjectChange
from aegis.clients.api_server import FORBIDDEN, SupportedServer, no_answer, told, wait_of
from aegis.kit.clock import Clock
from aegis.kit.errors import NotFoundError, TemporaryError

log = logging.getLogger(__name__)

# In the order in which they make sense: owners before what they own, objects before events about them.
PATHS: Mapping[str, str] = {
    "namespaces": "/api/v1/namespaces",
    "nodes": "/api/v1/nodes",
    "cronjobs": "/apis/batch/v1/cronjobs",
    "jobs": "/apis/batch/v1/jobs",
    "deployments": "/apis/apps/v1/deployments",
    "statefulsets": "/apis/apps/v1/statefulsets",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "replicasets": "/apis/apps/v1/replicasets",
    "services": "/api/v1/services",
    "pods": "/api/v1/pods",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "horizontalpodautoscalers": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "poddisruptionbudgets": "/apis/policy/v1/poddisruptionbudgets",
    "events": "/api/v1/events",
}
# Without these nothing can be said; the others may be missing, forbidden or not served.
NEEDED = frozenset({"nodes", "deployments", "replicasets", "statefulsets", "pods"})
PAGE = 500
_LONGEST_BACK_OFF = timedelta(seconds=30)
_FIRST_BACK_OFF = timedelta(seconds=1)
_REFUSED_BACK_OFF = timedelta(minutes=1)
_GONE = 410
_NOT_FOR_US = (FORBIDDEN, 404)
_SHORT = timedelta(seconds=1)
"""A watch that ends sooner was hardly one."""
SERVER = "API server"
"""Among the troubles: with the server itself, before anything is watched."""


class _WatchExpiredError(Exception):
    """What we knew is too old for the server to go on from: list again."""


class _RefusedError(Exception):
    """Not allowed, or not served here."""


class _Trouble:
    """Why something cannot be done just now, and for how long to leave it: longer each time, up to half a minute."""

    def __init__(self, doing: str) -> None:
        self.why = ""
        self._doing = doing
        self._failures = 0

    async def meeting(self, work: Awaitable[None]) -> timedelta:
        """Work, and return how long to wait before trying again: nothing where nothing went wrong."""
        try:
            await work
        except _RefusedError as error:
            return self._met(str(error), _REFUSED_BACK_OFF)
        except TemporaryError as error:
            return self._met(str(error), timedelta(seconds=error.retry_after_s))
        except (httpx2.HTTPError, OSError) as error:
            return self._met(no_answer(error), timedelta())
        return timedelta()

    def over(self) -> None:
        if self.why:
            log.info("can %s again", self._doing)
        self.why, self._failures = "", 0

    def _met(self, why: str, at_least: timedelta) -> timedelta:
        if not self.why:
            log.warning("cannot %s: %s", self._doing, why)
        self.why = why
        self._failures += 1
        return max(_growing(self._failures), at_least)


class _Watch:
    """One resource: a list, then changes, for ever."""

    def __init__(self, resource: str, http: httpx2.AsyncClient, clock: Clock, timeout: timedelta) -> None:
        self.resource = resource
        self.trouble = _Trouble(f"watch {resource}")
        self.is_listed = False
        self.is_connected = False
        self.last_heard: datetime | None = None
        self.changes: list[ObjectChange] = []
        self._http = http
        self._clock = clock
        self._timeout = timeout
        self._known: dict[str, Mapping[str, Any]] = {}
        self._version = ""
        self._short_ones = 0
        self._heard_at = 0.0

    async def run(self) -> None:
        while True:
            begun = self._clock.now()
            wait = await self.trouble.meeting(self._list_and_follow())
            self._note_disconnected()
            wait = wait or self._rest(lasted=self._clock.now() - begun)
            if wait:
                await self._clock.sleep(wait)

    async def _list_and_follow(self) -> None:
        try:
            if not self._version:
                await self._list()
            await self._follow()
        except _WatchExpiredError:
            self._version = ""

    def _rest(self, *, lasted: timedelta) -> timedelta:
        """Go on at once after a watch that has ended, unless each one ends as soon as it has begun."""
        self._short_ones = self._short_ones + 1 if lasted < _SHORT else 0
        return _growing(self._short_ones - 1) if self._short_ones > 1 else timedelta()

    def as_of(self, now: datetime) -> datetime | None:
        """Return how old what is known may be: a connection that died silently looks like a quiet cluster."""
        if not self.is_connected:
            return self.last_heard
        return now - timedelta(seconds=time.monotonic() - self._heard_at)

    def _note_disconnected(self) -> None:
        if self.is_connected:
            self.is_connected = False
            self.last_heard = self._clock.now()

    def _heard(self) -> None:
        self.trouble.over()
        self.is_connected, self.last_heard = True, self._clock.now()
        self._heard_at = time.monotonic()

    async def _list(self) -> None:
        params: dict[str, Any] = {"limit": PAGE}
        found: dict[str, Mapping[str, Any]] = {}
        while True:
            page = await _get(self._http, PATHS[self.resource], params)
            with _readable():
                found |= {item["metadata"]["uid"]: item for item in page.get("items") or []}
            if not (more := page["metadata"].get("continue")):
                break
            params["continue"] = more
        now = self._clock.now()
        for uid, reference in self._known.items():
            if uid not in found:
                self.changes.append(ObjectChange(self.resource, reference, now, deleted=True))
        self.changes.extend(ObjectChange(self.resource, item, now) for item in found.values())
        self._known = {uid: _reference(item) for uid, item in found.items()}
        self._version = page["metadata"].get("resourceVersion") or ""
        self.is_listed = True
        self._heard()

    async def _follow(self) -> None:
        params = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(self._timeout.total_seconds())),
        }
        async with self._http.stream("GET", PATHS[self.resource], params=params) as response:
            if not response.is_success:
                await response.aread()
                raise _error_of(response)
            self._heard()
            async for line in response.aiter_lines():
                if line:
                    with _readable():
                        self._take(orjson.loads(line))

    def _take(self, event: Mapping[str, Any]) -> None:
        item = event["object"]
        if event["type"] == "ERROR":
            if item.get("code") == _GONE:
                raise _WatchExpiredError
            raise TemporaryError(f"the watch ended: {item.get('message', 'unknown')}")
        self._heard()
        self._version = item["metadata"].get("resourceVersion") or self._version
        if event["type"] == "BOOKMARK":
            return
        deleted = event["type"] == "DELETED"
        uid = item["metadata"]["uid"]
        if deleted:
            self._known.pop(uid, None)
        else:
            self._known[uid] = _reference(item)
        self.changes.append(ObjectChange(self.resource, item, self._clock.now(), deleted=deleted))


class KubernetesSource:
    """Implements the port `ClusterSource`. `start` it, and take what it has collected."""

    def __init__(self, http: httpx2.AsyncClient, clock: Clock, *, watch_timeout: timedelta) -> None:
        self._http = http
        self._clock = clock
        self._server = SupportedServer(http.get)
        self._trouble = _Trouble("read the cluster")
        self._is_open = asyncio.Event()
        self._watches = [_Watch(resource, http, clock, watch_timeout) for resource in PATHS]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._open(), name="ask for the server's version"),
            *(asyncio.create_task(self._watch(one), name=f"watch {one.resource}") for one in self._watches),
        ]

    async def _open(self) -> None:
        """Let the watches begin once the server is known to be one that Aegis is made for."""
        while wait := await self._trouble.meeting(self._server.refuse_older()):
            await self._clock.sleep(wait)
        self._trouble.over()
        self._is_open.set()

    async def _watch(self, one: _Watch) -> None:
        await self._is_open.wait()
        await one.run()

    def take_changes(self) -> Sequence[ObjectChange]:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # a defect of ours must not look like a quiet cluster
        if not all(one.is_listed or (one.trouble.why and one.resource not in NEEDED) for one in self._watches):
            return []
        taken = [change for one in self._watches for change in one.changes]
        for one in self._watches:
            one.changes = []
        return taken

    def as_of(self) -> datetime | None:
        needed = [one for one in self._watches if one.resource in NEEDED]
        if not all(one.is_listed for one in needed):
            return None
        now = self._clock.now()
        times = [one.as_of(now) for one in needed]
        return min((one for one in times if one is not None), default=None)

    def troubles(self) -> Mapping[str, str]:
        found = {one.resource: one.trouble.why for one in self._watches if one.trouble.why}
        return {SERVER: self._trouble.why} | found if self._trouble.why else found

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._http.aclose()


def _reference(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is enough to say later that it is gone."""
    meta = item["metadata"]
    return {"metadata": {name: meta[name] for name in ("uid", "name", "namespace") if name in meta}}


async def _get(http: httpx2.AsyncClient, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
    response = await http.get(path, params=dict(params))
    if not response.is_success:
        raise _error_of(response)
    with _readable():
        answer: dict[str, Any] = orjson.loads(response.content)
        answer["metadata"].get("continue")
    return answer


def _error_of(response: httpx2.Response) -> Exception:
    code = response.status_code
    if code == _GONE:
        return _WatchExpiredError()
    text = told(response)
    if code == FORBIDDEN and "aegis rbac" not in text:
        text = f"{text}; `aegis rbac` prints the rules that the AI Engine needs"
    if code in _NOT_FOR_US:
        return _RefusedError(text)
    return TemporaryError(text, retry_after_s=wait_of(response).total_seconds())


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Take what is no answer of an API server (a proxy's page, half a line) for none.

    Raises:
        TemporaryError: it makes no sense.
    """
    try:
        yield
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise TemporaryError(f"the API server's answer cannot be read: {type(error).__name__} {error}") from error


def _growing(times: int) -> timedelta:
    wait: timedelta = min(_FIRST_BACK_OFF * (1 << min(times - 1, 10)), _LONGEST_BACK_OFF)
    return wait


async def pod_metrics(http: httpx2.AsyncClient) -> AsyncIterator[Mapping[str, Any]]:
    """Yield what metrics-server knows of pods.

    Raises:
        NotFoundError: there is no metrics-server here.
        TemporaryError: it does not answer now.
    """
    try:
        page = await _get(http, "/apis/metrics.k8s.io/v1beta1/pods", {})
    except _RefusedError as error:
        raise NotFoundError(
            f"there is no metrics-server to read: {error}", hint="Install one, or name a Prometheus instead."
        ) from error
    except (_WatchExpiredError, httpx2.HTTPError, OSError) as error:
        raise TemporaryError(f"metrics-server does not answer: {type(error).__name__} {error}") from error
    for item in page.get("items") or []:
        yield item

"""The API server: an ASGI app that authenticates, authorizes, answers and writes down every request."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import orjson

from aegis.simulator.kubernetes import metrics, openapi, reading, reviews, subresources, writing
from aegis.simulator.kubernetes.bootstrap import bootstrap
from aegis.simulator.kubernetes.discovery import AGGREGATED, aggregated, etag, legacy
from aegis.simulator.kubernetes.errors import ApiError, method_not_allowed
from aegis.simulator.kubernetes.metrics import UsageSource
from aegis.simulator.kubernetes.rbac import Attributes, is_cluster_admin, refuse_unless_allowed
from aegis.simulator.kubernetes.recordings import recorded_json
from aegis.simulator.kubernetes.request_log import RequestLog
from aegis.simulator.kubernetes.requests import JSON, TEXT, Answer, Request, Stream, Target, answer, target_of
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.subresources import LogSource
from aegis.simulator.kubernetes.users import User, Users
from aegis.simulator.kubernetes.validation import refuse_unknown_dry_run
from aegis.simulator.kubernetes.watching import Watch
from aegis.simulator.kubernetes.weather import Weather

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)

_HEALTH = ("/healthz", "/livez", "/readyz")
_NOT_FOUND = Answer(b"404 page not found\n", 404, TEXT)
_STREAMING = ("exec", "attach", "portforward", "proxy")


def create_app(
    store: Store,
    *,
    runtime: LogSource | None = None,
    users: Users | None = None,
    usage: UsageSource | None = None,
    weather: Weather | None = None,
) -> "ApiServer":
    """Return an API server for `store`, which gets the namespaces and roles every cluster has."""
    bootstrap(store)
    return ApiServer(store, runtime=runtime, users=users or Users(), usage=usage, weather=weather or Weather())


class ApiServer:
    """The ASGI app. `requests`, `users`, `weather` and `version` are there for whoever runs the cluster."""

    def __init__(
        self,
        store: Store,
        *,
        runtime: LogSource | None,
        users: Users,
        usage: UsageSource | None,
        weather: Weather,
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.users = users
        self.usage = usage
        self.weather = weather
        self.requests = RequestLog()
        self.version: Mapping[str, str] = recorded_json("version.json")
        """What `GET /version` is answered with."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await _refuse_websocket(receive, send)
            case _:
                await _live(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _read(scope, receive)
        given = await self._respond(request)
        if isinstance(given, Answer):
            await _send_whole(given, send)
        else:
            await _send_stream(given, receive, send)

    async def _respond(self, request: Request) -> Answer | Stream:
        """Answer whatever happens, and write it down."""
        try:
            request = replace(request, user=self._authenticate(request))
            given = await self._answer(request)
        except ApiError as refusal:
            given = Answer(orjson.dumps(refusal.status()), refusal.code, headers=tuple(refusal.headers.items()))
        except Exception:  # noqa: BLE001 - a bug here is a 500 there, as on any server
            _log.exception("the simulated API server failed at %s %s", request.method, request.path)
            failure = ApiError(500, "InternalError", "the simulated API server failed; its log says why")
            given = Answer(orjson.dumps(failure.status()), 500)
        if request.target is not None:
            self.requests.record(request, at=self.store.clock.now(), code=given.code, dry_run=_is_dry_run(request))
        return given

    def _authenticate(self, request: Request) -> User:
        """Return who asks, or whom they impersonate if they may."""
        user = self.users.who_is(request.headers.get("authorization", ""))
        impersonated = request.headers.get("impersonate-user")
        if not impersonated:
            return user
        refuse_unless_allowed(self.store, user, Attributes("impersonate", resource="users", name=impersonated))
        groups = request.headers.get("impersonate-group", "")
        return User(impersonated, (*filter(None, groups.split(",")), "system:authenticated"))

    async def _answer(self, request: Request) -> Answer | Stream:
        if request.path in _HEALTH:
            return Answer(b"ok", content_type=TEXT)
        if request.path == "/debug/requests":
            return self._debug_requests(request)
        refuse_unless_allowed(self.store, request.user, request.attributes)
        await self.weather.pass_over(self.store.clock, self.store.rng)
        if request.target is None:
            return answer(dict(self.version)) if request.path.rstrip("/") == "/version" else _static(request)
        return self._answer_resource(request, request.target)

    def _debug_requests(self, request: Request) -> Answer:
        if not is_cluster_admin(request.user):
            raise ApiError(403, "Forbidden", f'User "{request.user.name}" cannot read the request log')
        return answer({"requests": [each.as_json() for each in self.requests]})

    def _answer_resource(self, request: Request, target: Target) -> Answer | Stream:
        if target.resource.group == metrics.GROUP:
            return metrics.measure(self.store, request, target, self.usage)
        refuse_unknown_dry_run(request.verb, request.query.get("dryRun", ""))
        reviewed = reviews.review(target.resource.kind, self.store, request, self.users)
        if reviewed is not None:
            return reviewed
        if target.subresource not in ("", "status", "ephemeralcontainers", "finalize"):
            return self._answer_subresource(request, target)
        handle = _HANDLERS.get((request.verb, bool(target.name)))
        if request.verb == "watch":
            return self._watch(request, target)
        if handle is None or (target.subresource and request.verb not in ("get", "update", "patch")):
            raise method_not_allowed()
        return handle(self.store, request, target)

    def _watch(self, request: Request, target: Target) -> Stream:
        if self.weather.watches_refused:
            raise ApiError(503, "ServiceUnavailable", "the server is currently unable to serve watches")
        reading.predicate(request, target)  # a selector that cannot be read is a 400, not a broken stream
        return Stream(Watch(self.store, request, target, self.weather).events())

    def _answer_subresource(self, request: Request, target: Target) -> Answer | Stream:
        match (target.subresource, request.method):
            case ("scale", _):
                return subresources.scale(self.store, request, target)
            case ("eviction", "POST"):
                return subresources.evict(self.store, request, target)
            case ("binding", "POST"):
                return subresources.bind(self.store, request, target)
            case ("log", "GET"):
                return subresources.log(self.store, request, target, self.runtime)
            case ("token", "POST"):
                return subresources.token(self.store, request, target, self.users)
            case (name, _) if name in _STREAMING:
                subresources.refuse_streaming(self.store, target)
            case _:
                pass
        raise method_not_allowed()


_HANDLERS: dict[tuple[str, bool], Callable[[Store, Request, Target], Answer]] = {
    ("get", True): reading.get,
    ("list", False): reading.list_objects,
    ("create", False): writing.create,
    ("update", True): writing.update,
    ("patch", True): writing.patch,
    ("delete", True): writing.delete,
    ("deletecollection", False): writing.delete_collection,
}


def _static(request: Request) -> Answer:
    """Answer what does not depend on the cluster: discovery, OpenAPI."""
    path = request.path.rstrip("/")
    if path in ("/api", "/apis") and "as=APIGroupDiscoveryList" in request.headers.get("accept", ""):
        return _cached(request, aggregated(path), AGGREGATED)
    if path in legacy():
        return Answer(legacy()[path])
    if path == "/openapi/v3":
        return _cached(request, openapi.index(), JSON)
    if path.startswith("/openapi/v3/"):
        document = openapi.document(path.removeprefix("/openapi/v3/"))
        if document is not None:
            return _cached(request, document, JSON)
    return _NOT_FOUND


def _cached(request: Request, content: bytes, content_type: str) -> Answer:
    tag = etag(content)
    headers = (("etag", tag), ("vary", "Accept"), ("cache-control", "public"))
    if request.headers.get("if-none-match") == tag:
        return Answer(b"", 304, content_type, headers)
    return Answer(content, 200, content_type, headers)


def _is_dry_run(request: Request) -> bool:
    with contextlib.suppress(ApiError):
        return request.is_dry_run
    return False


# ASGI


async def _read(scope: Scope, receive: Receive) -> Request:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    path = str(scope["path"])
    nobody = User("")
    return Request(scope["method"], path, query, headers, body, user=nobody, target=target_of(path))


async def _send_whole(given: Answer, send: Send) -> None:
    await _start(given.code, given.content_type, given.headers, send, length=len(given.body))
    await send({"type": "http.response.body", "body": given.body})


async def _start(
    code: int, content_type: str, headers: tuple[tuple[str, str], ...], send: Send, *, length: int | None
) -> None:
    size = [] if length is None else [("content-length", str(length))]
    pairs = [("content-type", content_type), ("cache-control", "no-cache, private"), *size]
    chosen = {name: value for name, value in [*pairs, *headers] if name != "warning"}
    warnings = [(name, value) for name, value in headers if name == "warning"]
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in [*chosen.items(), *warnings]]
    await send({"type": "http.response.start", "status": code, "headers": raw})


async def _send_stream(stream: Stream, receive: Receive, send: Send) -> None:
    """Send until there is no more, or the client hangs up."""
    await _start(stream.code, stream.content_type, (), send, length=None)
    sending = asyncio.create_task(_send_chunks(stream, send))
    leaving = asyncio.create_task(_client_leaves(receive))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send_chunks(stream: Stream, send: Send) -> None:
    async with contextlib.aclosing(stream.chunks) as chunks:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

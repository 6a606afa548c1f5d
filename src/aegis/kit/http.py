"""What every service's HTTP has in common: problem details, health, metrics; and a client that knows them."""

import json
import logging
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from aegis.kit.errors import (
    AegisError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TemporaryError,
    TooManyError,
    UnauthenticatedError,
    UpstreamError,
)
from aegis.kit.mistakes import mistake_of, path_of

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "What is wrong with the request (RFC 9457): which field, which value, and what to do",
        "content": {
            PROBLEM: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string", "examples": ["urn:aegis:problem:invalid"]},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "hint": {"type": "string"},
                        "errors": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {"field": {"type": "string"}, "value": {}, "message": {"type": "string"}},
                            },
                        },
                    },
                }
            }
        },
    },
}
"""What every operation may answer besides success, for an app's OpenAPI."""
PROCESS_HEADER = "Aegis-Process"
"""Says which process answers, so that whoever started one is not taken in by another on its port."""
SHOWN_MAX = 200
SAID_MAX = 5
"""How many mistakes stand in the sentence; all of them are listed."""
HIDDEN = "(hidden)"
_SECRETS = ("password", "token", "secret", "signature")
_BY_STATUS: dict[int, type[AegisError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidError,
    422: InvalidError,
    429: TooManyError,
}


def this_process() -> list[tuple[str, str]]:
    """Return the headers that a server of ours sends with every answer."""
    return [(PROCESS_HEADER, str(os.getpid()))]


def part(kind: type[Any]) -> Any:
    """Return a dependency: what the app that answers was given of this kind.

    So operations are made once, and not for every app: that takes as long as all else of a service's start.
    """

    async def given(request: Request) -> Any:
        return request.app.state.parts[kind]

    return Depends(given)


def add_routes(app: FastAPI, routers: Iterable[APIRouter], parts: Mapping[type[Any], object]) -> None:
    """Let an app answer as these routers do, with its own parts. Unlike `include_router`, this makes nothing anew."""
    app.state.parts = parts
    for router in routers:
        app.router.routes.extend(router.routes)


def add_problem_details(app: FastAPI) -> None:
    """Answer every error as RFC 9457 says, naming field and value where one is to blame."""

    @app.exception_handler(AegisError)
    async def _aegis(_: Request, error: AegisError) -> Response:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return _problem_of_validation(error.errors())

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        hint = "/openapi.json lists every path, its methods and the shape of its bodies."
        extra: dict[str, Any] = {}
        if error.status_code == HTTPStatus.BAD_REQUEST:  # the one that the framework raises: a body it cannot read
            message = "is not JSON in UTF-8, or holds too long a number or too many brackets"
            extra = {"errors": [{"field": "body", "value": None, "message": message}]}
        detail = f"body {message}" if extra else str(error.detail)
        code = HTTPStatus(error.status_code).name.lower()
        return _answer(error.status_code, code, detail, headers=dict(error.headers or {}), hint=hint, **extra)

    @app.exception_handler(Exception)
    async def _surprise(request: Request, error: Exception) -> Response:
        log.error("unexpected error on %s %s", request.method, request.url.path, exc_info=error)
        return _answer(500, "internal", "Something went wrong here; the log of this service says what.")


def problem(error: AegisError) -> Response:
    """Return an error as problem details."""
    extra: dict[str, Any] = {}
    if error.hint:
        extra["hint"] = error.hint
    if error.mistakes:
        extra["errors"] = [
            {"field": one.field, "value": _shown(one.value), "message": one.message} for one in error.mistakes
        ]
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(error.status, error.code, error.message, headers=headers, **extra)


def _problem_of_validation(errors: Sequence[Any]) -> Response:
    named = [_named(error) for error in errors]
    detail = "; ".join(_sentence(one) for one in named[:SAID_MAX])
    hint = "Correct the named fields and send it again; /openapi.json has their shapes."
    return _answer(422, "invalid", detail, errors=named, hint=hint)


def _named(error: Any) -> dict[str, Any]:
    """Return field, value and what is wrong; never a value that is secret."""
    mistake = mistake_of(error)
    if error["type"] == "json_invalid":  # its location is a place in the text, not a field
        field, message = "body", f"{mistake.message}, at character {error['loc'][-1]}"
    else:
        field, message = path_of(part for part in mistake.location if part != "body") or "body", mistake.message
    is_secret = mistake.value is not None and any(word in field.lower() for word in _SECRETS)
    return {"field": field, "value": HIDDEN if is_secret else _shown(mistake.value), "message": message}


def _sentence(named: Mapping[str, Any]) -> str:
    got = f" (got {named['value']!r})" if named["value"] is not None else ""
    return f"{named['field']} {named['message']}{got}"


def _shown(value: Any) -> Any:
    """Return a value as JSON can say it, and not too much of it; of an object its keys, as values may be secret."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        value = f"an object with {', '.join(map(str, value))}" if value else "an empty object"
    elif isinstance(value, list | tuple):
        value = f"a list of {len(value)}"
    elif isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(value)[:SHOWN_MAX]


def _answer(status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any) -> Response:
    body = {"type": f"urn:aegis:problem:{code}", "title": code.replace("_", " "), "status": status}
    # Plain ASCII: what is wrong with a text may be that it is not Unicode.
    content = json.dumps(body | {"detail": detail} | extra).encode()
    return Response(content, status, headers or {}, PROBLEM)


def add_operations(app: FastAPI, *, registry: CollectorRegistry, unready: Callable[[], Awaitable[str | None]]) -> None:
    """Add `/health` (the process lives), `/ready` (it can do its work; else 503 and why) and `/metrics`."""

    @app.get("/health", tags=["operations"])
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", tags=["operations"], responses={503: {"description": "Not ready, and why"}})
    async def ready() -> dict[str, str]:
        reason = await unready()
        if reason is not None:
            raise TemporaryError(reason)
        return {"status": "ready"}

    @app.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def ask(
    http: httpx.AsyncClient, method: str, path: str, *, body: bytes | None = None, **options: Any
) -> httpx.Response:
    """Send a request; return the answer if it is a success, else raise what its problem details mean.

    Raises:
        TemporaryError: no answer, 5xx, or 429 with Retry-After: worth another try. So is an answer without problem
            details: not the service gave it, but something in between.
        AegisError: the kind that the status stands for, with the message and hint of the answer.
    """
    if body is not None:
        options.setdefault("headers", {})["Content-Type"] = "application/json"
    try:
        response = await http.request(method, path, content=body, **options)
    except httpx.TransportError as error:
        raise TemporaryError(f"no answer from {http.base_url}: {type(error).__name__} {error}") from error
    if response.is_success:
        return response
    raise _error_of(response)


def _error_of(response: httpx.Response) -> AegisError:
    try:
        said = response.json()
    except ValueError:
        said = None
    body = said if isinstance(said, dict) else {}
    detail = str(body.get("detail") or f"{response.status_code} from {response.url.path}")
    hint = str(body.get("hint") or "")
    is_ours = response.headers.get("Content-Type", "").startswith(PROBLEM)
    if response.status_code >= 500 or response.status_code == 429 or not is_ours:  # noqa: PLR2004
        wait = response.headers.get("Retry-After", "1")
        return TemporaryError(detail, hint=hint, retry_after_s=float(wait) if wait.isdigit() else 1.0)
    kind = _BY_STATUS.get(response.status_code, UpstreamError)
    return kind(detail, hint=hint)

"""What every service's HTTP has in common: problem details, health, metrics; and a client that knows them."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
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

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
_BY_STATUS: dict[int, type[AegisError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
    429: TooManyError,
}


def add_problem_details(app: FastAPI) -> None:
    """Answer every error as RFC 9457 says, naming field and value where one is to blame."""

    @app.exception_handler(AegisError)
    async def _aegis(_: Request, error: AegisError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _problem_of_validation(error.errors())

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return _answer(error.status_code, "http", str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _surprise(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected error on %s %s", request.method, request.url.path, exc_info=error)
        return _answer(500, "internal", "Something went wrong here; the log of this service says what.")


def problem(error: AegisError) -> JSONResponse:
    """Return an error as problem details."""
    extra: dict[str, Any] = {}
    if error.hint:
        extra["hint"] = error.hint
    if error.field:
        extra["errors"] = [{"field": error.field, "value": error.value, "message": error.message}]
    headers = {}
    if isinstance(error, TemporaryError):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return _answer(error.status, error.code, error.message, headers=headers, **extra)


def _problem_of_validation(errors: Any) -> JSONResponse:
    named = [
        {
            "field": ".".join(str(part) for part in error["loc"] if part != "body") or "body",
            "value": _shown(error.get("input")),
            "message": error["msg"],
        }
        for error in errors
    ]
    first = named[0]
    detail = f"{first['field']}: {first['message']} (got {first['value']!r})"
    hint = "Correct the named fields and send it again; /openapi.json has their shapes."
    return _answer(422, "invalid", detail, errors=named, hint=hint)


def _shown(value: Any) -> Any:
    text = value if isinstance(value, str | int | float | bool | None) else repr(value)
    return text[:200] if isinstance(text, str) else text


def _answer(
    status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any
) -> JSONResponse:
    body = {"type": f"urn:aegis:problem:{code}", "title": code.replace("_", " "), "status": status}
    return JSONResponse(body | {"detail": detail} | extra, status, headers or {}, PROBLEM)


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
        TemporaryError: no answer, 5xx, or 429 with Retry-After: worth another try.
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
        body = response.json()
    except ValueError:
        body = {}
    detail = str(body.get("detail") or f"{response.status_code} from {response.url.path}")
    hint = str(body.get("hint") or "")
    if response.status_code >= 500 or response.status_code == 429:  # noqa: PLR2004
        wait = response.headers.get("Retry-After", "1")
        return TemporaryError(detail, hint=hint, retry_after_s=float(wait) if wait.isdigit() else 1.0)
    kind = _BY_STATUS.get(response.status_code, UpstreamError)
    return kind(detail, hint=hint)

"""The real adapter: plain requests over one connection."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx2

from aegis.clients.api_server import SupportedServer, body_of, message_of, no_answer, told, wait_of
from aegis.executor.cluster.paths import path_of
from aegis.executor.ports import FIELD_MANAGER, ExactRequest, Object, WriteRefusedError
from aegis.kit.clock import Clock
from aegis.kit.errors import TemporaryError
from aegis.kit.selectors import Selector, selector_text

PAGE = 500
LONGEST_WAIT = timedelta(seconds=30)
"""However long the API server wants to be left alone."""
_NOT_FOUND, _TOO_MANY, _SERVER_ERROR, _UNAVAILABLE = 404, 429, 500, 503
_UNUSABLE = (401, 403)


class KubernetesCluster:
    """Refuses every request to a server that is too old, or that wants to be left alone for now."""

    def __init__(self, http: httpx2.AsyncClient, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._server = SupportedServer(partial(self._request, "GET"))
        self._left_alone_until: datetime | None = None

    async def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        response = await self._ask("GET", path_of(api_version, kind, namespace, name))
        if response.status_code == _NOT_FOUND:
            return None
        return _read(response)

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: Selector | None = None
    ) -> list[Object]:
        params: dict[str, Any] = {"limit": PAGE}
        if selector:
            params["labelSelector"] = selector_text(selector)
        found: list[Object] = []
        while True:
            page = _read(await self._ask("GET", path_of(api_version, kind, namespace), params=params))
            # Items of a list leave out what the list says once.
            found += [{"apiVersion": api_version, "kind": kind, **item} for item in page.get("items") or []]
            if not (more := page["metadata"].get("continue")):
                return found
            params["continue"] = more

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        params = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        response = await self._ask(
            request.method,
            request.path,
            params=params,
            content=request.body,
            headers={"Content-Type": request.content_type},
        )
        if response.is_success:
            return body_of(response)
        code = response.status_code
        if code >= _SERVER_ERROR or (code == _TOO_MANY and not _is_budgets_no(response)):
            # Never sent again from here: whoever asked looks first whether it was done.
            raise _temporary(response)
        reason = str(body_of(response).get("reason", ""))
        raise WriteRefusedError(code, reason, message_of(response) or f"HTTP {code}")

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        await self._server.refuse_older()
        return await self._request(method, path, **options)

    async def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        self._refuse_while_left_alone()
        try:
            response = await self._http.request(method, path, **options)
        except (httpx2.HTTPError, OSError) as error:
            raise TemporaryError(no_answer(error)) from error
        if _wants_to_be_left_alone(response):
            self._left_alone_until = self._clock.now() + wait_of(response, longest=LONGEST_WAIT)
        return response

    def _refuse_while_left_alone(self) -> None:
        """Raise TemporaryError until the time is over that the API server asked for."""
        if self._left_alone_until is None:
            return
        left = self._left_alone_until - self._clock.now()
        # A clock that has gone back would make it last until it has caught up.
        if timedelta() < left <= LONGEST_WAIT:
            seconds = left.total_seconds()
            raise TemporaryError(f"the API server wants to be left alone for {seconds:.0f} s", retry_after_s=seconds)
        self._left_alone_until = None


def _wants_to_be_left_alone(response: httpx2.Response) -> bool:
    is_busy = response.status_code in (_TOO_MANY, _UNAVAILABLE) and "Retry-After" in response.headers
    return is_busy and not _is_budgets_no(response)


def _is_budgets_no(response: httpx2.Response) -> bool:
    """Whether it is a PodDisruptionBudget that says no: to this eviction, whatever the server has to do."""
    if response.status_code != _TOO_MANY:
        return False
    causes = (body_of(response).get("details") or {}).get("causes") or []
    return any(cause.get("reason") == "DisruptionBudget" for cause in causes)


def _read(response: httpx2.Response) -> Object:
    if not response.is_success:
        raise _temporary(response)
    answer = body_of(response)
    if not isinstance(answer.get("metadata"), dict):
        # Such as the page of a proxy that wants somebody to log in.
        raise TemporaryError(f"the API server's answer cannot be read: {response.text[:200]}")
    return answer


def _temporary(response: httpx2.Response) -> TemporaryError:
    hint = "`aegis rbac` prints the rules that the Executor needs." if response.status_code in _UNUSABLE else ""
    wait = wait_of(response, longest=LONGEST_WAIT)
    return TemporaryError(told(response), hint=hint, retry_after_s=wait.total_seconds())

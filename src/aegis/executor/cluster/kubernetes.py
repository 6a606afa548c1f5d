"""The real adapter: plain requests over one connection."""

from typing import Any

import httpx2
import orjson

from aegis.executor.cluster.paths import path_of
from aegis.executor.ports import FIELD_MANAGER, ExactRequest, Object, WriteRefusedError
from aegis.kit.errors import TemporaryError
from aegis.kit.selectors import Selector, selector_text

PAGE = 500
_NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 404, 429, 500
_UNUSABLE = (401, 403)


class KubernetesCluster:
    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

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
            found += [{"apiVersion": api_version, "kind": kind, **item} for item in page["items"]]
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
            return _json(response)
        status = _json(response)
        code = response.status_code
        if code >= _SERVER_ERROR or (code == _TOO_MANY and not request.path.endswith("/eviction")):
            raise TemporaryError(f"the API server answered {code}: {status.get('message', '')}")
        raise WriteRefusedError(code, str(status.get("reason", "")), str(status.get("message", f"HTTP {code}")))

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            return await self._http.request(method, path, **options)
        except (httpx2.TransportError, OSError) as error:
            raise TemporaryError(f"the API server does not answer: {type(error).__name__} {error}") from error


def _read(response: httpx2.Response) -> Object:
    if response.is_success:
        return _json(response)
    message = str(_json(response).get("message", f"HTTP {response.status_code}"))
    hint = "`aegis rbac` prints the rules that the Executor needs." if response.status_code in _UNUSABLE else ""
    raise TemporaryError(f"the API server answered {response.status_code}: {message}", hint=hint)


def _json(response: httpx2.Response) -> Object:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {"message": response.text[:200]}
    return answer if isinstance(answer, dict) else {"message": str(answer)[:200]}

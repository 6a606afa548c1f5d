"""The Backend's public API, as the commands call it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import orjson

from aegis.cli.files import told
from aegis.cli.settings import CliSettings
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

_KINDS: dict[int, type[AegisError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
    429: TooManyError,
}
_SERVER_ERROR = 500
_LINES = "application/x-ndjson"
_RIGHT_ADDRESS = "Is that the Backend's address and port? `aegis login URL` remembers another, AEGIS_URL names one."


@dataclass(frozen=True)
class Session:
    """Where the Backend is, and who we are to it."""

    url: str
    token: str


class Api:
    def __init__(self, session: Session) -> None:
        headers = {"Authorization": f"Bearer {session.token}"} if session.token else {}
        try:
            self._http = httpx.Client(base_url=session.url, headers=headers, timeout=30)
        except httpx.InvalidURL as error:
            raise _no_address(session.url, error) from error
        self.url = session.url

    def get(self, path: str, **params: Any) -> Any:
        return self._ask("GET", path, params={key: value for key, value in params.items() if value is not None})

    def post(self, path: str, body: Any = None) -> Any:
        return self._ask("POST", path, json=body if body is not None else {})

    def put(self, path: str, body: Any) -> Any:
        return self._ask("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self._ask("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def lines(self, path: str) -> Iterator[bytes]:
        """Yield a long answer line by line."""
        with self._translated(), self._http.stream("GET", path) as response:
            if not response.is_success:
                response.read()
                raise _error(response)
            if not response.headers.get("Content-Type", "").startswith(_LINES):
                raise _no_backend(response)
            for line in response.iter_lines():
                yield line.encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._translated():
            response = self._http.request(method, path, **options)
        if not response.is_success:
            raise _error(response)
        return _document(response) if response.content else None

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise _no_address(self.url, error) from error
        except httpx.TransportError as error:
            raise TemporaryError(
                f"no answer from {self.url}: {error}", hint="Is it running? `aegis up` starts one here."
            ) from error


def connect() -> Api:
    """Return the API as whoever `aegis login` (or the environment) says."""
    settings = CliSettings()
    known = remembered(settings.home)
    url = settings.url or (known.url if known else "")
    token = settings.token or (known.token if known and url == known.url else "")
    if not url:
        raise UnauthenticatedError("which Backend?", hint="`aegis login URL`, or set AEGIS_URL and AEGIS_TOKEN.")
    return Api(Session(url, token))


# One question and the connection for it, as most commands ask.


def get(path: str, **params: Any) -> Any:
    with connect() as api:
        return api.get(path, **params)


def post(path: str, body: Any = None) -> Any:
    with connect() as api:
        return api.post(path, body)


def put(path: str, body: Any) -> Any:
    with connect() as api:
        return api.put(path, body)


def patch(path: str, body: Any) -> Any:
    with connect() as api:
        return api.patch(path, body)


def delete(path: str) -> Any:
    with connect() as api:
        return api.delete(path)


def lines(path: str) -> Iterator[bytes]:
    with connect() as api:
        yield from api.lines(path)


def remembered(home: Path) -> Session | None:
    try:
        return Session(**orjson.loads((home / "session.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def remember(session: Session, home: Path) -> None:
    file = home / "session.json"
    with told(file, "write", "AEGIS_HOME"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(orjson.dumps({"url": session.url, "token": session.token}))


def forget(home: Path) -> None:
    file = home / "session.json"
    with told(file, "remove", "AEGIS_HOME"):
        file.unlink(missing_ok=True)


def log_in(url: str, name: str, password: str) -> Session:
    with Api(Session(url, "")) as api:
        answer = api.post("/api/v1/sessions", {"name": name, "password": password})
    if not isinstance(answer, dict) or "token" not in answer:
        raise UpstreamError(f"what answers at {url} gives no session", field="url", value=url, hint=_RIGHT_ADDRESS)
    return Session(url, answer["token"])


def _no_address(url: str, error: Exception) -> InvalidError:
    return InvalidError(
        f"{url!r} is no address of a Backend: {error}", field="url", value=url, hint="Such as http://127.0.0.1:3000."
    )


def _document(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise _no_backend(response) from error


def _error(response: httpx.Response) -> AegisError:
    """Return what the Backend says is wrong; whoever else answers (a proxy, another service) is told as such."""
    status, said = response.status_code, _problem(response)
    kind = TemporaryError if status >= _SERVER_ERROR else _KINDS.get(status, UpstreamError)
    if "detail" in said:
        return kind(str(said["detail"]), hint=str(said.get("hint") or ""))
    stranger = _no_backend(response)
    return kind(stranger.message, hint=stranger.hint)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _no_backend(response: httpx.Response) -> UpstreamError:
    url, what = str(response.request.url), response.headers.get("Content-Type", "nothing that says what it is")
    return UpstreamError(
        f"no Backend answers at {url}: HTTP {response.status_code} with {what}",
        field="url", value=url, hint=_RIGHT_ADDRESS,
    )  # fmt: skip

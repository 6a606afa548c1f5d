"""What an API server's answers mean to us: its version, its no, and how long it wants to be left alone."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx2
import orjson

from aegis.catalogue.rbac import right_to
from aegis.kit.errors import TemporaryError

OLDEST_SERVER = (1, 28)
NEEDED = f"Kubernetes {OLDEST_SERVER[0]}.{OLDEST_SERVER[1]} or newer"
VERSION = "/version"
FORBIDDEN = 403
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_OLDER_WAIT, _A_MOMENT = timedelta(minutes=1), timedelta(seconds=1)
_LACKS_RIGHT = re.compile(r'cannot \w+ (resource|path) "')
"""What RBAC says; quotas and admission answer 403 too, and no role helps against those."""

Get = Callable[[str], Awaitable[httpx2.Response]]


class OlderServerError(TemporaryError):
    """The API server is older than what Aegis is made for. It may be upgraded."""


class SupportedServer:
    """Asks for the version once; an answer that will do is remembered."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._is_supported = False

    async def refuse_older(self) -> None:
        """Raise OlderServerError, or TemporaryError where the version cannot be learned now."""
        if not self._is_supported:
            supported_version(await self._get(VERSION))
            self._is_supported = True


def supported_version(answer: httpx2.Response) -> str:
    """Return the version that `GET /version` was answered with.

    Raises:
        OlderServerError: it is too old.
        TemporaryError: it is no version.
    """
    if not answer.is_success:
        raise TemporaryError(told(answer), retry_after_s=wait_of(answer).total_seconds())
    said = body_of(answer)
    version = _numbers(said)
    if version is None:
        raise TemporaryError(f"the API server does not say its version: {answer.text[:200]}")
    name = str(said.get("gitVersion") or f"v{version[0]}.{version[1]}")
    if version < OLDEST_SERVER:
        raise OlderServerError(
            f"the API server is Kubernetes {name}, and Aegis needs {NEEDED}",
            hint="Upgrade the cluster; nothing is read or written until then.",
            retry_after_s=_OLDER_WAIT.total_seconds(),
        )
    return name


def no_answer(error: Exception) -> str:
    """Return what to say where there was none."""
    return f"the API server does not answer: {type(error).__name__} {error}".strip()


def told(answer: httpx2.Response) -> str:
    """Return what a no says."""
    code, message = answer.status_code, message_of(answer)
    return f"the API server answered {code}" + (f": {message}" if message else "")


def message_of(answer: httpx2.Response) -> str:
    """Return the words of a no (whom, which verb, resource, namespace), and the rule that gives a missing right."""
    said = str(body_of(answer).get("message") or "")
    if answer.status_code == FORBIDDEN and _LACKS_RIGHT.search(said):
        return f"{said}; {_remedy(answer.request)}"
    return said


def wait_of(answer: httpx2.Response, *, longest: timedelta = timedelta(minutes=5)) -> timedelta:
    """Return for how long the API server wants to be left alone, as far as it may: a moment where it does not say."""
    said = answer.headers.get("Retry-After", "")
    return min(timedelta(seconds=int(said)), longest) if said.isdecimal() else _A_MOMENT


def body_of(answer: httpx2.Response) -> dict[str, Any]:
    """Return an answer's JSON object; of anything else its beginning, as `message`."""
    try:
        said = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        said = None
    return said if isinstance(said, dict) else {"message": answer.text[:200]}


def _remedy(request: httpx2.Request) -> str:
    is_watch = request.url.params.get("watch") == "true"
    right = right_to(request.method, request.url.path, is_watch=is_watch)
    return f"add to the role: {right.rule}; `aegis rbac | kubectl apply -f -` adds all that is needed"


def _numbers(said: Mapping[str, Any]) -> tuple[int, int] | None:
    """Read "1" and "28+" as some clouds write them, or else `v1.28.15-gke.3`.

    >>> _numbers({"major": "1", "minor": "28+"}), _numbers({"gitVersion": "v1.28.15-gke.3"}), _numbers({})
    ((1, 28), (1, 28), None)
    """
    for text in (f"{said.get('major')}.{said.get('minor')}", str(said.get("gitVersion"))):
        found = _VERSION.match(text)
        if found is not None:
            return int(found[1]), int(found[2])
    return None

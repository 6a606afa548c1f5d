"""The connection to an API server, made of a kubeconfig; what is said over it is each service's own."""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import timedelta
from pathlib import Path

import httpx2
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams, ExecAuth
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from aegis.kit.errors import InvalidError

log = logging.getLogger(__name__)

READ_AGAIN_AFTER = timedelta(seconds=5)
"""A token that was refused may have been rotated on disk; it is looked for there no more often than that."""
_UNREADABLE = (
    ConfigError, yaml.YAMLError, httpx2.InvalidURL, OSError, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip
"""What comes of reading a file that is missing, or holds something else."""
_CONNECT_TIMEOUT = timedelta(seconds=10)
_UNAUTHENTICATED = 401


def connect(
    kubeconfig: str = "", *, read_timeout: timedelta = timedelta(seconds=10), service_account: str = SERVICE_ACCOUNT
) -> httpx2.AsyncClient:
    """Return a connection from a kubeconfig file, or from the pod's service account.

    Its token is read again when the API server refuses it.

    Raises:
        InvalidError: there is no such file, or it is not one.
    """

    def read() -> SingleConfig:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account(service_account)
        found = config.get()
        if found is None or found.user is None:
            raise ConfigError("its current context names no user")
        return found

    try:
        first = read()
        timeout = httpx2.Timeout(_CONNECT_TIMEOUT.total_seconds(), read=read_timeout.total_seconds())
        client: httpx2.AsyncClient = AsyncClient(first, ConnectionParams(timeout=timeout))
        if _token_of(first):
            client.auth = TokenOnDisk(lambda: _token_for(first, read()))
        elif first.user is not None and first.user.exec is not None:
            client.auth = _Plugin(first.user.exec)
    except _UNREADABLE as error:
        where = kubeconfig or "the pod's service account"
        raise InvalidError(
            f"cannot read {where} as a kubeconfig: {error}",
            field="AEGIS_KUBECONFIG",
            value=kubeconfig,
            hint="`kubectl --kubeconfig FILE get namespaces` should work with the same file.",
        ) from error
    return client


class TokenOnDisk(httpx2.Auth):
    """Sends the token that a file holds, and after a 401 the one that it holds by then, if it is another."""

    def __init__(self, read: Callable[[], str], *, passed: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._passed = passed
        self._token = read()
        self._read_at: float | None = None

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        sent = self._token
        request.headers["Authorization"] = f"Bearer {sent}"
        response = yield request
        if response.status_code == _UNAUTHENTICATED and self._is_another(sent):
            # Whoever is not known has done nothing: this is no second write.
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _is_another(self, sent: str) -> bool:
        if self._token == sent and self._may_read():
            self._read_at = self._passed()
            try:
                self._token = self._read()
            except _UNREADABLE as error:
                log.warning("the token was refused, and cannot be read again: %s", error)
        return self._token != sent

    def _may_read(self) -> bool:
        return self._read_at is None or self._passed() - self._read_at >= READ_AGAIN_AFTER.total_seconds()


class _Plugin(ExecAuth):
    """A program that says who we are; one that does not is no answer of the API server."""

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        flow = super().async_auth_flow(request)
        try:
            asking = await anext(flow)
            while True:
                response = yield asking
                asking = await flow.asend(response)
        except StopAsyncIteration:
            return
        except _UNREADABLE as error:
            raise httpx2.TransportError(f"the kubeconfig's plugin failed: {error}") from error


def _token_for(first: SingleConfig, now: SingleConfig) -> str:
    if now.cluster.server != first.cluster.server:
        raise ConfigError(f"it is for {now.cluster.server} now, which takes a restart")  # and no token of it goes here
    return _token_of(now)


def _token_of(config: SingleConfig) -> str:
    """Return the user's token; empty for one who is known by something else."""
    user = config.user
    if user is None:
        return ""
    file = user.token_file
    token = (Path(config.abs_file(file)).read_text() if file is not None else user.token or "").strip()
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("its token holds what no token does")
    return token

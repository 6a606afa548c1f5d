"""What the testbed asks the API server, and how it waits."""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from testbed.errors import TestbedError
from testbed.layout import API_SERVER, State

READY_WITHIN_S = 90.0
A_MOMENT_S = 0.1
ASK_S = 5.0


def get(state: State, path: str, user: str = "admin") -> bytes:
    """Return what the API server answers a user."""
    return fetch(f"{API_SERVER}{path}", tls(state, user))


def tls(state: State, user: str) -> ssl.SSLContext:
    """Return how to speak to the cluster's servers as one of its users."""
    certificates = state.certificates
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.load_cert_chain(certificates / f"{user}.crt", certificates / f"{user}.key")
    return context


def lines(state: State, path: str, user: str = "admin") -> Iterator[bytes]:
    """Yield what the API server answers line by line, for as long as it says something now and then."""
    try:
        with urllib.request.urlopen(f"{API_SERVER}{path}", context=tls(state, user)) as answer:
            yield from answer
    except (urllib.error.URLError, OSError) as error:
        raise TestbedError(f"GET {path}: {error}") from error


def fetch(url: str, context: ssl.SSLContext | None = None) -> bytes:
    """Return what a server inside answers."""
    try:
        with urllib.request.urlopen(url, context=context, timeout=ASK_S) as answer:
            body: bytes = answer.read()
            return body
    except (urllib.error.URLError, OSError) as error:
        raise TestbedError(f"GET {url}: {error}") from error


def read(state: State, path: str, user: str = "admin") -> Any:
    """Return an object, or a list of them."""
    return orjson.loads(get(state, path, user))


def wait_until_condition(state: State, path: str, wanted: str) -> None:
    """Wait until an object's status has a condition."""

    def has_it() -> None:
        conditions = read(state, path)["status"].get("conditions", [])
        if not any(one["type"] == wanted and one["status"] == "True" for one in conditions):
            raise TestbedError(f"{path} is not {wanted}")

    wait_until(has_it, f"{path} is not {wanted}")


def wait_until(attempt: Callable[[], object], complaint: str) -> None:
    """Try until it works."""
    until = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            attempt()
        except TestbedError as error:
            if time.monotonic() > until:
                raise TestbedError(
                    f"{complaint} after {READY_WITHIN_S:.0f} s ({error}): `make cluster-logs` shows more"
                ) from error
            time.sleep(A_MOMENT_S)
        else:
            return

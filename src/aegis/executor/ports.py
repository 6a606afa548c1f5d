"""What the Executor needs from outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from aegis.clients.backend import BackendClient
from aegis.contracts.verifications import Verification, VerificationRequest
from aegis.executor.settings import ExecutorSettings
from aegis.kit.clock import Clock
from aegis.kit.database import Database
from aegis.kit.selectors import Selector
from aegis.kit.signing import PrivateKey, PublicKey

FIELD_MANAGER = "aegis-executor"
"""Who the API server says changed a field, while we own it."""

Object = dict[str, Any]
"""A Kubernetes object as the API server writes it."""


@dataclass(frozen=True)
class ExactRequest:
    """One write, to the byte: what is rehearsed and approved is what is sent."""

    method: str
    path: str
    content_type: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class WriteRefusedError(Exception):
    """The API server said no: nothing was written. `code` and `reason` are those of its Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Cluster(Protocol):
    """Everything the Executor asks of Kubernetes. TemporaryError where there is no (usable) answer."""

    async def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """Return the object, or None where there is none."""
        ...

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: Selector | None = None
    ) -> list[Object]: ...

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        """Write, or only try it. WriteRefusedError: it was not written. TemporaryError: nobody knows."""
        ...


class Verifier(Protocol):
    async def verify(self, request: VerificationRequest, *, timeout: timedelta) -> Verification:  # noqa: ASYNC109
        """Raises TemporaryError where there is no answer in time."""
        ...


@dataclass(frozen=True)
class ExecutorPorts:
    settings: ExecutorSettings
    clock: Clock
    database: Database
    cluster: Cluster
    backend: BackendClient
    verifier: Verifier
    order_keys: Mapping[str, PublicKey]
    witness_key: PrivateKey

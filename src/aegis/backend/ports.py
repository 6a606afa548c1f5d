"""What the Backend needs from outside."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from aegis.backend.settings import BackendSettings
from aegis.contracts.targets import Named, WorkloadRef
from aegis.kit.clock import Clock
from aegis.kit.database import Database
from aegis.kit.ids import IdSource
from aegis.kit.signing import PrivateKey


class Counters(Protocol):
    """Counts that may be lost, shared by the replicas: for rate limits."""

    async def increment(self, key: str, *, window: timedelta) -> int:
        """Count one more in the running window and return how many that makes."""
        ...


class Receiver(Protocol):
    """Where notifications go."""

    async def deliver(self, body: bytes) -> None:
        """Raises TemporaryError where it did not get through: it is tried again; InvalidError where it never will."""
        ...


class Directory(Protocol):
    """Knows the UID of the workload or pod that a person names: the AI Engine, which watches the cluster."""

    async def find(self, workload: WorkloadRef) -> Named:
        """Raises NotFoundError where there is no such object."""
        ...


@dataclass(frozen=True)
class BackendPorts:
    settings: BackendSettings
    clock: Clock
    ids: IdSource
    database: Database
    counters: Counters
    directory: Directory
    signing_key: PrivateKey
    receiver: Receiver | None = None

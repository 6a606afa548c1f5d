"""What the AI Engine needs from outside: a cluster, metrics, the Backend, a memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from aegis.contracts.incidents import IncidentReport
from aegis.contracts.outcomes import Outcome
from aegis.contracts.proposals import Proposal
from aegis.kit.clock import Clock
from aegis.kit.outbox import Undelivered


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object of the cluster as it is now, or that it is gone."""

    resource: str
    """The plural name, as in `pods`."""
    object: Mapping[str, Any]
    at: datetime
    deleted: bool = False


Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One value of one canonical signal. `labels` are sorted; `at` is in seconds since 1970."""

    metric: str
    labels: Labels
    value: float
    at: float


def labels_of(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


class ClusterSource(Protocol):
    """The cluster's objects, by watch."""

    def take_changes(self) -> Sequence[ObjectChange]:
        """Return what changed since the last call, in order."""
        ...

    def as_of(self) -> datetime | None:
        """How far back the picture may be: now while all watches are connected; None before the first lists."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """What is not being watched just now, and why."""
        ...


class MetricsSource(Protocol):
    """Anything that answers with the canonical signals."""

    async def newest(self) -> Sequence[Sample]:
        """Raises TemporaryError where there is no answer."""
        ...

    async def between(self, start: datetime, end: datetime, step: timedelta) -> Sequence[Sequence[Sample]]:
        """Return one column a step, oldest first."""
        ...


class Backend(Protocol):
    """The control plane. Every call is idempotent and may raise TemporaryError."""

    async def report(self, report: IncidentReport) -> None: ...

    async def propose(self, proposal: Proposal) -> str: ...

    async def outcomes_after(self, after: str, *, limit: int = 100) -> tuple[Sequence[Outcome], str]:
        """Return what came of proposals, oldest first, and what to ask after the next time."""
        ...


@dataclass(frozen=True)
class StoredIncident:
    """What a restarted or a second replica must know to speak of a problem by the same key."""

    key: str
    body: bytes
    """The incident as `correlation.incidents` writes it."""


@dataclass(frozen=True)
class Conclusion:
    """How far the Executor has come with something that was proposed."""

    proposal_id: str
    outcome: Outcome


@dataclass(frozen=True)
class Conclusions:
    """What one step concluded: what has to be told, and what has to be remembered."""

    reports: tuple[IncidentReport, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    incidents: tuple[StoredIncident, ...] = ()


class Store(Protocol):
    """The AI Engine's own database."""

    async def save(self, conclusions: Conclusions, *, at: datetime) -> None:
        """Keep what a step concluded, and put what must be told into the outbox, in one transaction."""
        ...

    async def recent_incidents(self, *, since: datetime) -> Sequence[StoredIncident]:
        """Return incidents that were written down since then."""
        ...

    async def deliver(self, backend: Backend) -> int:
        """Tell the Backend what waits; return how much got through."""
        ...

    async def undelivered(self) -> Undelivered:
        """Return how much the Backend has not been told yet, or would not hear."""
        ...

    async def learn(self, backend: Backend, *, after: str) -> tuple[Sequence[Conclusion], str]:
        """Ask the Backend what came of proposals since `after`; return it, and what to ask after the next time."""
        ...

    async def save_snapshot(self, name: str, body: bytes, *, at: datetime) -> None: ...

    async def snapshot(self, name: str) -> bytes | None: ...

    async def tidy(self, *, at: datetime) -> None:
        """Forget what is too old to matter."""
        ...

    async def is_there(self) -> bool: ...


@dataclass(frozen=True)
class AiEnginePorts:
    """Everything the service is given."""

    clock: Clock
    cluster: ClusterSource
    metrics: MetricsSource | None
    backend: Backend
    store: Store

"""What is left behind by a run, for whoever judges it: writes, objects, databases, audit, and the truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import orjson

from aegis.contracts.audit import AuditEntry, Checkpoint
from aegis.executor.actions.base import STAMP_PREFIX
from aegis.executor.journal.plan import KeptPlan
from aegis.executor.settings import ExecutorSettings
from aegis.kit.signing import PublicKey
from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.request_log import Requested

Row = Mapping[str, Any]
_STAMP_POINTER = "/metadata/annotations/" + STAMP_PREFIX.replace("/", "~1")
WriteKind = Literal["act", "undo", "let_go", "event", "other"]


@dataclass(frozen=True)
class Write:
    """A request that could change something, to the byte, and what it did."""

    at: datetime
    user: str
    method: str
    path: str
    body: bytes
    dry_run: bool
    code: int
    before: Object | None
    after: Object | None
    namespace: Object | None
    journal: Mapping[str, Any]
    """The order's row in the Executor's journal at the moment of the write; empty where there is none."""

    @property
    def succeeded(self) -> bool:
        return not self.dry_run and self.code < 300

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The operations of a JSON patch; nothing for another body."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return []
        return found if isinstance(found, list) else []

    @property
    def kind(self) -> WriteKind:
        if self.path.endswith("/eviction"):
            return "act"
        if self.path.endswith("/events"):
            return "event"
        written = [step for step in self.steps if step["op"] != "test"]
        taken_off = [step for step in written if step["op"] == "remove" and step["path"].startswith(_STAMP_POINTER)]
        if any(step["path"].startswith("/metadata/managedFields") for step in written) or written == taken_off != []:
            return "let_go"
        if taken_off:
            return "undo"
        return "act" if self.steps else "other"

    @property
    def order_id(self) -> str:
        return stamped_order(self.body) or str(self.journal.get("order_id", ""))


@dataclass(frozen=True)
class OwnerTruth:
    """How a workload stood at a moment, by its object."""

    name: str
    wanted: int
    updated: int
    available: int
    total: int
    is_observed: bool

    @property
    def is_whole(self) -> bool:
        return self.is_observed and min(self.updated, self.available) >= self.wanted and self.total <= self.wanted


@dataclass(frozen=True)
class Truth:
    """What no service can know for sure, at one tick."""

    at: datetime
    owners: Mapping[str, OwnerTruth]
    """By UID."""
    dark_nodes: int = 0


@dataclass(frozen=True)
class Span:
    """From when to when something held; an open end is None."""

    since: datetime
    until: datetime | None
    what: str = ""

    def holds(self, at: datetime) -> bool:
        return self.since < at and (self.until is None or at < self.until)


@dataclass(frozen=True)
class Acknowledged:
    """A request that the Backend said yes to."""

    sender: str
    """As the wire calls them: `executor-0`, `person-ada`."""
    method: str
    path: str
    body: bytes
    answer: bytes


@dataclass(frozen=True)
class Evidence:
    """All of it. `tables` are the Backend's, by name."""

    cluster_id: str
    ended_at: datetime
    settings: ExecutorSettings
    writes: Sequence[Write]
    delayed: Mapping[bytes, datetime]
    """When a write that the wire delivered late was sent, by its body."""
    requests: Sequence[Requested]
    truths: Sequence[Truth]
    objects: Mapping[str, Object]
    """The cluster's objects at the end, by UID."""
    events: Sequence[Object]
    tables: Mapping[str, Sequence[Row]]
    journal: Mapping[str, Row]
    plans: Mapping[str, KeptPlan]
    """By the order whose stamp they carry; the newest plan of an order."""
    storms: Sequence[Row]
    entries: Sequence[AuditEntry]
    checkpoints: Sequence[Checkpoint]
    key: PublicKey
    witness: PublicKey
    """What the audit trail's checkpoints are signed and countersigned with."""
    acknowledged: Sequence[Acknowledged]
    verdicts: Sequence[tuple[datetime, str, str]]
    """When the AI Engine said what about which order, or proposal not yet ordered."""
    dumps: Mapping[str, bytes]
    """Each database as text."""
    canaries: Sequence[bytes]
    operator_pauses: Sequence[Span]
    freezes: Sequence[Span]
    forbidden: Sequence[Span] = field(default_factory=tuple)
    """`action namespace` that a policy denied."""

    @property
    def executor(self) -> str:
        return f"system:serviceaccount:{self.settings.own_namespace}:executor"

    def done(self, *kinds: WriteKind) -> list[Write]:
        """Return the Executor's successful writes of these kinds, in order."""
        return [one for one in self.writes if one.succeeded and one.user == self.executor and one.kind in kinds]

    def acts(self) -> Iterator[tuple[Write, str]]:
        """Yield each action that was written, with its order; empty where no order is known for it."""
        for write in self.done("act"):
            yield write, write.order_id or self._eviction_of(write)

    def _eviction_of(self, write: Write) -> str:
        return next(
            (
                order_id
                for order_id, plan in self.plans.items()
                if (plan.exact.request.path, plan.exact.request.body) == (write.path, write.body)
            ),
            "",
        )

    def remediation_of(self, order_id: str) -> Row | None:
        return next((row for row in self.tables["remediations"] if row["order_id"] == order_id), None)

    def outcomes_of(self, order_id: str) -> list[Row]:
        """Return the bodies of an order's reports, in their sequence."""
        found = [row for row in self.tables["outcomes"] if row["order_id"] == order_id]
        return [row["body"] for row in sorted(found, key=lambda row: row["sequence"])]

    def truth_at(self, at: datetime) -> Truth | None:
        """Return the last look at the truth up to a moment."""
        return next((one for one in reversed(self.truths) if one.at <= at), None)


@dataclass
class Ruling:
    """What a rule looked at, and where it was broken."""

    looked_at: int = 0
    broken: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 (reads as a sentence)
        self.looked_at += 1
        if not holds:
            self.broken.append(otherwise)


def stamped_order(body: bytes) -> str | None:
    """Return the order whose stamp a JSON patch puts on, or takes off.

    >>> stamped_order(b'[{"op": "add", "path": "/metadata/annotations/order.aegis.dev~1ord-1", "value": ""}]')
    'ord-1'
    """
    try:
        steps = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    for step in steps if isinstance(steps, list) else ():
        if step["path"].startswith(_STAMP_POINTER):
            return str(step["path"].removeprefix(_STAMP_POINTER))
        if step["path"] == "/metadata/annotations" and step["op"] == "add":
            return next((key.removeprefix(STAMP_PREFIX) for key in step["value"] if key.startswith(STAMP_PREFIX)), None)
    return None


def moment(text: str | datetime) -> datetime:
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)

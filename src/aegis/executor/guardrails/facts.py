"""What the checks look at: the cluster around a target as it is now, read once. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from aegis.contracts.approvals import Approval
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import MODES_BY_STRICTNESS, Mode, effective_mode

Object = dict[str, Any]

MODE = "aegis.dev/mode"


@dataclass(frozen=True)
class Limits:
    """The guardrails' numbers, as configured."""

    cluster_id: str = "default"
    namespaces: tuple[str, ...] = ("*",)
    protected_namespaces: tuple[str, ...] = ()
    metrics_step: timedelta = timedelta(seconds=15)
    disturb_share: float = 0.25
    healthy_minimum: float = 0.51
    health_stale: timedelta = timedelta(minutes=1)


@dataclass(frozen=True)
class Freeze:
    """A window in which nothing is begun: it opens by a cron expression in a time zone."""

    name: str
    cron: str
    time_zone: str
    duration: timedelta
    namespaces: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Switches:
    """What people set to stop us. What could not be read is None, and stops as well."""

    backend_paused: bool | None = None
    backend_reason: str = ""
    operator_paused: bool | None = None
    operator_reason: str = ""
    freezes: tuple[Freeze, ...] = ()
    floor: dict[str, int] = field(default_factory=dict)
    """Actions that need so many approvers' own signatures."""
    approver_keys: dict[str, str] = field(default_factory=dict)
    """Approver to public key (base64)."""
    is_config_map_there: bool = False
    """Whether the operator's ConfigMap could be read, and there was one."""
    unreadable: str = ""


class Confirmation(Enum):
    """Whether what was proposed for is still so, by fresh data."""

    STILL_SO = "still_so"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Kill:
    """A container that was killed for want of memory; the same one however often it is read."""

    pod_uid: str
    container: str
    at: datetime


@dataclass(frozen=True)
class WholeRevision:
    """A Deployment whose every pod is available and of one revision."""

    owner_uid: str
    template_hash: str
    lives: str
    """Its pods, and how often each of their containers was started: while it is the same, none has ended."""


@dataclass(frozen=True)
class Facts:
    """Everything a check or an action's planning may look at."""

    now: datetime
    target: Object | None
    owner: Object | None
    namespace: Object | None = None
    pods: Sequence[Object] = ()
    """The owner's pods."""
    replicasets: Sequence[Object] = ()
    autoscalers: Sequence[Object] = ()
    quotas: Sequence[Object] = ()
    budgets: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    node_pods: Sequence[Object] = ()
    """All pods of the cluster, for headroom; read only where an action adds pods."""
    healthy_revisions: frozenset[str] = frozenset()
    """Template hashes that this Executor has itself seen fully available."""
    kills_seen: frozenset[Kill] = frozenset()
    """Kills in the owner's pods that this Executor has itself seen, and that their statuses may show no more."""
    past_fixes: int = 0
    """How often this very action was taken on this unchanged spec within the last day."""
    storm: bool = False
    health_read_at: datetime | None = None
    """When the whole cluster's health was last read; without that nobody knows whether there is a storm."""
    switches: Switches = field(default_factory=Switches)
    limits: Limits = field(default_factory=Limits)
    approvals: tuple[Approval, ...] = ()
    rehearsing: bool = True
    decided_by_person: bool = False
    confirmed: Confirmation | None = None
    """What the AI Engine says now of a proposal whose data has become old."""

    @property
    def mode(self) -> Mode:
        return effective_mode(_marked(self.namespace), _marked(self.owner))

    @property
    def misspelled_mode(self) -> str:
        """What stands where a mode should, and is none: it counts as `off`."""
        marks = (_marked(self.namespace), _marked(self.owner))
        return next((mark for mark in marks if mark is not None and mark not in MODES_BY_STRICTNESS), "")

    @property
    def healthy_pods(self) -> list[Object]:
        return [pod for pod in self.pods if is_ready(pod)]


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready and not on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def is_node_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def template_hash(thing: Object) -> str:
    return str((thing["metadata"].get("labels") or {}).get("pod-template-hash", ""))


def revision_of(replicaset: Object) -> int:
    text = (replicaset["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", "0")
    return int(text) if text.isdigit() else 0


def newest_replicaset(facts: Facts) -> Object | None:
    return max(facts.replicasets, key=revision_of, default=None)


def matches_any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def controller_of(thing: Object) -> Object | None:
    """Return the ownerReference that controls an object."""
    references = thing["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def namespace_of(proposal: Proposal) -> str:
    return proposal.target.namespace or ""


def _marked(thing: Object | None) -> str | None:
    """Return the mode that a label or an annotation sets: the stricter of both, or the one that is no mode at all."""
    if thing is None:
        return None
    metadata = thing["metadata"]
    label = (metadata.get("labels") or {}).get(MODE)
    annotation = (metadata.get("annotations") or {}).get(MODE)
    marks = [str(one) for one in (label, annotation) if one is not None]
    misspelled = next((one for one in marks if one not in MODES_BY_STRICTNESS), None)
    return misspelled or (effective_mode(marks[0], marks[-1]) if marks else None)

"""What each action is: which objects, which API verbs, can it be undone, what an unknown verdict means."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

from aegis.contracts.actions import ActionKind

OnUnknown = Literal["revert", "hold_and_page", "escalate"]


@dataclass(frozen=True)
class ApiVerbs:
    """Verbs on one resource, as an RBAC rule writes them (`deployments/scale` names a subresource)."""

    group: str
    resource: str
    verbs: frozenset[str]


@dataclass(frozen=True)
class ActionFacts:
    kind: ActionKind
    title: str
    target_kinds: frozenset[str]
    reversible: bool
    """There is an undo, and it gives every touched field its old value."""
    harmless: bool
    """Nothing is left behind that would have to be undone: controllers put back what was taken away."""
    on_unknown: OnUnknown
    """What it means that nobody can tell whether it helped: giving a rollback back would redeploy the fault."""
    automatic: bool
    """May run without a person, where mode and policy allow it."""
    settle: timedelta
    """For how long all must be well before it counts."""
    deadline: timedelta
    """From the write: not well by then means it did not help."""
    verbs: tuple[ApiVerbs, ...]
    """What the Executor must be allowed to do for it, beyond what every action's checks read."""
    lease: timedelta | None = None
    """A change meant to be temporary is given back after this at the latest."""


_ROLLABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
_PATCH_ROLLABLE = tuple(
    ApiVerbs("apps", resource, frozenset({"get", "patch"}))
    for resource in ("daemonsets", "deployments", "statefulsets")
)
_PATCH_DEPLOYMENT = (ApiVerbs("apps", "deployments", frozenset({"get", "patch"})),)

_FACTS = (
    ActionFacts(
        kind=ActionKind.ROLLBACK_ROLLOUT,
        title="Roll a Deployment back to the last revision that was healthy",
        target_kinds=frozenset({"Deployment"}),
        reversible=True,
        harmless=False,
        on_unknown="hold_and_page",
        automatic=True,
        settle=timedelta(seconds=60),
        deadline=timedelta(seconds=300),
        verbs=_PATCH_DEPLOYMENT,
    ),
    ActionFacts(
        kind=ActionKind.RESTART_WORKLOAD,
        title="Restart a workload's pods, a few at a time",
        target_kinds=_ROLLABLE,
        reversible=False,
        harmless=True,
        on_unknown="escalate",
        automatic=True,
        settle=timedelta(seconds=120),
        deadline=timedelta(seconds=420),
        verbs=_PATCH_ROLLABLE,
    ),
    ActionFacts(
        kind=ActionKind.SCALE_WORKLOAD,
        title="Scale a workload out for a while",
        target_kinds=frozenset({"Deployment", "StatefulSet"}),
        reversible=True,
        harmless=False,
        on_unknown="revert",
        automatic=True,
        settle=timedelta(seconds=60),
        deadline=timedelta(seconds=240),
        lease=timedelta(hours=1),
        verbs=(
            ApiVerbs("apps", "deployments", frozenset({"get", "patch"})),
            ApiVerbs("apps", "statefulsets", frozenset({"get", "patch"})),
        ),
    ),
    ActionFacts(
        kind=ActionKind.RAISE_MEMORY,
        title="Raise a container's memory limit in the template",
        target_kinds=frozenset({"Deployment", "StatefulSet"}),
        reversible=True,
        harmless=False,
        on_unknown="hold_and_page",
        automatic=False,
        settle=timedelta(seconds=180),
        deadline=timedelta(seconds=600),
        verbs=(
            ApiVerbs("apps", "deployments", frozenset({"get", "patch"})),
            ApiVerbs("apps", "statefulsets", frozenset({"get", "patch"})),
        ),
    ),
    ActionFacts(
        kind=ActionKind.EVICT_POD,
        title="Evict one pod through the Eviction API; its controller makes another",
        target_kinds=frozenset({"Pod"}),
        reversible=False,
        harmless=True,
        on_unknown="escalate",
        automatic=True,
        settle=timedelta(seconds=60),
        deadline=timedelta(seconds=300),
        verbs=(ApiVerbs("", "pods/eviction", frozenset({"create"})),),
    ),
)

ACTIONS: Mapping[ActionKind, ActionFacts] = MappingProxyType({facts.kind: facts for facts in _FACTS})

# What the checks before every action read, and the trail they leave.
READS: tuple[ApiVerbs, ...] = (
    ApiVerbs("", "pods", frozenset({"get", "list"})),
    ApiVerbs("", "namespaces", frozenset({"get", "list"})),
    ApiVerbs("", "nodes", frozenset({"get", "list"})),
    ApiVerbs("", "resourcequotas", frozenset({"get", "list"})),
    ApiVerbs("", "events", frozenset({"create", "patch"})),
    ApiVerbs("", "configmaps", frozenset({"get"})),
    ApiVerbs("apps", "deployments", frozenset({"get", "list"})),
    ApiVerbs("apps", "replicasets", frozenset({"get", "list"})),
    ApiVerbs("apps", "statefulsets", frozenset({"get", "list"})),
    ApiVerbs("apps", "daemonsets", frozenset({"get", "list"})),
    ApiVerbs("autoscaling", "horizontalpodautoscalers", frozenset({"get", "list"})),
    ApiVerbs("policy", "poddisruptionbudgets", frozenset({"get", "list"})),
)

# How far an action may go, whatever was proposed.
SCALE_FACTOR_MAX = 2
SCALE_STEP_MAX = 4
MEMORY_FACTOR_MAX = 1.5


def scale_ceiling(replicas: int) -> int:
    """Return the most replicas that one scale_workload may ask for: twice as many, or four more.

    >>> scale_ceiling(1), scale_ceiling(3), scale_ceiling(10)
    (5, 7, 20)
    """
    return max(replicas * SCALE_FACTOR_MAX, replicas + SCALE_STEP_MAX)

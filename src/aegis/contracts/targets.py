"""What Aegis looks after, and what an action changes."""

from typing import Literal

from pydantic import Field

from aegis.contracts.base import Contract, Name, StrictContract


class WorkloadRef(Contract):
    """A Deployment, StatefulSet, DaemonSet or Job as people speak of it: by name, whatever its UID."""

    cluster_id: Name
    namespace: str
    kind: Name
    name: Name

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"


class TargetRef(StrictContract):
    """The one object an action changes. The UID makes it that very object, not its namesake."""

    cluster_id: Name
    api_version: Name
    kind: Name
    namespace: str | None
    name: Name
    uid: Name

    def __str__(self) -> str:
        return f"{self.namespace or '-'}/{self.kind}/{self.name}"

    @property
    def place(self) -> tuple[str, str | None]:
        """The cluster and the namespace: an object belongs to none but those of the same place."""
        return self.cluster_id, self.namespace

    @property
    def workload(self) -> WorkloadRef:
        return WorkloadRef(cluster_id=self.cluster_id, namespace=self.namespace or "", kind=self.kind, name=self.name)


class Named(StrictContract):
    """What a name means now: the very object, and the workload that it belongs to; itself, where it is one."""

    target: TargetRef
    owner: TargetRef


Mode = Literal["off", "observe", "approve", "auto"]
MODES_BY_STRICTNESS: tuple[Mode, ...] = ("off", "observe", "approve", "auto")


def effective_mode(namespace: str | None, workload: str | None) -> Mode:
    """Combine the `aegis.dev/mode` of a namespace and of a workload: the stricter of both wins.

    A workload without one inherits its namespace's; unset on both is `observe`; what is not a mode is `off`,
    so that a typing error never grants anything.

    >>> effective_mode("auto", None), effective_mode(None, "auto"), effective_mode("approve", "auto")
    ('auto', 'auto', 'approve')
    >>> effective_mode(None, None), effective_mode("auto", "Auto!")
    ('observe', 'off')
    """
    set_modes = [mode for mode in (namespace, workload) if mode is not None]
    if not set_modes:
        return "observe"
    return min((_mode(mode) for mode in set_modes), key=MODES_BY_STRICTNESS.index)


def _mode(text: str) -> Mode:
    return next((mode for mode in MODES_BY_STRICTNESS if mode == text), "off")


class TargetFacts(Contract):
    """What the Executor saw around a target when it rehearsed: the context that policy decides in."""

    mode: Mode
    namespace_labels: dict[str, str] = Field(default_factory=dict)
    workload_labels: dict[str, str] = Field(default_factory=dict)
    owned_by: str = ""
    """The tool that owns the fields this action would touch: `argocd`, `flux`, `hpa`, `keda`, or nothing."""
    replicas: int = 0
    healthy: int = 0

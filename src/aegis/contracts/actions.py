"""The actions Aegis can take, as typed requests. What each one means stands in `aegis.catalogue`."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from aegis.contracts.base import Name, StrictContract


class ActionKind(StrEnum):
    ROLLBACK_ROLLOUT = "rollback_rollout"
    RESTART_WORKLOAD = "restart_workload"
    SCALE_WORKLOAD = "scale_workload"
    RAISE_MEMORY = "raise_memory"
    EVICT_POD = "evict_pod"


class RollbackRollout(StrictContract):
    """Back to the last revision that was healthy, or to the one named."""

    kind: Literal[ActionKind.ROLLBACK_ROLLOUT] = ActionKind.ROLLBACK_ROLLOUT
    to_revision: int | None = Field(default=None, ge=1)
    blamed_template: Name | None = None
    """The hash of the pod template to get away from; None: of whichever is the newest when it is rehearsed."""


class RestartWorkload(StrictContract):
    kind: Literal[ActionKind.RESTART_WORKLOAD] = ActionKind.RESTART_WORKLOAD
    allow_single_replica: bool = False


class ScaleWorkload(StrictContract):
    """Up to `replicas`; how far up is bounded by the catalogue."""

    kind: Literal[ActionKind.SCALE_WORKLOAD] = ActionKind.SCALE_WORKLOAD
    replicas: int = Field(ge=1, le=1000)


class RaiseMemory(StrictContract):
    """Raise the memory limit of one container in the template; requests follow where they were equal."""

    kind: Literal[ActionKind.RAISE_MEMORY] = ActionKind.RAISE_MEMORY
    container: Name
    factor: float = Field(gt=1, le=4)


class EvictPod(StrictContract):
    kind: Literal[ActionKind.EVICT_POD] = ActionKind.EVICT_POD


Action = Annotated[
    RollbackRollout | RestartWorkload | ScaleWorkload | RaiseMemory | EvictPod, Field(discriminator="kind")
]


def is_as_asked(action: Action, asked: Action) -> bool:
    """Whether an action is what a person asks for, to the last setting; whom it blames people leave open.

    >>> is_as_asked(RollbackRollout(to_revision=1, blamed_template="6c9f"), RollbackRollout(to_revision=1))
    True
    >>> is_as_asked(RollbackRollout(to_revision=1), RollbackRollout(to_revision=2))
    False
    """
    if isinstance(action, RollbackRollout) and isinstance(asked, RollbackRollout) and asked.blamed_template is None:
        return action.to_revision == asked.to_revision
    return action == asked

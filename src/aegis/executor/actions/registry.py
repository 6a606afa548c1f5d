"""Every action the Executor can take: one line each."""

from collections.abc import Mapping
from types import MappingProxyType

from aegis.contracts.actions import ActionKind
from aegis.executor.actions.base import Action
from aegis.executor.actions.evict_pod import EvictPod
from aegis.executor.actions.raise_memory import RaiseMemory
from aegis.executor.actions.restart_workload import RestartWorkload
from aegis.executor.actions.rollback_rollout import RollbackRollout
from aegis.executor.actions.scale_workload import ScaleWorkload

REGISTRY: Mapping[ActionKind, Action] = MappingProxyType(
    {
        ActionKind.ROLLBACK_ROLLOUT: RollbackRollout(),
        ActionKind.RESTART_WORKLOAD: RestartWorkload(),
        ActionKind.SCALE_WORKLOAD: ScaleWorkload(),
        ActionKind.RAISE_MEMORY: RaiseMemory(),
        ActionKind.EVICT_POD: EvictPod(),
    }
)

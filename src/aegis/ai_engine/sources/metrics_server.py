"""CPU and memory by metrics-server, where there is no metrics system: all that Kubernetes itself can tell."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from aegis.ai_engine.ports import Sample, labels_of
from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.views import moment, quantity
from aegis.catalogue.signals import CPU_USAGE, MEMORY_BYTES, MEMORY_USAGE, RESTARTS
from aegis.kit.clock import Clock

Fetch = Callable[[], AsyncIterator[Mapping[str, Any]]]


class MetricsServer:
    """Implements the port `MetricsSource`; it has no past."""

    def __init__(self, fetch: Fetch, inventory: Inventory, clock: Clock) -> None:
        self._fetch = fetch
        self._inventory = inventory
        self._clock = clock

    async def newest(self) -> Sequence[Sample]:
        items = {(one["metadata"]["namespace"], one["metadata"]["name"]): one async for one in self._fetch()}
        return samples_of(items, self._inventory, now=self._clock.now())

    async def between(self, start: datetime, end: datetime, step: timedelta) -> Sequence[Sequence[Sample]]:  # noqa: ARG002
        return []


def samples_of(
    items: Mapping[tuple[str, str], Mapping[str, Any]], inventory: Inventory, *, now: datetime
) -> list[Sample]:
    """Work out the canonical signals of each workload: memory of its fullest pod, CPU on average."""
    memory, memory_share, cpu_share = defaultdict(list), defaultdict(list), defaultdict(list)
    taken_at: dict[str, float] = {}
    restarts: dict[str, float] = defaultdict(float)
    for pod in inventory.pods.values():
        workload = inventory.workload_of(pod)
        if workload is None:
            continue
        restarts[workload.uid] += sum(one.restarts for one in pod.containers)
        item = items.get((pod.namespace, pod.name))
        if item is None:
            continue
        limits = {one.name: one for one in workload.containers}
        taken_at[workload.uid] = (moment(item.get("timestamp")) or now).timestamp()
        for container in item.get("containers") or []:
            limit = limits.get(container["name"])
            used_memory = quantity(container["usage"].get("memory")) or 0.0
            used_cpu = quantity(container["usage"].get("cpu")) or 0.0
            memory[workload.uid].append(used_memory)
            if limit is not None and limit.memory_limit:
                memory_share[workload.uid].append(used_memory / limit.memory_limit)
            if limit is not None and limit.cpu_limit:
                cpu_share[workload.uid].append(used_cpu / limit.cpu_limit)
    found = []
    for uid, at in taken_at.items():
        ref = inventory.workloads[uid].ref
        labels = labels_of({"namespace": ref.namespace, "kind": ref.kind, "workload": ref.name})
        found.append(Sample(MEMORY_BYTES.metric, labels, max(memory[uid]), at))
        found.append(Sample(RESTARTS.metric, labels, restarts[uid], now.timestamp()))
        if memory_share[uid]:
            found.append(Sample(MEMORY_USAGE.metric, labels, max(memory_share[uid]), at))
        if cpu_share[uid]:
            found.append(Sample(CPU_USAGE.metric, labels, sum(cpu_share[uid]) / len(cpu_share[uid]), at))
    return found

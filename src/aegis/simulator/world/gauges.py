"""Reads the gauges of every workload off its processes, as an exporter would."""

from collections import defaultdict

from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, STATEFULSETS
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.world.physics import Physics
from aegis.simulator.world.processes import Process, Workload
from aegis.simulator.world.telemetry import Gauges

_MIB = 2**20


def read_gauges(store: Store, physics: Physics) -> dict[Workload, Gauges]:
    """Return the gauges of each workload that the cluster knows; empty ones where nothing runs."""
    running: dict[Workload, list[Process]] = defaultdict(list)
    for process in physics.processes():
        if process.is_running:
            running[process.workload].append(process)
    known = [_workload(each) for kind in (DEPLOYMENTS, STATEFULSETS) for each in store.list(kind)]
    servers = _busiest_servers(physics)
    return {
        each: _gauges(running[each], servers.get(each), physics.queues.get(each)) if running.get(each) else Gauges()
        for each in known
    }


def _workload(obj: Object) -> Workload:
    return Workload(obj["metadata"]["namespace"], obj["kind"], obj["metadata"]["name"])


def _busiest_servers(physics: Physics) -> dict[Workload, float]:
    """Return how much of its connections each server with a limit has given away."""
    usage: dict[Workload, float] = {}
    for key, owner in physics.network.workloads.items():
        found = physics.connections_of(key)
        if found is not None and found.most:
            servers = max(1, len(physics.network.endpoints.get(key, ())))
            usage[owner] = max(usage.get(owner, 0.0), min(1.0, found.held * servers / found.most))
    return usage


def _gauges(processes: list[Process], connections: float | None, queue: float | None) -> Gauges:
    main = [each for each in processes if each.is_main] or processes
    memory = [each.measured_memory_mib for each in processes]
    ratios = [
        min(1.0, each.measured_memory_mib / each.limits.memory_mib) for each in processes if each.limits.memory_mib
    ]
    pools = [each.pool_in_use / each.program.pool_size for each in main if each.program.pool_size]
    cpu = [each.cpu_used / grant for each in main if (grant := each.limits.cpu or each.limits.cpu_request)]
    throttled = [each.cpu_throttled for each in main if each.limits.cpu]
    has_queue = any(each.program.queued_share for each in main)
    return Gauges(
        cpu_usage_ratio=sum(cpu) / len(cpu) if cpu else None,
        cpu_throttled_ratio=sum(throttled) / len(throttled) if throttled else None,
        memory_usage_ratio=max(ratios, default=None),
        memory_usage_bytes=float(int(max(memory) * _MIB)),
        pool_usage_ratio=max(pools, default=None),
        connections_usage_ratio=connections,
        queue_length=float(int(queue or 0.0)) if has_queue else None,
    )

"""Who calls whom, and who lives beside whom."""

from collections import defaultdict
from collections.abc import Iterable

from aegis.ai_engine.detection.board import Board
from aegis.ai_engine.sources.inventory import Inventory
from aegis.catalogue.signals import CALL_ERROR_RATIO, CALL_LATENCY, CALL_RATE
from aegis.contracts.targets import WorkloadRef


class Neighbourhood:
    """The call graph as far as it is known, and the nodes that workloads share."""

    def __init__(self, calls: Iterable[tuple[WorkloadRef, WorkloadRef]], inventory: Inventory) -> None:
        self._callees: dict[WorkloadRef, set[WorkloadRef]] = defaultdict(set)
        self._callers: dict[WorkloadRef, set[WorkloadRef]] = defaultdict(set)
        self._inventory = inventory
        for caller, callee in calls:
            self._callees[caller].add(callee)
            self._callers[callee].add(caller)

    def callees(self, workload: WorkloadRef) -> set[WorkloadRef]:
        return self._callees.get(workload, set())

    def callers(self, workload: WorkloadRef) -> set[WorkloadRef]:
        return self._callers.get(workload, set())

    def is_known(self, workload: WorkloadRef) -> bool:
        """Whether anything is known of whom it calls or who calls it."""
        return workload in self._callees or workload in self._callers

    def dependencies(self, workload: WorkloadRef) -> dict[WorkloadRef, int]:
        """Return everything it needs, near or far, with the number of calls to get there."""
        return _reached(workload, self._callees)

    def dependents(self, workload: WorkloadRef) -> dict[WorkloadRef, int]:
        return _reached(workload, self._callers)

    def nodes_of(self, workload: WorkloadRef) -> set[str]:
        view = self._inventory.find(workload)
        return {pod.node for pod in self._inventory.pods_of(view) if pod.node} if view is not None else set()

    def near(self, workload: WorkloadRef) -> set[WorkloadRef]:
        """Return the workload, its callers and callees, and whoever has pods on the same nodes."""
        beside = {
            found.ref
            for node in self.nodes_of(workload)
            for pod in self._inventory.pods_on(node)
            if (found := self._inventory.workload_of(pod)) is not None
        }
        return {workload} | set(self.dependencies(workload)) | set(self.dependents(workload)) | beside


def neighbourhood_of(inventory: Inventory, board: Board) -> Neighbourhood:
    """Read the call graph from call signals, and from the Services that stand in containers' environments."""
    calls = set(inventory.calls_by_environment())
    for signal in (CALL_RATE, CALL_ERROR_RATIO, CALL_LATENCY):
        for slot in board.slots_of_signal(signal):
            labels = board.labels_of(slot)
            peer = WorkloadRef(
                cluster_id=inventory.cluster_id,
                namespace=labels.get("peer_namespace") or labels.get("namespace", ""),
                kind=labels.get("peer_kind") or "Deployment",
                name=labels.get("peer_workload") or "unknown",
            )
            calls.add((board.workload_of(slot), peer))
    return Neighbourhood(calls, inventory)


def _reached(start: WorkloadRef, edges: dict[WorkloadRef, set[WorkloadRef]]) -> dict[WorkloadRef, int]:
    reached: dict[WorkloadRef, int] = {}
    front, depth = {start}, 0
    while front:
        depth += 1
        front = {to for one in front for to in edges.get(one, ())} - reached.keys() - {start}
        reached |= dict.fromkeys(front, depth)
    return reached

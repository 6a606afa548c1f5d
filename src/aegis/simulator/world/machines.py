"""What the API server asks the machines: what a container wrote, what it uses."""

from collections import defaultdict

from aegis.simulator.kubernetes.metrics import Usage
from aegis.simulator.kubernetes.resources import PODS
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.world.physics import Physics
from aegis.simulator.world.processes import Process


class Machines:
    """The logs and the usage of the world's processes, by the names the API has for them."""

    def __init__(self, store: Store, physics: Physics) -> None:
        self._store = store
        self._physics = physics

    def logs(self, namespace: str, pod: str, container: str, previous: bool) -> str:  # noqa: FBT001 - the server's port
        found = self._store.find(PODS, namespace, pod)
        lines = self._physics.logs(found["metadata"]["uid"], container, previous=previous) if found else []
        return "".join(f"{line}\n" for line in lines)

    def node(self, name: str) -> Usage | None:
        if not self._physics.has_power(name):
            return None
        return _usage([each for each in self._running() if each.node == name])

    def pod(self, namespace: str, name: str) -> dict[str, Usage] | None:
        found = self._store.find(PODS, namespace, name)
        if found is None or not self._physics.has_power(found["spec"].get("nodeName", "")):
            return None
        containers: dict[str, list[Process]] = defaultdict(list)
        for each in self._running():
            if each.pod_uid == found["metadata"]["uid"]:
                containers[each.container].append(each)
        return {container: _usage(processes) for container, processes in containers.items()} or None

    def _running(self) -> list[Process]:
        return [each for each in self._physics.processes() if each.is_running]


def _usage(processes: list[Process]) -> Usage:
    cores = sum(each.cpu_used for each in processes)
    kib = sum(each.measured_memory_mib for each in processes) * 1024
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{round(kib)}Ki"}

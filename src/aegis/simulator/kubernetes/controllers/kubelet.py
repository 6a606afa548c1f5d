"""The kubelets: each node's heartbeat, and a worker for each of its pods."""

from datetime import datetime, timedelta

from aegis.simulator.kubernetes.controllers.cluster import Cluster, EventType
from aegis.simulator.kubernetes.controllers.conditions import is_true, with_condition
from aegis.simulator.kubernetes.controllers.nodes import LEASE_NAMESPACE
from aegis.simulator.kubernetes.controllers.pod_worker import Host, PodWorker
from aegis.simulator.kubernetes.controllers.runtime import ContainerRuntime
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import Object, dig, micro_timestamp, timestamp
from aegis.simulator.kubernetes.resources import LEASES, NODES, PODS

_HEARTBEAT = timedelta(seconds=10)
_STATUS_EVERY = timedelta(minutes=5)
_HEALTH = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


class Kubelets:
    """The kubelets of all nodes that have power."""

    def __init__(self, cluster: Cluster, runtime: ContainerRuntime) -> None:
        self._cluster = cluster
        self._runtime = runtime
        self._host = Host(cluster.store, runtime, cluster.rng, self._say, self._write)
        self._workers: dict[str, dict[str, PodWorker]] = {}
        self._renewed_at: dict[str, datetime] = {}
        self._reported_at: dict[str, datetime] = {}
        self._addresses = 1

    def step(self, now: datetime) -> None:
        self._cluster.refresh()
        for node in self._cluster.all(NODES):
            name = node["metadata"]["name"]
            if self._runtime.has_power(name):
                self._beat(node, now)
                self._sync(name, node, now)

    def _sync(self, name: str, node: Object, now: datetime) -> None:
        workers = self._workers.setdefault(name, {})
        pods = {pod["metadata"]["uid"]: pod for pod in self._cluster.pods_on(name)}
        for uid in [uid for uid in workers if uid not in pods]:
            workers.pop(uid).abandon()
        for uid, pod in pods.items():
            if uid not in workers:
                workers[uid] = self._admit(pod, node, now)
            self._cluster.attempt(self._sync_pod, pod, workers, now)

    def _sync_pod(self, pod: Object, workers: dict[str, PodWorker], now: datetime) -> None:
        uid = pod["metadata"]["uid"]
        if workers[uid].sync(pod, now):
            del workers[uid]

    def _admit(self, pod: Object, node: Object, now: datetime) -> PodWorker:
        self._addresses += 1
        pod_ip = f"10.244.{self._addresses // 250 % 250}.{self._addresses % 250 + 1}"
        return PodWorker(pod, self._host, host_ip=_address_of(node), pod_ip=pod_ip, now=now)

    def _say(self, pod: Object, kind: EventType, reason: str, message: str) -> None:
        self._cluster.event(pod, kind, reason, message, "kubelet")

    def _write(self, pod: Object, status: Object) -> None:
        self._cluster.write_status(PODS, pod, status)

    # Heartbeat

    def _beat(self, node: Object, now: datetime) -> None:
        name = node["metadata"]["name"]
        renewed = self._renewed_at.get(name)
        if renewed is None or now - renewed >= _HEARTBEAT:
            self._renewed_at[name] = now
            self._renew_lease(name, now)
        reported = self._reported_at.get(name)
        conditions = dig(node, "status", "conditions", default=[])
        if reported is None or now - reported >= _STATUS_EVERY or not is_true(conditions, "Ready"):
            self._reported_at[name] = now
            self._report(node, conditions, now)

    def _renew_lease(self, name: str, now: datetime) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro_timestamp(now)}
        lease = {"metadata": {"name": name, "namespace": LEASE_NAMESPACE}, "spec": spec}
        if self._cluster.store.find(LEASES, LEASE_NAMESPACE, name) is None:
            self._cluster.store.create(LEASES, lease)
        else:
            self._cluster.store.update(LEASES, lease)

    def _report(self, node: Object, conditions: list[Object], now: datetime) -> None:
        was_ready = is_true(conditions, "Ready")
        for kind, health, reason, message in _HEALTH:
            conditions = with_condition(conditions, kind, health, now=now, reason=reason, message=message)
        beat = timestamp(now)
        conditions = [{**each, "lastHeartbeatTime": beat} for each in conditions]
        status = {**(node.get("status") or {}), "conditions": conditions}
        try:
            self._cluster.write_status(NODES, node, status)
        except ApiError:
            return  # deleted under its kubelet; it will be seen at the next look
        if not was_ready:
            name = node["metadata"]["name"]
            self._cluster.event(node, "Normal", "NodeReady", f"Node {name} status is now: NodeReady", "kubelet")


def _address_of(node: Object) -> str:
    addresses = dig(node, "status", "addresses", default=[])
    return next((each["address"] for each in addresses if each["type"] == "InternalIP"), "10.0.0.1")

"""A pod's status as its kubelet writes it: phase, conditions and the state of each container."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aegis.simulator.kubernetes.controllers.conditions import condition_of, with_condition
from aegis.simulator.kubernetes.objects import Object, dig, timestamp


@dataclass
class ContainerView:
    """What the kubelet knows about a container, as far as the API shows it."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Object = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    container_id: str = ""

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def terminated(self) -> Object | None:
        found: Object | None = self.state.get("terminated")
        return found

    @property
    def has_run(self) -> bool:
        return bool(self.container_id)


@dataclass
class PodView:
    """What the kubelet knows about a pod beyond its containers."""

    host_ip: str
    started_at: datetime
    pod_ip: str = ""
    has_sandbox: bool = False


def status_of(pod: Object, view: PodView, containers: Sequence[ContainerView], now: datetime) -> Object:
    """Write the status anew, keeping what others than the kubelet say in it."""
    old = pod.get("status") or {}
    status: Object = {
        **{key: value for key, value in old.items() if key not in ("reason", "message")},
        "phase": phase_of(pod, containers),
        "conditions": _conditions(pod, view, containers, now),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "startTime": timestamp(view.started_at),
        "containerStatuses": [_container_status(each) for each in containers],
    }
    if view.pod_ip:
        status |= {"podIP": view.pod_ip, "podIPs": [{"ip": view.pod_ip}]}
    return status


def phase_of(pod: Object, containers: Sequence[ContainerView]) -> str:
    """Say where the pod is in its life."""
    policy = dig(pod, "spec", "restartPolicy", default="Always")
    ended = [each.terminated for each in containers]
    over = all(each is not None for each in ended)
    ending = dig(pod, "metadata", "deletionTimestamp") is not None
    if over and (ending or policy != "Always"):
        failed = any(each is not None and each["exitCode"] != 0 for each in ended)
        if not failed:
            return "Succeeded"
        if ending or policy == "Never":
            return "Failed"
    return "Running" if all(each.has_run for each in containers) else "Pending"


def _conditions(pod: Object, view: PodView, containers: Sequence[ContainerView], now: datetime) -> list[Object]:
    old = dig(pod, "status", "conditions", default=[])
    others = [each for each in old if each["type"] not in _ORDER]
    kept = [found for kind in _ORDER if (found := condition_of(old, kind))]
    over = phase_of(pod, containers) in ("Succeeded", "Failed")
    for kind, reason, message in _wanted(view, containers, over=over):
        status = "True" if not reason or kind == "Initialized" else "False"
        kept = with_condition(kept, kind, status, now=now, reason=reason, message=message)
    return sorted(kept, key=lambda each: _ORDER.index(each["type"])) + others


def _wanted(view: PodView, containers: Sequence[ContainerView], *, over: bool) -> list[tuple[str, str, str]]:
    """Say for each condition why it does not hold; no reason means that it does."""
    unready = [each.name for each in containers if not each.ready]
    if over:
        ended = ("PodReadyToStartContainers", "PodSandboxNotReady", "pod sandbox is not ready")
        return [ended, *((kind, "PodCompleted", "") for kind in ("Initialized", "Ready", "ContainersReady"))]
    sandbox = ("", "") if view.has_sandbox else ("PodSandboxNotReady", "no pod sandbox exists")
    ready = ("", "")
    if unready:
        ready = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    return [
        ("PodReadyToStartContainers", *sandbox),
        ("Initialized", "", ""),
        ("Ready", *ready),
        ("ContainersReady", *ready),
    ]


_ORDER = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def _container_status(container: ContainerView) -> Object:
    return {
        "name": container.name,
        "state": container.state,
        "lastState": container.last_state,
        "ready": container.ready,
        "restartCount": container.restarts,
        "image": container.image,
        "imageID": f"{container.image}@sha256:simulated" if container.has_run else "",
        **({"containerID": container.container_id} if container.container_id else {}),
        "started": container.started,
    }

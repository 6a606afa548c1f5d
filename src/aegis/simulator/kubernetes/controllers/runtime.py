"""What a kubelet needs from the machine below it: processes that start, exit and answer probes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from aegis.simulator.kubernetes.objects import Object

ProbeKind = Literal["startup", "readiness", "liveness"]


@dataclass(frozen=True)
class Running:
    started_at: datetime


@dataclass(frozen=True)
class Exited:
    exit_code: int
    at: datetime
    oom_killed: bool = False


class ContainerRuntime(Protocol):
    """Containers are known by their pod's uid and their name; `pod` and `container` are as in the API."""

    def has_power(self, node: str) -> bool:
        """Tell whether the node's machine runs; without power its kubelet is silent."""
        ...

    def image_exists(self, image: str) -> bool: ...

    def start(self, pod: Object, container: Object) -> None: ...

    def stop(self, pod_uid: str, container: str) -> None:
        """Ask the process to end (SIGTERM); it may take its time."""
        ...

    def kill(self, pod_uid: str, container: str) -> None:
        """End the process now (SIGKILL) and forget the container."""
        ...

    def state(self, pod_uid: str, container: str) -> Running | Exited | None:
        """Return None for a container that was never started here, or was forgotten."""
        ...

    def probe_failure(self, pod: Object, container: str, kind: ProbeKind) -> str | None:
        """Ask the process; None means that it passed, else what the prober saw."""
        ...

    def cores_used(self, pod_uid: str) -> float | None:
        """Return the CPU that a pod's processes use; None until it was measured."""
        ...

    def logs(self, pod_uid: str, container: str, *, previous: bool = False) -> list[str]: ...

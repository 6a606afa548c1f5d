"""Where everything is: folders, addresses, names."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "aegis-testbed"
STATE = Path.home() / ".local" / "state" / "aegis-testbed"
NODE = "node1"
NODE_ADDRESS = "10.99.0.1"
HOST_ADDRESS = "10.99.0.254"
LINK_PREFIX = 24
SERVICES = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"
PROMETHEUS = f"http://{NODE_ADDRESS}:9090"
STATE_METRICS = "127.0.0.1:9091"
KUBELET_PORT = 10250
DNS_ADDRESS = "10.96.0.10"
PODS = "10.244.0.0/16"
NODE_PODS = "10.244.0.0/24"
API_SERVER = f"https://{NODE_ADDRESS}:6443"
HOST_LINK = "aegis-testbed"
POD_BRIDGE = "cni0"
CGROUP = "aegis-testbed"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
UNFINISHED = "unfinished-"
BASE_IMAGES = ("docker.io/library/busybox:1.36", "docker.io/library/python:3.13-slim")
"""Stand-ins under the names that manifests use on any cluster; nothing is pulled here."""


@dataclass(frozen=True)
class Cache:
    """What is worth keeping between clusters: programs and images. Everything in it can be made anew."""

    folder: Path

    @property
    def prometheus(self) -> Path:
        """What Debian's package holds, laid out as it would be under /."""
        return self.folder / "prometheus"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def importing(self) -> Path:
        """The state of the containerd that imports images; gone once it has."""
        return self.folder / "importing"

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """Yield a folder for what is not whole yet. What is whole is renamed out of it; after a crash it is found."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=UNFINISHED) as name:
            yield Path(name)

    def image_store(self, key: str) -> Path:
        """The folder of a containerd with the images and nothing else."""
        return self.folder / f"containerd-{key}"

    def programs(self, key: str) -> Path:
        return self.folder / f"programs-{key}"


@dataclass(frozen=True)
class State:
    """One running cluster's files. Gone when it is down."""

    folder: Path

    @property
    def settings_before(self) -> Path:
        """The kernel settings that the kubelet changes, as they were."""
        return self.folder / "kernel-settings.json"

    @property
    def release(self) -> Path:
        """Which Kubernetes it is."""
        return self.folder / "release"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def var(self) -> Path:
        """The node's own /var."""
        return self.folder / "var"

    @property
    def recording_rules(self) -> Path:
        return self.folder / "recording-rules.yaml"

    @property
    def containerd(self) -> Path:
        return self.var / "lib" / "containerd"

    @property
    def pod_logs(self) -> Path:
        return self.var / "log" / "pods"

    @property
    def network_plugins(self) -> Path:
        return self.folder / "cni"

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

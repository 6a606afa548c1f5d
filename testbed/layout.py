"""Where everything is: folders, addresses, names. Nothing here does anything."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NODE = "node1"
NODE_ADDRESS = "10.99.0.1"
HOST_ADDRESS = "10.99.0.254"
LINK_PREFIX = 24
SERVICES = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
PODS = "10.244.0.0/16"
NODE_PODS = "10.244.0.0/24"
API_SERVER = f"https://{NODE_ADDRESS}:6443"
HOST_LINK = "aegis-testbed"
CGROUP = "aegis-testbed"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
BASE_IMAGE = "docker.io/library/busybox:1.36"
"""A stand-in under the name that manifests use on any cluster; nothing is pulled here."""


@dataclass(frozen=True)
class Cache:
    """What is worth keeping between clusters: programs and images. Everything in it can be made anew."""

    folder: Path

    @property
    def etcd(self) -> Path:
        return self.folder / "etcd"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def programs(self, module_hash: str) -> Path:
        return self.folder / f"programs-{module_hash}"


@dataclass(frozen=True)
class State:
    """One running cluster's files. Gone when it is down."""

    folder: Path

    @property
    def settings_before(self) -> Path:
        """The kernel settings that the kubelet changes, as they were."""
        return self.folder / "kernel-settings.json"

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
    def network_plugins(self) -> Path:
        return self.folder / "cni"

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

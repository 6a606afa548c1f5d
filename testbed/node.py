"""containerd, kubelet and kube-proxy: a node whose pods really run."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed import api, commands, machine
from testbed.errors import TestbedError
from testbed.layout import (
    CGROUP,
    CONTAINERD_SOCKET,
    DNS_ADDRESS,
    NODE,
    NODE_ADDRESS,
    NODE_PODS,
    PAUSE_IMAGE,
    POD_BRIDGE,
    PODS,
    Cache,
    State,
)
from testbed.programs import Release

FAIL_CGROUP_V1_SINCE = 31


def ensure_image_store(cache: Cache, key: str, archives: Sequence[Path], tell: Callable[[str], None]) -> Path:
    """Import the images once into a containerd that holds nothing else, and keep its folder."""
    store = cache.image_store(key)
    if store.is_dir():
        return store
    tell("importing the images (once)")
    end_import(cache)
    state = State(cache.importing)
    state.logs.mkdir(parents=True)
    try:
        machine.begin(state)
        _run_containerd(state)
        for archive in archives:
            import_images(state, archive)
        machine.end(state)
        state.containerd.rename(store)
    finally:
        end_import(cache)
    return store


def import_images(state: State, archive: Path) -> str:
    """Import into a containerd that runs, and return what it says."""
    # The node has a /var of its own: there it would not find what the machine has in its.
    seen = state.folder / "import.tar"
    shutil.copy(archive, seen)
    try:
        return machine.run(state, "ctr", "--namespace=k8s.io", "images", "import", seen)
    finally:
        seen.unlink()


def end_import(cache: Cache) -> None:
    """End what an import has begun, also one that was cut short."""
    if cache.importing.is_dir():
        machine.end(State(cache.importing))
        shutil.rmtree(cache.importing)


def start_containerd(state: State, store: Path) -> None:
    """Start containerd with the images. It needs nothing of the control plane."""
    # Images never change, so links do; containerd's databases do change.
    commands.run(["cp", "--archive", "--link", store, state.containerd])
    for database in store.glob("*/*.db"):
        own = state.containerd / database.relative_to(store)
        own.unlink()
        shutil.copy(database, own)
    _run_containerd(state)


def _run_containerd(state: State) -> None:
    state.network_plugins.mkdir()
    (state.network_plugins / "10-bridge.conflist").write_text(json.dumps(_bridge()))
    config = state.folder / "containerd.toml"
    config.write_text(_containerd(state))
    machine.start(state, "containerd", [_program("containerd"), "--config", config])
    api.wait_until(lambda: machine.run(state, "ctr", "version"), "containerd does not answer")


def start_kubelet(state: State, programs: Path, release: Release) -> None:
    """Start kubelet and kube-proxy, and wait until the node is ready."""
    config, resolver = state.folder / "kubelet.yaml", state.folder / "resolv.conf"
    resolver.touch()
    config.write_text(json.dumps(kubelet_config(state, resolver, release)))
    machine.start(
        state,
        "kubelet",
        [programs / "kubelet", f"--config={config}", f"--kubeconfig={state.kubeconfig(NODE)}",
         f"--hostname-override={NODE}", f"--node-ip={NODE_ADDRESS}"],
    )  # fmt: skip
    machine.start(
        state,
        "kube-proxy",
        [programs / "kube-proxy", f"--kubeconfig={state.kubeconfig('proxy')}", "--proxy-mode=iptables",
         f"--cluster-cidr={PODS}", f"--hostname-override={NODE}",
         "--conntrack-max-per-core=0"],  # a setting of the whole machine: not ours to change
    )  # fmt: skip
    api.wait_until_condition(state, f"/api/v1/nodes/{NODE}", "Ready")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise TestbedError(f"there is no {name} on PATH")
    return found


def _containerd(state: State) -> str:
    return f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Root may lack CAP_SYS_RESOURCE; without this runc dies with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state.network_plugins}"
"""


def _bridge() -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": NODE_PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": POD_BRIDGE, "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "testbed", "plugins": [{**bridge, "ipam": addresses}, ports]}


def kubelet_config(state: State, resolver: Path, release: Release) -> dict[str, object]:
    certificates = state.certificates
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{certificates}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "failSwapOn": False,
        "evictionHard": {"imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "tlsCertFile": f"{certificates}/{NODE}.crt",
        "tlsPrivateKeyFile": f"{certificates}/{NODE}.key",
        "nodeStatusUpdateFrequency": "4s",
    }
    if release.minor >= FAIL_CGROUP_V1_SINCE:
        config["failCgroupV1"] = False  # version 1 is refused by default since 1.35
    return config

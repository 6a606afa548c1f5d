"""containerd, kubelet and kube-proxy: a node whose pods really run."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from testbed import commands, machine
from testbed.errors import TestbedError
from testbed.layout import (
    CGROUP,
    CONTAINERD_SOCKET,
    DNS_ADDRESS,
    NODE,
    NODE_ADDRESS,
    NODE_PODS,
    PAUSE_IMAGE,
    PODS,
    State,
)

READY_WITHIN_S = 90.0
A_MOMENT_S = 0.1


def start_containerd(state: State, archive: Path) -> None:
    """Start containerd and load the images. It needs nothing of the control plane."""
    state.network_plugins.mkdir()
    (state.network_plugins / "10-bridge.conflist").write_text(json.dumps(_bridge()))
    config = state.folder / "containerd.toml"
    config.write_text(_containerd(state))
    machine.start(state, "containerd", [_program("containerd"), "--config", config])
    _wait(lambda: machine.run(state, "ctr", "version"), "containerd does not answer")
    machine.run(state, "ctr", "--namespace=k8s.io", "images", "import", archive)


def start_kubelet(state: State, programs: Path, kubectl: Path) -> None:
    """Start kubelet and kube-proxy, and wait until the node is ready."""
    config, resolver = state.folder / "kubelet.yaml", state.folder / "resolv.conf"
    resolver.touch()
    config.write_text(json.dumps(_kubelet(state, resolver)))
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
    ask: list[str | Path] = [kubectl, f"--kubeconfig={state.kubeconfig('admin')}", "get", "node", NODE, "--output"]
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"

    def is_ready() -> None:
        if commands.run([*ask, ready]).strip() != "True":
            raise TestbedError(f"{NODE} is not Ready")

    _wait(is_ready, "the node is not Ready")


def _wait(attempt: Callable[[], object], complaint: str) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            attempt()
        except TestbedError as error:
            if time.monotonic() > until:
                raise TestbedError(f"{complaint} after {READY_WITHIN_S:.0f} s ({error})") from error
            time.sleep(A_MOMENT_S)
        else:
            return


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
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "testbed", "plugins": [{**bridge, "ipam": addresses}, ports]}


def _kubelet(state: State, resolver: Path) -> dict[str, object]:
    certificates = state.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,  # version 1 is refused by default since 1.35
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

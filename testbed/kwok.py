"""Pretend nodes on the real control plane: pods that are put there count as running, and never run."""

import shutil
from pathlib import Path

import yaml

from testbed import api, commands, machine
from testbed.layout import Cache, State
from testbed.programs import ADDONS, KWOK, source_of

MODULE = "sigs.k8s.io/kwok"
STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
"""Of kwok's own: how nodes and pods come to be ready, and go."""
ANNOTATION = "kwok.x-k8s.io/node"
LEASE_S = 40
ROOM = {"cpu": "32", "memory": "256Gi", "pods": "110"}


def ensure_stages(cache: Cache) -> Path:
    """Gather the stages from the sources of the very kwok that is built."""
    stages = cache.programs(ADDONS.key()) / "kwok-stages.yaml"
    if not stages.is_file():
        folder = source_of(ADDONS, MODULE) / "kustomize" / "stage"
        files = [file for stage in STAGES for file in sorted((folder / stage).glob("*.yaml"))]
        texts = [file.read_text() for file in files if file.name != "kustomization.yaml"]
        unfinished = stages.with_suffix(".new")
        unfinished.write_text("\n---\n".join(texts))
        unfinished.rename(stages)
    return stages


def start(state: State, programs: Path, kubectl: Path, stages: Path, count: int) -> None:
    """Create so many nodes, and wait until all are ready."""
    config = state.folder / "kwok-stages.yaml"
    shutil.copy(stages, config)
    machine.start(
        state,
        KWOK,
        [programs / KWOK, f"--kubeconfig={state.kubeconfig('kwok')}", f"--config={config}", "--cidr=10.245.0.0/16",
         f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake", f"--node-lease-duration-seconds={LEASE_S}"],
    )  # fmt: skip
    manifest = state.folder / "kwok-nodes.yaml"
    manifest.write_text(yaml.safe_dump_all(node(number) for number in range(1, count + 1)))
    admin = f"--kubeconfig={state.kubeconfig('admin')}"
    commands.run([kubectl, admin, "create", "--filename", manifest])
    for number in range(1, count + 1):
        api.wait_until_condition(state, f"/api/v1/nodes/{node_name(number)}", "Ready")


def node(number: int) -> dict[str, object]:
    """Describe a node that only pods which tolerate its taint are put on."""
    name = node_name(number)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION: "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "spec": {"taints": [{"key": ANNOTATION, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": ROOM, "capacity": ROOM},
    }


def node_name(number: int) -> str:
    return f"kwok-{number}"

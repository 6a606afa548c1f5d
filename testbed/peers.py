"""What Aegis is measured beside: Argo Rollouts, built from its own Go module, running on the testbed's cluster."""

from collections.abc import Callable
from pathlib import Path

from testbed import commands, machine
from testbed.layout import Cache, State
from testbed.programs import PEERS, ROLLOUTS, ensure_programs, source_of

ROLLOUTS_MODULE = "github.com/argoproj/argo-rollouts"


def start_rollouts(state: State, cache: Cache, kubectl: Path, tell: Callable[[str], None]) -> None:
    """Install its custom resources and start its controller, as the cluster's administrator."""
    controller = ensure_programs(cache, PEERS, [ROLLOUTS], tell) / ROLLOUTS
    kubeconfig = state.kubeconfig("admin")
    resources = source_of(PEERS, ROLLOUTS_MODULE) / "manifests" / "crds"
    commands.run([kubectl, f"--kubeconfig={kubeconfig}", "apply", "--server-side", "--kustomize", resources])
    machine.start(
        state, ROLLOUTS, [controller, f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--loglevel=warn"]
    )

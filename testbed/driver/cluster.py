"""The testbed's cluster as its administrator sees it: through kubectl."""

import json
import os
import random
import string
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from testbed import machine
from testbed.errors import TestbedError
from testbed.layout import Cache, State
from testbed.programs import KUBECTL, RELEASES

A_MOMENT_S = 0.5
ASKS_WITHIN_S = 60
Object = dict[str, Any]
T = TypeVar("T")


def wait_for(look: Callable[[], T], is_it: Callable[[T], bool] = bool, *, within_s: float, what: str) -> T:
    """Look until it is what is waited for, by default until there is anything; what was seen last is told."""
    until = time.monotonic() + within_s
    while not is_it(seen := look()):
        assert time.monotonic() < until, f"{what}: not within {within_s:.0f} s; last seen: {seen!r}"
        time.sleep(A_MOMENT_S)
    return seen


@dataclass(frozen=True)
class Cluster:
    """A real cluster, as its administrator."""

    kubeconfig: Path
    binary: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.binary.parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        command = [str(self.binary), *arguments]
        done = subprocess.run(
            command, check=False, env=self.environment, input=stdin, capture_output=True, text=True,
            timeout=ASKS_WITHIN_S,
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def new_namespace(self, prefix: str, *, mode: str = "") -> str:
        """Make a namespace with a drawn name; `mode` says what Aegis may do in it."""
        name = f"{prefix}-" + "".join(random.SystemRandom().choices(string.ascii_lowercase, k=5))
        self.kubectl("create", "namespace", name)
        if mode:
            self.kubectl("label", "namespace", name, f"aegis.dev/mode={mode}")
        return name

    def apply(self, *objects: Object, manager: str = "kubectl") -> None:
        """Apply as an owner does: server-side, without force, so that a field of somebody else's is a conflict."""
        text = yaml.safe_dump_all(objects)
        self.kubectl("apply", "--server-side", f"--field-manager={manager}", "--filename", "-", stdin=text)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        found: Object = json.loads(
            self.kubectl("-n", namespace, "get", kind, name, "--show-managed-fields", "-o", "json")
        )
        return found

    def list(self, kind: str, namespace: str, selector: str = "") -> Sequence[Object]:
        text = self.kubectl("-n", namespace, "get", kind, f"--selector={selector}", "-o", "json")
        found: Sequence[Object] = json.loads(text)["items"]
        return found

    def address_of(self, namespace: str, service: str) -> str:
        return str(self.get("service", namespace, service)["spec"]["clusterIP"])

    def wait_until_rolled_out(self, namespace: str, name: str, *, within_s: float = 120) -> None:
        self.kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={within_s:.0f}s")


def running_cluster(state: State, cache: Cache) -> Cluster:
    """Return the cluster that is up.

    Raises:
        TestbedError: none is.
    """
    if not machine.is_up(state):
        raise TestbedError("no cluster is up: `make cluster` starts one")
    release = next(each for each in RELEASES.values() if each.version in state.release.read_text())
    return Cluster(state.kubeconfig("admin"), cache.programs(release.module.key()) / KUBECTL)

"""`python -m testbed up | down | logs | build`: what `make cluster` and its sisters call."""

import argparse
import fcntl
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed import control_plane, machine, node
from testbed.certificates import make_certificates
from testbed.errors import TestbedError
from testbed.images import ensure_images
from testbed.layout import Cache, State
from testbed.programs import (
    CONTROL_PLANE,
    KUBECTL,
    NODE,
    ensure_etcd,
    ensure_kubernetes,
    ensure_packages,
    module_hash,
    refuse_elsewhere,
)

CACHE = Path.home() / ".cache" / "aegis-testbed"
STATE = Path.home() / ".local" / "state" / "aegis-testbed"
LOG_LINES = 15


class Testbed:
    """One cluster on this machine, or none."""

    def __init__(self, cache: Cache, state: State) -> None:
        self._cache = cache
        self._state = state

    def build(self, *, with_node: bool) -> tuple[Path, Path, Path | None]:
        """Make sure that every program and image is there; return programs, etcd and images."""
        ensure_packages(tell, node=with_node)
        etcd = ensure_etcd(self._cache, tell)
        images = ensure_images(self._cache, tell) if with_node else None
        names = (KUBECTL, *CONTROL_PLANE, *(NODE if with_node else ()))
        return ensure_kubernetes(self._cache, names, tell), etcd, images

    def up(self, *, with_node: bool) -> None:
        """Build what is missing and start; a start that fails half-way leaves nothing behind but its logs."""
        if machine.is_up(self._state):
            tell("it is up already")
            self._say_how_to_use()
            return
        programs, etcd, images = self.build(with_node=with_node)
        began = time.monotonic()
        self.down()
        self._state.logs.mkdir(parents=True)
        try:
            self._start(programs, etcd, images)
        except (TestbedError, OSError, KeyboardInterrupt):
            self.logs(None)
            self.down(keep_logs=True)
            raise
        tell(f"up in {time.monotonic() - began:.1f} s: {'one node' if with_node else 'control plane only'}")
        self._say_how_to_use()

    def _start(self, programs: Path, etcd: Path, images: Path | None) -> None:
        make_certificates(self._state)
        control_plane.write_audit_policy(self._state)
        machine.begin(self._state)
        with ThreadPoolExecutor() as pool:
            loading = pool.submit(node.start_containerd, self._state, images) if images is not None else None
            control_plane.start(self._state, programs, etcd)
            if loading is not None:
                loading.result()
        if images is not None:
            node.start_kubelet(self._state, programs, programs / KUBECTL)

    def down(self, *, keep_logs: bool = False) -> None:
        """Leave the machine as it was, whatever state the cluster is in."""
        machine.end(self._state)
        if not self._state.folder.is_dir():
            return
        for each in self._state.folder.iterdir():
            if each == self._state.logs and keep_logs:
                continue
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        if not keep_logs:
            self._state.folder.rmdir()

    def logs(self, name: str | None) -> None:
        """Print one program's log, or the end of each."""
        found = sorted(self._state.logs.glob("*.log")) if self._state.logs.is_dir() else []
        if name is not None:
            found = [log for log in found if log.stem == name]
        if not found:
            raise TestbedError(f"there is no log{f' of {name}' if name else ''} in {self._state.logs}")
        for log in found:
            lines = log.read_text(errors="replace").splitlines()
            shown = lines if name is not None else lines[-LOG_LINES:]
            print(f"== {log}", *shown, sep="\n")

    def _say_how_to_use(self) -> None:
        print(f"export KUBECONFIG={self._state.kubeconfig('admin')}")
        if shutil.which(KUBECTL) is None:
            print(f"export PATH={self._cache.programs(module_hash())}:$PATH  # there is no other kubectl here")


def tell(message: str) -> None:
    print(f"testbed: {message}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed", description="A real Kubernetes node on this machine.")
    parser.add_argument("command", choices=("up", "down", "logs", "build"))
    parser.add_argument("name", nargs="?", help="logs: of this program, whole")
    parser.add_argument("--control-plane-only", action="store_true", help="no node: pods are never run")
    given = parser.parse_args()
    testbed = Testbed(Cache(CACHE), State(STATE))
    try:
        if given.command == "logs":
            testbed.logs(given.name)
            return 0
        refuse_elsewhere()
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            # Two at once would start what the other is taking down.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if given.command == "up":
                testbed.up(with_node=not given.control_plane_only)
            elif given.command == "build":
                testbed.build(with_node=not given.control_plane_only)
            else:
                testbed.down()
    except TestbedError as error:
        tell(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m testbed up | down | logs | import | build | rules`: what `make cluster` and its sisters call."""

import argparse
import fcntl
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from testbed import addons, commands, control_plane, kwok, machine, node
from testbed.certificates import make_certificates
from testbed.errors import TestbedError
from testbed.images import ensure_base_images, ensure_program_images
from testbed.layout import CACHE, PROMETHEUS, STATE, UNFINISHED, Cache, State
from testbed.programs import (
    ADDONS,
    CONTROL_PLANE,
    COREDNS,
    ETCD,
    KUBE_ROUTER,
    KUBECTL,
    KWOK,
    METRICS_SERVER,
    NODE,
    PROVISIONER,
    RELEASES,
    VOLUMES,
    Release,
    ensure_packages,
    ensure_programs,
    ensure_prometheus,
    refuse_elsewhere,
)

LOG_LINES = 15
KWOK_NODES_MOST = 1000


@dataclass(frozen=True)
class Wanted:
    """What the cluster should be."""

    release: Release
    with_node: bool
    kwok_nodes: int

    def __str__(self) -> str:
        parts = ["control plane", *(["one node, add-ons"] if self.with_node else [])]
        if self.kwok_nodes:
            parts.append(f"{self.kwok_nodes} pretend nodes")
        return f"Kubernetes {self.release.version}: {', '.join(parts)}"


@dataclass(frozen=True)
class Built:
    """Where that is which a cluster is made of."""

    kubernetes: Path
    addons: Path
    image_store: Path | None
    prometheus: Path | None
    kwok_stages: Path | None


class Testbed:
    """One cluster on this machine, or none."""

    def __init__(self, cache: Cache, state: State) -> None:
        self._cache = cache
        self._state = state

    def build(self, wanted: Wanted) -> Built:
        """Make sure that everything is there which the cluster is made of."""
        if machine.is_up(self._state):
            raise TestbedError("a cluster is up, and images are imported where it is: `make cluster-down` first")
        cache = self._cache
        ensure_packages(tell, node=wanted.with_node)
        in_pods = (COREDNS, METRICS_SERVER)
        beside = [ETCD, *([KUBE_ROUTER, *in_pods] if wanted.with_node else []), *([KWOK] if wanted.kwok_nodes else [])]
        kubernetes = (KUBECTL, *CONTROL_PLANE, *(NODE if wanted.with_node else ()))
        programs = ensure_programs(cache, ADDONS, beside, tell)
        store = None
        if wanted.with_node:
            volumes = ensure_programs(cache, VOLUMES, [PROVISIONER], tell)
            of_pods = {**{name: programs / name for name in in_pods}, PROVISIONER: volumes / PROVISIONER}
            base = ensure_base_images(cache, tell)
            own = ensure_program_images(cache, f"{ADDONS.key()}-{VOLUMES.key()}", of_pods, tell)
            key = hashlib.sha256(f"{base.name} {own.name}".encode()).hexdigest()[:16]
            store = node.ensure_image_store(cache, key, [base, own], tell)
        return Built(
            kubernetes=ensure_programs(cache, wanted.release.module, kubernetes, tell),
            addons=programs,
            image_store=store,
            prometheus=ensure_prometheus(cache, tell) if wanted.with_node else None,
            kwok_stages=kwok.ensure_stages(cache) if wanted.kwok_nodes else None,
        )

    def up(self, wanted: Wanted) -> None:
        """Build what is missing and start; a start that fails half-way leaves nothing behind but its logs."""
        if machine.is_up(self._state):
            self._refuse_another(wanted)
            tell("it is up already")
            self._say_how_to_use(wanted)
            return
        self.down()
        built = self.build(wanted)
        began = time.monotonic()
        self._state.logs.mkdir(parents=True)
        try:
            self._start(wanted, built)
        except (TestbedError, OSError, KeyboardInterrupt):
            self.logs(None)
            self.down(keep_logs=True)
            raise
        tell(f"up in {time.monotonic() - began:.1f} s: {wanted}")
        self._say_how_to_use(wanted)

    def _start(self, wanted: Wanted, built: Built) -> None:
        state, kubectl = self._state, built.kubernetes / KUBECTL
        state.release.write_text(str(wanted))
        make_certificates(state)
        control_plane.write_audit_policy(state)
        machine.begin(state)
        with ThreadPoolExecutor() as pool:
            store = built.image_store
            loading = pool.submit(node.start_containerd, state, store) if store is not None else None
            control_plane.start(state, built.kubernetes, built.addons / ETCD)
            if loading is not None:
                addons.apply(state, kubectl)
                loading.result()
        if built.prometheus is not None:
            node.start_kubelet(state, built.kubernetes, wanted.release)
            addons.start(state, built.addons, built.prometheus)
        if built.kwok_stages is not None:
            kwok.start(state, built.addons, kubectl, built.kwok_stages, wanted.kwok_nodes)

    def bring(self, archive: Path) -> None:
        """Import images into the running cluster."""
        if not archive.is_file():
            raise TestbedError(f"there is no archive {archive}: `make cluster-import ARCHIVE=FILE`")
        if not machine.is_up(self._state):
            raise TestbedError("no cluster is up: `make cluster`")
        tell(f"importing {archive}")
        print(node.import_images(self._state, archive), end="")

    def check_rules(self) -> str:
        """Let promtool check the recording rules, and what they make of series that are written down."""
        promtool = ensure_prometheus(self._cache, tell) / "usr/bin/promtool"
        rules, tests = addons.RECORDING_RULES, addons.RECORDING_RULES.with_suffix(".test.yaml")
        return commands.run([promtool, "check", "rules", rules]) + commands.run([promtool, "test", "rules", tests])

    def _refuse_another(self, wanted: Wanted) -> None:
        running = self._state.release.read_text()
        if running != str(wanted):
            raise TestbedError(f"this one is up: {running}. Take it down first: `make cluster-down`")

    def down(self, *, keep_logs: bool = False) -> None:
        """Leave the machine as it was, whatever state the cluster is in."""
        node.end_import(self._cache)
        for unfinished in self._cache.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
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
        found = [(one, log) for one, log in self._logs() if name in (None, one)]
        if not found:
            raise TestbedError(f"there is no log{f' of {name}' if name else ''} in {self._state.logs}")
        for one, log in found:
            lines = log.read_text(errors="replace").splitlines()
            shown = lines if name is not None else lines[-LOG_LINES:]
            print(f"== {one}: {log}", *shown, sep="\n")

    def _logs(self) -> Iterator[tuple[str, Path]]:
        """Yield the log of each program, and of each add-on's container, newest last."""
        for log in sorted(self._state.logs.glob("*.log")):
            yield log.stem, log
        for addon in ("kube-system_*", "local-path-storage_*"):
            for log in sorted(self._state.pod_logs.glob(f"{addon}/*/*.log")):
                yield log.parent.name, log

    def _say_how_to_use(self, wanted: Wanted) -> None:
        print(f"export KUBECONFIG={self._state.kubeconfig('admin')}")
        if shutil.which(KUBECTL) is None:
            programs = self._cache.programs(wanted.release.module.key())
            print(f"export PATH={programs}:$PATH  # there is no other kubectl here")
        if wanted.with_node:
            print(f"export PROMETHEUS={PROMETHEUS}")


def tell(message: str) -> None:
    print(f"testbed: {message}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str]) -> tuple[str, str | None, Wanted]:
    """Return the command, the program that it is about, and what the cluster should be."""
    parser = argparse.ArgumentParser(prog="testbed", description="A real Kubernetes node on this machine.")
    parser.add_argument("command", choices=("up", "down", "logs", "import", "build", "rules"))
    parser.add_argument("name", nargs="?", help="logs: of this program, whole; import: this archive of images")
    parser.add_argument("--release", choices=list(RELEASES), default=next(iter(RELEASES)), help="of Kubernetes")
    parser.add_argument("--control-plane-only", action="store_true", help="no node: pods are never run")
    parser.add_argument("--kwok-nodes", type=_count, default=0, metavar="N", help="pretend nodes beside it")
    given = parser.parse_args(arguments)
    wanted = Wanted(RELEASES[given.release], not given.control_plane_only, given.kwok_nodes)
    return given.command, given.name, wanted


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= KWOK_NODES_MOST:
        raise argparse.ArgumentTypeError(f"0 to {KWOK_NODES_MOST} nodes")
    return count


def main() -> int:
    command, name, wanted = parse(sys.argv[1:])
    testbed = Testbed(Cache(CACHE), State(STATE))
    try:
        if command == "logs":
            testbed.logs(name)
            return 0
        refuse_elsewhere()
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            # Two at once would start what the other is taking down.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if command == "up":
                testbed.up(wanted)
            elif command == "build":
                testbed.build(wanted)
            elif command == "import":
                testbed.bring(Path(name or ""))
            elif command == "rules":
                print(testbed.check_rules(), end="")
            else:
                testbed.down()
    except TestbedError as error:
        tell(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

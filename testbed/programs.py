"""The programs a cluster is made of: Debian's packages, and what is built from Go modules that are pinned here."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from testbed.commands import run
from testbed.errors import TestbedError
from testbed.layout import HERE, Cache

Tell = Callable[[str], None]

KUBECTL = "kubectl"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE = ("kubelet", "kube-proxy")
ETCD, KUBE_ROUTER, KWOK = "etcd", "kube-router", "kwok"
COREDNS, METRICS_SERVER, PROVISIONER = "coredns", "metrics-server", "local-path-provisioner"
ROLLOUTS = "rollouts-controller"

# A program that only this package brings, and the package.
DEBIAN_CONTROL_PLANE = {"ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps"}
DEBIAN_NODE = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
PROGRESS_EVERY_S = 15.0
SHOWN_LINES = 30
_KUBERNETES = re.compile(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)")
_IMPORT = re.compile(r'^(?:import)?\s*_ "(?P<package>[^"]+)"(?: // (?P<name>\S+))?$', re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """A Go module under `modules/`: its go.mod and go.sum pin what the programs named in its tools.go are built of."""

    name: str

    @property
    def folder(self) -> Path:
        return HERE / "modules" / self.name

    def packages(self) -> dict[str, str]:
        """Return each program and its package; a comment names the program where the package's last part does not."""
        imports = _IMPORT.finditer((self.folder / "tools.go").read_text())
        return {one["name"] or one["package"].rpartition("/")[2]: one["package"] for one in imports}

    def key(self) -> str:
        """Name exactly what is built: every module of it by content, and how it is linked."""
        sums = (self.folder / "go.sum").read_bytes()
        return hashlib.sha256(sums + self.linker_flags().encode()).hexdigest()[:16]

    def kubernetes(self) -> re.Match[str] | None:
        return _KUBERNETES.search((self.folder / "go.mod").read_text())

    def linker_flags(self) -> str:
        """Tell Kubernetes' programs which release they are, as its own build does; kubectl refuses to compare else."""
        found = self.kubernetes()
        if found is None:
            return "-s -w"
        version, major, minor = found.groups()
        values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        return " ".join(
            ["-s -w", *(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())]
        )


ADDONS, VOLUMES, PEERS = Module("addons"), Module("volumes"), Module("peers")


@dataclass(frozen=True)
class Release:
    """A release of Kubernetes that the testbed can run."""

    name: str

    @property
    def module(self) -> Module:
        return Module(f"kubernetes-{self.name}")

    @property
    def minor(self) -> int:
        return int(self.name.partition(".")[2])

    @property
    def version(self) -> str:
        found = self.module.kubernetes()
        if found is None:
            raise TestbedError(f"{self.module.folder / 'go.mod'} requires no k8s.io/kubernetes")
        return found[1]


RELEASES = {name: Release(name) for name in ("1.37", "1.28")}
"""The default first."""


def refuse_elsewhere() -> None:
    """The testbed needs Linux and root; say what to use where that is not so."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        here = "not Linux" if platform.system() != "Linux" else "not root"
        raise TestbedError(
            f"the testbed makes namespaces and control groups: it needs root on Linux, and this is {here}. "
            "Use kind instead: `kind create cluster`, then `aegis up --kubeconfig ~/.kube/config`."
        )


def ensure_packages(tell: Tell, *, node: bool) -> None:
    """Install the Debian packages that are missing."""
    wanted = DEBIAN_CONTROL_PLANE | (DEBIAN_NODE if node else {})
    missing = sorted({package for program, package in wanted.items() if shutil.which(program) is None})
    if not missing:
        return
    _refuse_without_apt(missing)
    tell(f"installing {', '.join(missing)} (apt)")
    run(["apt-get", "update", "-qq"])
    run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "--no-install-recommends", *missing])


def ensure_prometheus(cache: Cache, tell: Tell) -> Path:
    """Unpack Debian's Prometheus and promtool. It is not installed: that would start a server on this machine."""
    if cache.prometheus.is_dir():
        return cache.prometheus
    _refuse_without_apt(["prometheus"])
    tell("fetching prometheus (apt)")
    run(["apt-get", "update", "-qq"])
    with cache.unfinished() as folder:
        folder.chmod(0o755)  # apt fetches as a user of its own
        run(["apt-get", "download", "-qq", "prometheus"], folder=folder)
        (package,) = folder.glob("prometheus_*.deb")
        run(["dpkg-deb", "--extract", package, folder / "unpacked"])
        (folder / "unpacked").rename(cache.prometheus)
    return cache.prometheus


def ensure_programs(cache: Cache, module: Module, names: Iterable[str], tell: Tell) -> Path:
    """Build what is missing of a module, and return the folder with its programs."""
    folder = cache.programs(module.key())
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and shutil.which("go") is None:
        raise TestbedError("Go is needed to build Kubernetes (1.26 or newer): install it, and try again")
    folder.mkdir(parents=True, exist_ok=True)
    if missing:
        tell(f"building {', '.join(missing)} from modules/{module.name} (some minutes, once)")
        began = time.monotonic()
        # Elsewhere until they are whole: a build that was cut short must not look finished.
        with cache.unfinished() as unfinished:
            _build(module, missing, unfinished, tell)
            for name in missing:
                (unfinished / name).rename(folder / name)
        tell(f"built {', '.join(missing)} in {time.monotonic() - began:.0f} s")
    return folder


def source_of(module: Module, go_module: str) -> Path:
    """Return the folder with the sources of a module that this one pins."""
    settings = ["env", "GOFLAGS=-mod=readonly"]
    run([*settings, "go", "mod", "download", go_module], folder=module.folder)
    return Path(run([*settings, "go", "list", "-m", "-f", "{{.Dir}}", go_module], folder=module.folder).strip())


def _build(module: Module, names: list[str], folder: Path, tell: Tell) -> None:
    """Build all at once: what they share is compiled once, and one is linked while others compile."""
    packages = [module.packages()[name] for name in names]
    command = ["env", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "go", "build", "-v", "-ldflags", module.linker_flags()]
    with subprocess.Popen(
        [*command, "-o", f"{folder}/", *packages],
        cwd=module.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as building:  # fmt: skip
        last = _follow(building, tell)
    if building.returncode != 0:
        raise TestbedError(f"modules/{module.name} cannot be built:\n{''.join(last)}")
    for name, package in zip(names, packages, strict=True):
        (folder / _gos_name(package)).rename(folder / name)


def _follow(building: subprocess.Popen[str], tell: Tell) -> Iterable[str]:
    """Say now and then how far a build is, and return its last lines."""
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    began = told = time.monotonic()
    fetched = compiled = 0
    for line in building.stderr or ():
        last.append(line)
        fetched += line.startswith("go: downloading")
        compiled += not line.startswith(("go: ", "#", "\t"))
        if time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            tell(f"  after {told - began:.0f} s: {fetched} modules fetched, {compiled} packages compiled")
    return last


def _gos_name(package: str) -> str:
    """Go names a program after its package's last part that is no major version."""
    *_, before, last = package.split("/")
    return before if re.fullmatch(r"v\d+", last) else last


def _refuse_without_apt(packages: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise TestbedError(f"these are missing, and there is no apt-get to install them: {', '.join(packages)}")

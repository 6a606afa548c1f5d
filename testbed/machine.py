"""The node's namespaces on this machine: made, entered, and ended whole.

One process holds a network, mount, process and IPC namespace; everything of the cluster runs inside. The kernel ends
all processes of a process namespace with its first one, and mounts, links and routes go with the namespaces, so
nothing can be left behind, however it ended. Only control groups and a few kernel settings are not in a namespace:
those are put back by hand.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed import commands
from testbed.errors import TestbedError
from testbed.layout import (
    CGROUP,
    HERE,
    HOST_ADDRESS,
    HOST_LINK,
    LINK_PREFIX,
    NODE_ADDRESS,
    POD_BRIDGE,
    PODS,
    SERVICES,
    State,
)

KERNEL_SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""What the kubelet sets for the whole machine."""
ENDS_WITHIN_S = 60.0
"""Half a second as a rule; the kernel has a hundred processes to end, and the machine may be busy."""
A_MOMENT_S = 0.05


def begin(state: State) -> None:
    """Make the namespaces, the link to this machine, the control group, and the node's own /var and /run."""
    remembered = {name: (Path("/proc/sys") / name).read_text().strip() for name in KERNEL_SETTINGS}
    state.settings_before.write_text(json.dumps(remembered))
    namespaces = ["--pid", "--mount-proc", "--mount", "--net", "--ipc", "--uts"]
    subprocess.Popen(
        ["unshare", "--fork", *namespaces, *_hold(state)],
        cwd=HERE.parent, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    holder = _wait_for_holder(state)
    _make_control_group()
    _link(holder)
    _own_folders(state)


def is_up(state: State) -> bool:
    return _holder(state) is not None


def start(state: State, name: str, command: Sequence[str | Path]) -> None:
    """Start a program inside, its output in a log of its name."""
    with (state.logs / f"{name}.log").open("ab") as log:
        subprocess.Popen(
            [*_enter(state), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def run(state: State, *command: str | Path) -> str:
    """Run a command inside and return what it printed."""
    return commands.run([*_enter(state), *command])


def end(state: State) -> None:
    """End everything inside, and put back what is not in a namespace. Does no harm if nothing was begun."""
    holder = _holder(state)
    if holder is not None:
        os.kill(holder, signal.SIGKILL)
        _end_entrances(holder)
        _wait_until_gone(holder)
    _remove_control_group()
    if state.settings_before.is_file():
        for name, value in json.loads(state.settings_before.read_text()).items():
            (Path("/proc/sys") / name).write_text(value)
    _remove_link()


def _enter(state: State) -> list[str]:
    holder = _holder(state)
    if holder is None:
        raise TestbedError("the node's namespaces are gone: something ended their first process")
    # Not `ip netns exec`: that mounts a new /sys, which hides the control groups from the kubelet.
    return [*_entrance(holder), "--mount", "--net", "--pid", "--ipc", "--uts"]


def _end_entrances(holder: int) -> None:
    """End the outer halves of what was started inside: one that is stopped, as its inner half was, reaps nobody."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _arguments(folder)[:3] == _entrance(holder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)


def _entrance(holder: int) -> list[str]:
    return ["nsenter", "--target", str(holder)]


def _holder(state: State) -> int | None:
    """Return the process that holds this cluster's namespaces, found by what it was started as: it cannot be lost."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _arguments(folder)[1:] == _hold(state)[1:]:
            return int(folder.name)
    return None


def _hold(state: State) -> list[str]:
    return [sys.executable, "-m", "testbed.holder", str(state.folder)]


def _arguments(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []  # it has just ended


def _wait_for_holder(state: State) -> int:
    for _ in _moments(ENDS_WITHIN_S):
        holder = _holder(state)
        if holder is not None:
            return holder
    raise TestbedError("cannot make namespaces here: `unshare --pid --net --mount` did not start")


def _wait_until_gone(pid: int) -> None:
    """Wait for a process and all in its process namespace: the kernel reaps the first one last."""
    for _ in _moments(ENDS_WITHIN_S):
        if not Path(f"/proc/{pid}").exists():
            return
    raise TestbedError(f"process {pid} does not end")


def _link(holder: int) -> None:
    """Connect node and machine. There is no default route: what is addressed to anywhere else leaves nowhere."""
    inside = ["nsenter", "--target", str(holder), "--net"]
    commands.run(["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", str(holder)])
    commands.run(["ip", "address", "add", f"{HOST_ADDRESS}/{LINK_PREFIX}", "dev", HOST_LINK])
    commands.run(["ip", "link", "set", HOST_LINK, "up"])
    commands.run([*inside, "ip", "link", "set", "lo", "up"])
    commands.run([*inside, "ip", "address", "add", f"{NODE_ADDRESS}/{LINK_PREFIX}", "dev", "eth0"])
    commands.run([*inside, "ip", "link", "set", "eth0", "up"])
    # The packet needs a way before the node's own rules give it its true destination.
    commands.run([*inside, "ip", "route", "add", SERVICES, "via", HOST_ADDRESS])
    # Before kube-proxy knows a service, a packet of a pod to it must be refused: one that got lost would be remembered,
    # and its repetitions would get lost as well, for half a minute.
    commands.run([*inside, "ip", "rule", "add", "iif", POD_BRIDGE, "to", SERVICES, "unreachable"])
    commands.run([*inside, "sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1"])
    for network in (SERVICES, PODS):
        commands.run(["ip", "route", "replace", network, "via", NODE_ADDRESS])


def _remove_link() -> None:
    """The kernel removes the link with its other end's namespace, in its own time: perhaps just now."""
    link = Path("/sys/class/net") / HOST_LINK
    try:
        if link.exists():
            commands.run(["ip", "link", "delete", HOST_LINK])
    except TestbedError:
        if link.exists():
            raise


def _own_folders(state: State) -> None:
    for folder in ("lib", "log", "tmp", "cache"):
        (state.var / folder).mkdir(parents=True)
    (state.var / "run").symlink_to("/run")
    run(state, "mount", "--bind", state.var, "/var")
    run(state, "mount", "--types", "tmpfs", "tmpfs", "/run")


def _control_groups() -> Iterator[Path]:
    """Yield our control group in each hierarchy: one of version 2, several of version 1, or both beside each other."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Path(place) / CGROUP


def _make_control_group() -> None:
    for group in _control_groups():
        group.mkdir(exist_ok=True)
        # On version 1 a new group may use no processor and no memory node until somebody says so.
        for name in ("cpuset.cpus", "cpuset.mems"):
            parent = group.parent / name
            if parent.is_file() and (group / name).is_file():
                (group / name).write_text(parent.read_text())
        control = group.parent / "cgroup.subtree_control"
        if control.is_file():
            control.write_text(" ".join(f"+{one}" for one in (group.parent / "cgroup.controllers").read_text().split()))


def _remove_control_group() -> None:
    for group in _control_groups():
        if group.is_dir():
            for folder, _, _ in os.walk(group, topdown=False):
                _remove_when_empty(Path(folder))


def _remove_when_empty(group: Path) -> None:
    for _ in _moments(ENDS_WITHIN_S):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            continue  # its last process is still on its way out
        return
    raise TestbedError(f"control group {group} is still in use")


def _moments(seconds: float) -> Iterator[None]:
    """Yield now and then, for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(A_MOMENT_S)

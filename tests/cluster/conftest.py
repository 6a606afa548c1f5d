"""These tests need the testbed: `make cluster`. They change what Aegis may do by namespaces of their own."""

import random
import signal
import string
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster.real import ROOT, Aegis, Cluster, Measured, wait_for

from aegis.cli.api import Api, remembered
from testbed import machine
from testbed.__main__ import CACHE, STATE
from testbed.layout import PROMETHEUS, Cache, State
from testbed.programs import KUBECTL, RELEASES

UP_WITHIN_S = 90
ENDS_WITHIN_S = 60
MEASURED = pytest.StashKey[list[tuple[str, float]]]()


@pytest.fixture(scope="session")
def state() -> State:
    found = State(STATE)
    if not machine.is_up(found):
        pytest.fail("no cluster is up: `make cluster` starts one")
    return found


@pytest.fixture(scope="session")
def cluster(state: State) -> Cluster:
    release = next(each for each in RELEASES.values() if each.version in state.release.read_text())
    return Cluster(state.kubeconfig("admin"), Cache(CACHE).programs(release.module.key()) / KUBECTL)


@pytest.fixture(scope="session")
def audit_log(state: State) -> Path:
    return state.logs / "audit.log"


@pytest.fixture(scope="session")
def accounts(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig for each service, made as the guide says."""
    folder = tmp_path_factory.mktemp("accounts")
    subprocess.run([ROOT / "scripts" / "accounts.sh", folder], check=True, env=cluster.environment)
    return folder


@pytest.fixture(scope="module")
def aegis(cluster: Cluster, accounts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aegis]:
    """Three fresh processes, one account each, that may act; a module's tests share their budget."""
    folder = tmp_path_factory.mktemp("aegis")
    installed = Aegis(cluster, folder / "home", folder / "logs")
    options = ["--kubeconfig", accounts, "--prometheus", PROMETHEUS, "--logs", installed.logs]
    # The testbed's Prometheus scrapes every five seconds, and a module has more faults than ten minutes usually see.
    options += ["--set", "AEGIS_METRICS_INTERVAL=PT5S", "--set", "AEGIS_METRICS_STEP=PT5S", "--set", "AEGIS_BUDGET=100"]
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [ROOT / ".venv" / "bin" / "aegis", "up", *options],
            env={**cluster.environment, "AEGIS_HOME": str(installed.home)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for(
            lambda: up.poll() is not None or remembered(installed.home), within_s=UP_WITHIN_S, what="Aegis is not up"
        )
        assert up.poll() is None, (folder / "up.log").read_text()
        installed.run("resume")
        yield installed
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(ENDS_WITHIN_S)


@pytest.fixture(scope="module")
def ann(aegis: Aegis) -> Iterator[Api]:
    """Somebody who may ask for actions."""
    with aegis.person("ann", "operator") as api:
        yield api


@pytest.fixture(scope="module")
def bob(aegis: Aegis) -> Iterator[Api]:
    """Somebody who may allow them."""
    with aegis.person("bob", "approver") as api:
        yield api


@pytest.fixture(scope="module")
def new_namespace(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Make a namespace in which Aegis may act by itself; it is gone after the module."""
    drawn, made = random.SystemRandom(), []

    def make() -> str:
        name = "shop-" + "".join(drawn.choices(string.ascii_lowercase, k=5))
        cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", name, "aegis.dev/mode=auto")
        made.append(name)
        return name

    yield make
    if made:
        cluster.kubectl("delete", "namespace", *made, "--wait=false")


@pytest.fixture
def namespace(new_namespace: Callable[[], str]) -> str:
    return new_namespace()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Note how long something took; the end of the run shows it."""
    return lambda what, seconds: request.config.stash.setdefault(MEASURED, []).append((what, seconds))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(MEASURED, [])
    if found:
        terminalreporter.section("seconds")
    for what, seconds in found:
        terminalreporter.write_line(f"{seconds:6.0f}  {what}")

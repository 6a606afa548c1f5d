"""These tests need the testbed: `make cluster`. They change what Aegis may do by namespaces of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aegis.cli.api import Api
from testbed.driver.aegis import Aegis, installed, make_accounts
from testbed.driver.cluster import Cluster, running_cluster
from testbed.layout import CACHE, STATE, Cache, State

Measured = Callable[[str, float], None]
MEASURED = pytest.StashKey[list[tuple[str, float]]]()


@pytest.fixture(scope="session")
def state() -> State:
    return State(STATE)


@pytest.fixture(scope="session")
def cluster(state: State) -> Cluster:
    return running_cluster(state, Cache(CACHE))


@pytest.fixture(scope="session")
def audit_log(state: State) -> Path:
    return state.logs / "audit.log"


@pytest.fixture(scope="session")
def accounts(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accounts")
    make_accounts(cluster, folder)
    return folder


@pytest.fixture(scope="module")
def aegis(cluster: Cluster, accounts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aegis]:
    """An Aegis of its own for each module: no module's faults count against another's."""
    with installed(cluster, accounts, tmp_path_factory.mktemp("aegis")) as aegis:
        yield aegis


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
    made: list[str] = []

    def make() -> str:
        made.append(cluster.new_namespace("shop", mode="auto"))
        return made[-1]

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Read the API server's log when everything is in it."""
    items.sort(key=lambda item: item.path.stem == "test_privileges")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(MEASURED, [])
    if found:
        terminalreporter.section("seconds")
    for what, seconds in found:
        terminalreporter.write_line(f"{seconds:6.0f}  {what}")

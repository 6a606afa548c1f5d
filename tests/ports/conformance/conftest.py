"""One cluster for all: the simulated one, or the real one whose kubeconfig is given."""

import random
import string
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.ports.conformance.closing import TRIED
from tests.ports.conformance.cluster import Cluster, connected
from tests.ports.conformance.requests import Request
from tests.ports.conformance.simulated import simulated_cluster


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The administrator's."""
    given = request.config.getoption("kubeconfig")
    if given is not None:
        yield given
        return
    with simulated_cluster(tmp_path_factory.mktemp("simulated")) as made:
        yield made


@pytest.fixture
async def cluster(kubeconfig: Path, record_property: Callable[[str, object], None]) -> AsyncIterator[Cluster]:
    """The cluster as its administrator sees it, with a namespace that nobody else has."""
    tried: set[Request] = set()
    name = "conformance-" + "".join(random.SystemRandom().choices(string.ascii_lowercase, k=6))
    cluster = connected(kubeconfig, name, tried)
    async with cluster.http:
        await cluster.create("namespaces", {"metadata": {"name": name}}, namespace="")
        yield cluster
        record_property(TRIED, sorted(map(str, tried)))
        await cluster.ask("DELETE", cluster.path("namespaces", name, namespace=""))

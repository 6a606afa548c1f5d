"""A token that is rotated on disk is taken up by both services, without a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import yaml
from tests.unit.simulator.kubernetes.builders import a_pod, an_api

from aegis.ai_engine.sources.kubernetes import PATHS, KubernetesSource
from aegis.clients.kubernetes import connect
from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.ports import ExactRequest
from aegis.kit.clock import SystemClock
from aegis.simulator.kubernetes.resources import PODS
from aegis.simulator.kubernetes.server import ApiServer
from aegis.simulator.kubernetes.serving import Served, kubeconfig, serving
from aegis.simulator.kubernetes.users import ADMIN, Users

OLD, NEW = "token-of-yesterday", "token-of-today"


@dataclass
class Account:
    """A service's account on a cluster, and where its token is kept."""

    api: ApiServer
    served: Served
    folder: Path
    kept: str

    def keep(self, token: str) -> None:
        if self.kept == "inline":
            (self.folder / "kubeconfig").write_text(kubeconfig(self.served, token=token))
        else:
            (self.folder / "token").write_text(f"{token}\n")

    def rotate(self) -> None:
        """Know nobody by the old token any more, wherever it is still used."""
        self.api.users.withdraw(OLD)
        self.api.users.add(NEW, ADMIN)
        self.keep(NEW)
        self.api.weather.cut_watches()

    def connect(self) -> httpx2.AsyncClient:
        if self.kept == "service account":
            return connect(service_account=str(self.folder))
        return connect(str(self.folder / "kubeconfig"))


@pytest.fixture(params=["inline", "token file", "service account"])
async def account(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Account]:
    api = an_api(users=Users({OLD: ADMIN})).app
    async with serving(api, tls=True) as served:
        made = Account(api, served, tmp_path, request.param)
        assert served.ca is not None
        (tmp_path / "ca.crt").write_bytes(served.ca)
        (tmp_path / "namespace").write_text("aegis")
        where = urlsplit(served.url)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(where.hostname))
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(where.port))
        config = yaml.safe_load(kubeconfig(served))
        config["users"][0]["user"] = {"tokenFile": "token"}  # beside the kubeconfig, as kubectl reads it
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        made.keep(OLD)
        yield made


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to hold")


async def test_the_ai_engine_goes_on_watching_where_it_was(account: Account) -> None:
    source = KubernetesSource(account.connect(), SystemClock(), watch_timeout=timedelta(minutes=4))
    names: list[str] = []

    def saw(name: str) -> bool:
        nonlocal names
        names += [one.object["metadata"]["name"] for one in source.take_changes() if one.resource == "pods"]
        return name in names

    account.api.store.create(PODS, a_pod("first"))
    source.start()
    await until(lambda: saw("first"))
    await until(lambda: sum(one.verb == "watch" for one in account.api.requests) == len(PATHS))

    account.rotate()
    account.api.store.create(PODS, a_pod("second"))
    await until(lambda: saw("second"))

    assert names == ["first", "second"]
    assert sum(one.verb == "list" and one.resource == "pods" for one in account.api.requests) == 1
    assert source.troubles() == {}
    await source.close()


async def test_the_executor_reads_and_writes_at_once_with_the_new_one(account: Account) -> None:
    cluster = KubernetesCluster(account.connect(), SystemClock())
    account.api.store.create(PODS, a_pod("web"))
    assert await cluster.read("v1", "Pod", "shop", "web") is not None

    account.rotate()
    body = b'{"metadata": {"labels": {"seen": "yes"}}}'
    path = "/api/v1/namespaces/shop/pods/web"
    await cluster.send(ExactRequest("PATCH", path, "application/merge-patch+json", body), dry_run=False)

    assert await cluster.read("v1", "Pod", "shop", "web") is not None
    assert [one.code for one in account.api.requests if one.verb == "patch"] == [401, 200]
    await cluster.close()

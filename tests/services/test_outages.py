"""The services as processes: they start in any order, and outlive the servers that they stand on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.services.backend.rig import problem_of
from tests.unit.simulator.kubernetes.builders import an_api

from aegis.cli.platform.secrets import Secrets
from aegis.cli.platform.stack import AI_ENGINE, BACKEND, EXECUTOR, Ports, Stack, Surroundings
from aegis.kit import embedded
from aegis.simulator.kubernetes.serving import kubeconfig, serving
from aegis.simulator.together.databases import Databases

LONGEST_S = 90
ALERT = {
    "version": "4",
    "alerts": [{
        "status": "firing", "startsAt": "2026-01-05T12:00:00Z", "fingerprint": "a1",
        "labels": {"alertname": "Slow", "namespace": "shop", "deployment": "web"},
    }],
}  # fmt: skip


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds; how long that takes decides nothing, unless it never does."""
    async with asyncio.timeout(LONGEST_S):
        while not await holds():  # noqa: ASYNC110 (what is waited for is another process)
            await asyncio.sleep(0.05)


class Installation:
    def __init__(self, stack: Stack, postgres: embedded.PostgresServer, redis: contextlib.ExitStack) -> None:
        self.stack = stack
        self.postgres = postgres
        self.redis = redis
        self.http = httpx.AsyncClient(timeout=30)

    async def start(self, *names: str) -> None:
        for name in names:
            await self.stack.processes[name].start()

    async def says(self, name: str, line: str) -> None:
        async def said() -> bool:
            assert self.stack.processes[name].is_running, self.stack.processes[name].tail()
            return line in self.stack.processes[name].tail(100_000)

        await until(said)

    async def ask(self, name: str, path: str) -> httpx.Response:
        return await self.http.get(self.stack.ready_url(name).removesuffix("/ready") + path)

    async def ready(self, name: str) -> httpx.Response:
        return await self.ask(name, "/ready")

    async def are_ready(self, *names: str, status: int = 200) -> None:
        async def answered() -> bool:
            try:
                return {(await self.ready(name)).status_code for name in names} == {status}
            except httpx.TransportError:
                return False  # it does not listen yet

        await until(answered)

    async def call(self, method: str, path: str, *, key: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return await self.http.request(method, self.stack.backend_url + path, headers=headers, **options)

    async def log_in(self, password: str) -> httpx.Response:
        return await self.call("POST", "/api/v1/sessions", json={"name": "admin", "password": password})


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    with embedded.postgres() as postgres, contextlib.ExitStack() as redis:
        databases = Databases(postgres)
        await databases.prepare()
        urls = await databases.clone("outages")
        async with serving(an_api().app, tls=True) as served:
            (tmp_path / "kubeconfig").write_text(kubeconfig(served))
            surroundings = Surroundings(
                databases=urls, redis_url=redis.enter_context(embedded.redis()), kubeconfig=tmp_path / "kubeconfig"
            )
            stack = Stack(ports=Ports.any(), secrets=Secrets(), surroundings=surroundings, logs=tmp_path)
            made = Installation(stack, postgres, redis)
            yield made
            await made.http.aclose()
            await stack.stop()


async def test_services_start_in_any_order_and_outlive_the_servers_they_stand_on(installation: Installation) -> None:
    everybody = (EXECUTOR, AI_ENGINE, BACKEND)
    alertmanager = installation.stack.secrets.alertmanager_key

    # The last comes first: no PostgreSQL, no Backend.
    installation.postgres.stop()
    await installation.start(EXECUTOR, AI_ENGINE)
    await installation.says(EXECUTOR, "waiting for the database")
    await installation.says(AI_ENGINE, "waiting for the database")
    installation.postgres.start()
    await installation.are_ready(EXECUTOR)
    await installation.says(EXECUTOR, f"no answer from {installation.stack.backend_url}")
    await installation.start(BACKEND)
    await installation.are_ready(*everybody)

    # Each says how it is, what it counts and what it answers; and what is wrong, as RFC 9457 has it.
    for name in everybody:
        assert (await installation.ask(name, "/health")).json() == {"status": "ok"}
        assert "aegis_" in (await installation.ask(name, "/metrics")).text
        assert "/ready" in (await installation.ask(name, "/openapi.json")).json()["paths"]
        assert problem_of(await installation.ask(name, "/nothing"), 404)["hint"]

    # PostgreSQL is gone, as after a crash: nobody claims to be ready, nothing is acknowledged.
    assert (await installation.call("POST", "/api/v1/alerts", key=alertmanager, json=ALERT)).status_code == 202
    installation.postgres.stop(crash=True)
    await installation.are_ready(*everybody, status=503)
    assert "database" in problem_of(await installation.ready(BACKEND), 503)["detail"]
    refused = await installation.call("POST", "/api/v1/alerts", key=alertmanager, json=ALERT)
    problem_of(refused, 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert (await installation.ask(BACKEND, "/health")).status_code == 200

    # It is back: so are they, by themselves, with everything that was acknowledged.
    installation.postgres.start()
    await installation.are_ready(*everybody)
    session = (await installation.log_in(installation.stack.secrets.admin_password)).json()["token"]
    incidents = (await installation.call("GET", "/api/v1/incidents", key=session)).json()["incidents"]
    assert [one["workload"]["name"] for one in incidents] == ["web"]

    # Redis is gone: all goes on, and tries to log in stay limited.
    installation.redis.close()
    assert (await installation.call("POST", "/api/v1/alerts", key=alertmanager, json=ALERT)).status_code == 202
    answers = [(await installation.log_in("wrong")).status_code for _ in range(12)]
    assert (answers[0], answers[-1]) == (401, 429)
    assert {(await installation.ready(name)).status_code for name in everybody} == {200}

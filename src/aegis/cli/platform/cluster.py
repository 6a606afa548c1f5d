"""A simulated cluster as a child process, and the hand that its demos and tests have in it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import httpx2
import yaml

from aegis.cli.platform.processes import Process
from aegis.kit.embedded import free_port
from aegis.kit.errors import UpstreamError

_A_MOMENT_S = 0.05
_PATIENCE_S = 30
"""Several worlds share a small machine; one may be busy for a while."""


@dataclass
class SimulatedCluster:
    """Its kubeconfigs are `admin`, `ai-engine` and `executor`."""

    folder: Path
    scenario: Mapping[str, Any]
    clock: str

    def __post_init__(self) -> None:
        self._port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        scenario = self.folder / "scenario.yaml"
        scenario.write_text(yaml.safe_dump(dict(self.scenario), sort_keys=False))
        arguments = ["-m", "aegis.cli.main", "simulate", str(scenario), "--folder", str(self.folder)]
        arguments += ["--prometheus-port", str(self._port), "--clock", self.clock]
        self.process = Process("cluster", arguments, settings={}, log=self.folder / "cluster.log")
        self.prometheus_url = f"http://127.0.0.1:{self._port}"
        # A connection for each question: a kept one may be hung up just when the next is asked.
        fresh = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(base_url=self.prometheus_url, timeout=_PATIENCE_S, limits=fresh)

    async def start(self) -> None:
        await self.process.start()
        await self.process.ready(f"{self.prometheus_url}/-/healthy")
        while not self.kubeconfig("executor").exists():  # noqa: ASYNC110 (written as soon as the API server listens)
            await asyncio.sleep(_A_MOMENT_S)

    async def stop(self) -> None:
        await self._http.aclose()
        await self.process.stop()

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    async def world(self) -> dict[str, Any]:
        """Return the truth: seed, time, parts."""
        return dict(await self._get("/world"))

    async def health(self) -> list[dict[str, Any]]:
        return list((await self._get("/world/workloads"))["workloads"])

    async def do(self, step: Mapping[str, Any]) -> str:
        """Let a step happen now; return what was done."""
        return str((await self._asked("POST", "/world/steps", dict(step))).json()["done"])

    async def plan(self, steps: Sequence[Mapping[str, Any]]) -> datetime:
        """Let steps happen later, each `at_s` seconds from now; return when now is."""
        response = await self._asked("POST", "/world/plan", [dict(step) for step in steps])
        return datetime.fromisoformat(response.json()["now"])

    async def writes_of(self, user: str) -> list[dict[str, Any]]:
        """Return the writes that a service's account carried out, as the API server logged them."""
        config = yaml.safe_load(self.kubeconfig("admin").read_text())
        token, server = config["users"][0]["user"]["token"], config["clusters"][0]["cluster"]["server"]
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with httpx2.AsyncClient(verify=False, timeout=_PATIENCE_S) as http:
                answer = (await http.get(f"{server}/debug/requests", headers=headers)).json()
        except httpx2.HTTPError as error:
            raise UpstreamError(f"the simulated cluster did not say what was written to it: {error!r}") from error
        account = f"system:serviceaccount:aegis:{user}"
        return [
            one
            for one in answer["requests"]
            if one["user"] == account and one["verb"] in ("create", "update", "patch", "delete")
            and not one["dry_run"] and one["code"] < 300  # noqa: PLR2004
        ]  # fmt: skip

    async def _get(self, path: str) -> Any:
        return (await self._asked("GET", path)).json()

    async def _asked(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            response = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise UpstreamError(f"the simulated cluster does not answer: {error!r}") from error
        if not response.is_success:
            raise UpstreamError(f"the simulated cluster refused {body or path}: {response.text}")
        return response

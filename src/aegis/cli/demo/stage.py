"""Where one story is played: a fresh cluster, fresh databases, and an Aegis of three processes."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.cli.api import Api, Session, log_in
from aegis.cli.demo.story import Story
from aegis.cli.platform.cluster import SimulatedCluster
from aegis.cli.platform.secrets import Secrets
from aegis.cli.platform.stack import Ports, Stack, Surroundings
from aegis.kit.clock import Clock, clock_from
from aegis.kit.errors import UpstreamError
from aegis.kit.pace import Pace
from aegis.policy.rules import parse_policy
from aegis.simulator.together.databases import Databases

WELL_WITHIN_S = 600.0
"""Of the story's clock: a fresh cluster must be up and healthy by then."""
_ALONE = re.compile(r"[@#][a-z0-9:]+")
_WITHIN = re.compile(r"(\{([@#][a-z0-9:]+)\.(namespace|name)\})")
STEP_S = 3.0
"""How often the services look, on a clock that runs this fast."""


@dataclass(frozen=True)
class Theatre:
    """What all stories share."""

    databases: Databases
    redis_url: str
    folder: Path
    rate: float | None
    """None leaves it to each story."""
    seed: int


class Stage:
    def __init__(self, story: Story, theatre: Theatre, *, ports: Ports, epoch: float) -> None:
        self.story = story
        self._theatre = theatre
        self._ports = ports
        self.folder = theatre.folder / story.name
        self.folder.mkdir(parents=True, exist_ok=True)
        pace = self.folder / "clock"
        Pace.begin(pace, epoch=epoch, rate=theatre.rate or story.rate)
        self._setting = f"paced:{pace}"
        self.clock: Clock = clock_from(self._setting)
        scenario = {"name": story.name, "seed": theatre.seed, **story.scenario}
        self.cluster = SimulatedCluster(self.folder, scenario, self._setting)
        self.secrets = Secrets()
        self.stack: Stack
        self._apis: dict[str, Api] = {}
        self._numbered: list[str] = []
        self._passwords = {"admin": self.secrets.admin_password}

    async def set_up(self) -> None:
        """Bring up the cluster, then Aegis; let it act, and let the story's people in."""
        await self.cluster.start()
        database = self.story.name.replace("-", "_")
        urls = await self._theatre.databases.clone(database)
        surroundings = Surroundings(
            databases=urls,
            redis_url=self._theatre.redis_url,
            kubeconfig=self.folder,
            prometheus_url=self.cluster.prometheus_url,
            cluster_id=self.story.name,
            clock=self._setting,
            step_s=STEP_S,
        )
        self.stack = Stack(ports=self._ports, secrets=self.secrets, surroundings=surroundings, logs=self.folder)
        await self._until_well()
        await self.stack.start()
        await asyncio.to_thread(self._let_in)

    async def tear_down(self) -> None:
        for api in self._apis.values():
            api.close()
        if hasattr(self, "stack"):
            await self.stack.stop()
        await self.cluster.stop()
        await self._theatre.databases.drop(self.story.name.replace("-", "_"))

    def api(self, person: str = "admin") -> Api:
        """Return the public API as that person."""
        if person not in self._apis:
            session = log_in(self.stack.backend_url, person, self._passwords[person])
            self._apis[person] = Api(Session(session.url, session.token))
        return self._apis[person]

    async def killed_and_started_again(self, process: str) -> None:
        await self.stack.processes[process].kill()
        await self.stack.restart(process)

    async def find(self, name: str) -> str:
        """Return a workload as `namespace/Kind/name`: of a part (`@store`), a number (`#2`), or namespace/name."""
        health = await self.cluster.health()
        known = [f"{one['namespace']}/{one['kind']}/{one['workload']}" for one in health]
        if name.startswith("@"):
            parts = (await self.cluster.world())["parts"]
            role = name.removeprefix("@")
            role, _, number = role.partition(":")
            all_of_them = parts.get(role) or parts.get({"middle": "client", "client": "entry"}.get(role, ""), [])
            found = [all_of_them[int(number or 0) % len(all_of_them)]] if all_of_them else []
        elif name.startswith("#"):
            # As they were when the story began: what a step adds later must not shift their numbers.
            self._numbered = self._numbered or sorted(one for one in known if "/Deployment/" in one)
            found = self._numbered[int(name[1:]) :]
        else:
            namespace, _, short = name.partition("/")
            found = [one for one in known if one.startswith(f"{namespace}/") and one.endswith(f"/{short}")]
        if not found:
            raise UpstreamError(f"the story's cluster has no {name}")
        return str(found[0])

    async def resolved(self, given: Any) -> Any:
        """Return a step with its workloads named: `#2` and `{#2.namespace}` are the story's way to say them."""
        if isinstance(given, dict):
            return {key: await self.resolved(value) for key, value in given.items()}
        if isinstance(given, list | tuple):
            return [await self.resolved(value) for value in given]
        if not isinstance(given, str):
            return given
        if _ALONE.fullmatch(given):
            namespace, _, name = (await self.find(given)).split("/")
            return f"{namespace}/{name}"
        for written, workload, field in _WITHIN.findall(given):
            namespace, _, name = (await self.find(workload)).split("/")
            given = given.replace(written, namespace if field == "namespace" else name)
        return given

    async def _until_well(self) -> None:
        began = self.clock.now()
        while True:
            health = await self.cluster.health()
            if health and all(workload["ready"] >= workload["desired"] for workload in health):
                return
            if (self.clock.now() - began).total_seconds() > WELL_WITHIN_S:
                raise UpstreamError(f"the story's cluster took longer than {WELL_WITHIN_S:.0f} s to be well: {health}")
            await asyncio.sleep(0.05)

    def _let_in(self) -> None:
        admin = self.api()
        admin.post("/api/v1/resume", {"reason": f"story {self.story.name}"})
        for person in self.story.people:
            password = f"{person.name}-{self.secrets.admin_password}"
            self._passwords[person.name] = password
            grants = [{"role": person.role, "namespaces": ["*"]}]
            admin.post("/api/v1/people", {"name": person.name, "password": password, "grants": grants})
        for policy in self.story.policies:
            admin.put(f"/api/v1/policies/{parse_policy(policy).name}", {"source": policy})

"""One Aegis: Backend, AI Engine and Executor as three processes, on a cluster and databases of their own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aegis.cli.platform.kubeconfigs import kubeconfig_of
from aegis.cli.platform.processes import Process
from aegis.cli.platform.secrets import Secrets
from aegis.kit.embedded import free_port

BACKEND, AI_ENGINE, EXECUTOR = "backend", "ai-engine", "executor"


@dataclass(frozen=True)
class Ports:
    """Port numbers on the loopback interface."""

    backend: int
    ai_engine: int
    executor: int

    @classmethod
    def preferred(cls) -> "Ports":
        """Those of the user's document where they are free, others where not."""
        return cls(free_port(3000), free_port(8000), free_port(4000))

    @classmethod
    def any(cls) -> "Ports":
        return cls(free_port(), free_port(), free_port())


@dataclass(frozen=True)
class Surroundings:
    """What an Aegis is put into."""

    databases: Mapping[str, str]
    redis_url: str
    kubeconfig: Path
    """A kubeconfig, or a folder with one per service (`executor.kubeconfig`)."""
    prometheus_url: str = ""
    cluster_id: str = "demo"
    clock: str = "system"
    step_s: float = 1.0
    """How often the services look, in seconds of their clock."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings for all three, beyond those that follow from the rest."""


class Stack:
    def __init__(self, *, ports: Ports, secrets: Secrets, surroundings: Surroundings, logs: Path) -> None:
        self.ports = ports
        self.secrets = secrets
        self._surroundings = surroundings
        self._logs = logs
        self.processes = {
            BACKEND: self._process(BACKEND, "aegis.backend.main", self._backend_settings()),
            AI_ENGINE: self._process(AI_ENGINE, "aegis.ai_engine.main", self._ai_engine_settings()),
            EXECUTOR: self._process(EXECUTOR, "aegis.executor.main", self._executor_settings()),
        }

    @property
    def backend_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.backend}"

    async def start(self) -> None:
        """Start all three at once, in no order, and wait until each is ready."""
        await asyncio.gather(*(process.start() for process in self.processes.values()))
        await asyncio.gather(*(self.processes[name].ready(self.ready_url(name)) for name in self.processes))

    async def restart(self, name: str) -> None:
        await self.processes[name].start()
        await self.processes[name].ready(self.ready_url(name))

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self.processes.values()))

    def ready_url(self, name: str) -> str:
        port = {BACKEND: self.ports.backend, AI_ENGINE: self.ports.ai_engine, EXECUTOR: self.ports.executor}[name]
        return f"http://127.0.0.1:{port}/ready"

    def _process(self, name: str, module: str, settings: Mapping[str, str]) -> Process:
        around = self._surroundings
        common = {
            "AEGIS_CLOCK": around.clock,
            "AEGIS_CLUSTER_ID": around.cluster_id,
            "AEGIS_REDIS_URL": around.redis_url,
        }
        # One thread per process for numerical code: three services share two cores here.
        threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        log = self._logs / f"{name}.log"
        return Process(name, ["-m", module], settings={**common, **threads, **settings, **around.settings}, log=log)

    def _backend_settings(self) -> dict[str, str]:
        return {
            "AEGIS_PORT": str(self.ports.backend),
            "AEGIS_DATABASE_URL": self._surroundings.databases["backend"],
            "AEGIS_AI_ENGINE_URL": f"http://127.0.0.1:{self.ports.ai_engine}",
            "AEGIS_AI_ENGINE_KEY": self.secrets.backends_caller_key,
            "AEGIS_SIGNING_KEY": self.secrets.signing_key,
            "AEGIS_WITNESS_PUBLIC_KEY": self.secrets.witness_public_key,
            "AEGIS_SERVICE_KEYS": self.secrets.service_keys,
            "AEGIS_FIRST_ADMIN_PASSWORD": self.secrets.admin_password,
            "AEGIS_STEP_INTERVAL": f"PT{self._surroundings.step_s}S",
        }

    def _ai_engine_settings(self) -> dict[str, str]:
        return {
            "AEGIS_PORT": str(self.ports.ai_engine),
            "AEGIS_DATABASE_URL": self._surroundings.databases["ai_engine"],
            "AEGIS_BACKEND_URL": self.backend_url,
            "AEGIS_BACKEND_KEY": self.secrets.ai_engine_key,
            "AEGIS_CALLER_KEYS": self.secrets.caller_keys,
            "AEGIS_KUBECONFIG": self._kubeconfig(AI_ENGINE),
            "AEGIS_PROMETHEUS_URL": self._surroundings.prometheus_url,
        }

    def _executor_settings(self) -> dict[str, str]:
        return {
            "AEGIS_PORT": str(self.ports.executor),
            "AEGIS_DATABASE_URL": self._surroundings.databases["executor"],
            "AEGIS_BACKEND_URL": self.backend_url,
            "AEGIS_BACKEND_KEY": self.secrets.executor_key,
            "AEGIS_AI_ENGINE_URL": f"http://127.0.0.1:{self.ports.ai_engine}",
            "AEGIS_AI_ENGINE_KEY": self.secrets.executors_caller_key,
            "AEGIS_ORDER_KEYS": self.secrets.public_key,
            "AEGIS_WITNESS_KEY": self.secrets.witness_key,
            "AEGIS_DATA_KEY": self.secrets.data_key,
            "AEGIS_KUBECONFIG": self._kubeconfig(EXECUTOR),
            "AEGIS_STEP_INTERVAL": f"PT{self._surroundings.step_s}S",
        }

    def _kubeconfig(self, service: str) -> str:
        return str(kubeconfig_of(service, self._surroundings.kubeconfig))

"""The real servers that tests share: one PostgreSQL per worker, its schemas made once, cloned for each test."""

import asyncio
import itertools
import random
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import asyncpg
import pytest

from aegis.backend.counters import OwnCounters
from aegis.backend.ports import BackendPorts
from aegis.backend.service import Backend
from aegis.backend.settings import BackendSettings
from aegis.contracts.targets import Named, TargetRef, WorkloadRef
from aegis.kit.clock import VirtualClock
from aegis.kit.database import Database
from aegis.kit.embedded import PostgresServer, postgres
from aegis.kit.errors import NotFoundError
from aegis.kit.ids import RandomIds
from aegis.kit.signing import PrivateKey
from aegis.simulator.together.databases import Databases
from aegis.simulator.together.people import let_in
from aegis.simulator.together.together import Keys

CLUSTER = "test"
KEYS = Keys(random.Random(7))
"""Of every Aegis in these tests."""
ADMIN_PASSWORD = "correct horse battery"

_BACKEND = "backend_furnished"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # The wheel that carries PostgreSQL warns where this is not set, and warnings are errors.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        warnings.simplefilter("ignore", ResourceWarning)  # of its log file, handed to the server
        with postgres(durable=False) as running:
            yield running


@dataclass(frozen=True)
class Templates:
    """Databases to clone: the services' schemas, and a Backend's with people and keys in it."""

    server: PostgresServer
    databases: Databases

    async def backend(self) -> str:
        """Return the URL of a Backend's database, as the service's own role, in which everybody is known."""
        return await self._clone("backend", _BACKEND)

    async def executor(self) -> str:
        return await self._clone("executor", "aegis_executor_template")

    async def drop(self, url: str) -> None:
        await self._execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    async def _clone(self, service: str, template: str) -> str:
        name = f"{service}_{next(_numbers)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.databases.url(service, name)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.url())
        await connection.execute(statement)
        await connection.close()


@pytest.fixture(scope="session")
def templates(server: PostgresServer) -> Templates:
    databases = Databases(server)
    asyncio.run(_furnish(databases, server))
    return Templates(server, databases)


async def _furnish(databases: Databases, server: PostgresServer) -> None:
    """Make known, once, the first admin, the services' keys and some people: hashing is slow on purpose."""
    await databases.prepare()
    connection = await asyncpg.connect(server.url())
    await connection.execute(f'CREATE DATABASE "{_BACKEND}" TEMPLATE "aegis_backend_template"')
    await connection.close()
    url = server.url(_BACKEND)
    people = await asyncpg.connect(url)
    await let_in(people, at=VirtualClock().now())
    await people.close()
    database = Database(url)
    await Backend(backend_ports(database)).prepare()
    await database.close()


@dataclass
class PretendDirectory:
    """Knows the UIDs of workloads, as the AI Engine does."""

    known: dict[str, Named] = field(default_factory=dict)

    def add(self, target: TargetRef, *, owner: TargetRef | None = None) -> None:
        self.known[str(target.workload)] = Named(target=target, owner=owner or target)

    async def find(self, workload: WorkloadRef) -> Named:
        if str(workload) not in self.known:
            raise NotFoundError(f"there is no {workload}", hint="Names are written as in `kubectl get`.")
        return self.known[str(workload)]


def backend_ports(database: Database, **changes: object) -> BackendPorts:
    settings = {
        "cluster_id": CLUSTER,
        "signing_key": KEYS.signing,
        "service_keys": ",".join(f"{name}={key}" for name, key in KEYS.service.items()),
        "ai_engine_key": KEYS.caller["backend"],
        "first_admin_password": ADMIN_PASSWORD,
        "clock": "system",
        **changes.pop("settings", {}),  # type: ignore[dict-item]
    }
    given: dict[str, object] = {
        "settings": BackendSettings.model_validate(settings),
        "clock": VirtualClock(),
        "ids": RandomIds(random.Random(next(_numbers))),
        "database": database,
        "counters": OwnCounters(lambda: 0.0),  # no test depends on how long it takes
        "directory": PretendDirectory(),
        "signing_key": PrivateKey.from_text(KEYS.signing),
    }
    return BackendPorts(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture
async def backend_url(templates: Templates) -> AsyncIterator[str]:
    url = await templates.backend()
    yield url
    await templates.drop(url)

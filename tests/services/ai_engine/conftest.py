"""One real PostgreSQL for all tests here, a database of its own for each."""

import itertools
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import asyncpg
import pytest

from aegis.kit.database import Database
from aegis.kit.embedded import PostgresServer, postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with pytest.MonkeyPatch.context() as patch:
        # The wheel that carries PostgreSQL warns where this is not set, and warnings are errors.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with ExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # of its log file, handed to the server
                running = stack.enter_context(postgres(durable=False))
            yield running


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    name = f"ai_engine_{next(_numbers)}"
    connection = await asyncpg.connect(server.url())
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    made = Database(server.url(name))
    await made.migrate("aegis.ai_engine")
    yield made
    await made.close()

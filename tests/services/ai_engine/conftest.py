"""A database of its own for each test."""

import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from aegis.kit.database import Database
from aegis.kit.embedded import PostgresServer

_numbers = itertools.count()


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

"""A Backend with a database of its own for each test."""

from collections.abc import AsyncIterator

import pytest
from tests.services.backend.rig import Rig

from aegis.kit.database import Database


@pytest.fixture
async def rig(backend_url: str) -> AsyncIterator[Rig]:
    database = Database(backend_url, pool_size=3)
    made = Rig(database)
    yield made
    await made.close()
    await database.close()

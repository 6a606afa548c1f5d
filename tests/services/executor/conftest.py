"""An Executor with a database of its own for each test."""

from collections.abc import AsyncIterator

import pytest
from tests.servers import Templates
from tests.services.executor.rig import Rig

from aegis.kit.database import Database


@pytest.fixture
async def database(templates: Templates) -> AsyncIterator[Database]:
    url = await templates.executor()
    made = Database(url, pool_size=3)
    yield made
    await made.close()
    await templates.drop(url)


@pytest.fixture
async def rig(database: Database) -> AsyncIterator[Rig]:
    made = Rig(database)
    yield made
    await made.close()

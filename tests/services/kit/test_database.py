"""A process that starts before its database, or before whoever makes its schema, waits and says for what."""

import asyncio
import logging

import asyncpg
import pytest
from tests.servers import Templates

from aegis.kit import database as database_module
from aegis.kit.database import Database, wait_until_migrated
from aegis.kit.embedded import PostgresServer, free_port
from aegis.kit.errors import TemporaryError

PACKAGE = "aegis.executor"


async def told(caplog: pytest.LogCaptureFixture, line: str) -> None:
    async with asyncio.timeout(30):
        while line not in caplog.text:  # noqa: ASYNC110 (a log has no event)
            await asyncio.sleep(0.01)


async def execute(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url())
    await connection.execute(statement)
    await connection.close()


async def test_it_waits_for_the_database_and_then_for_its_schema(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    database = Database(server.url("late"))
    waiting = asyncio.create_task(wait_until_migrated(database, PACKAGE, owner_url=None))

    await told(caplog, 'waiting for the database: the database does not let us in: database "late" does not exist')
    await execute(server, 'CREATE DATABASE "late"')
    await told(caplog, "waiting for the database: nobody has migrated its schema yet")
    await database.migrate(PACKAGE)

    await asyncio.wait_for(waiting, 30)
    await database.close()


async def test_where_it_is_given_the_owner_it_sees_to_the_schema_itself(
    server: PostgresServer, templates: Templates
) -> None:
    await execute(server, 'CREATE DATABASE "own"')
    database = Database(server.url("own"))

    await wait_until_migrated(database, PACKAGE, owner_url=server.url("own"))

    assert await database.is_migrated(PACKAGE)
    await database.close()


async def test_the_services_own_role_can_see_that_the_schema_is_there(templates: Templates) -> None:
    url = await templates.executor()
    database = Database(url)

    assert await database.is_migrated(PACKAGE)

    await database.close()
    await templates.drop(url)


async def test_no_server_and_a_wrong_password_are_worth_another_try(server: PostgresServer) -> None:
    for url in (
        f"postgresql://postgres:x@127.0.0.1:{free_port()}/postgres",
        server.url(password="wrong"),
        server.url(user="nobody-we-know"),
    ):
        database = Database(url)
        with pytest.raises(TemporaryError):
            await database.migrate(PACKAGE)
        assert not await database.is_there()
        await database.close()


async def test_a_connection_that_died_while_nobody_used_it_is_replaced(
    server: PostgresServer, templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_IDLE_S", -1.0)
    database = Database(await templates.executor(), pool_size=1)
    assert await database.is_there()
    await execute(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'aegis_executor%'")

    assert await database.is_there()

    await database.close()


async def test_a_connection_that_died_right_after_its_use_costs_one_try_and_no_more(
    server: PostgresServer, templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_IDLE_S", 3600.0)
    database = Database(await templates.executor(), pool_size=1)
    assert await database.is_there()
    await execute(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'aegis_executor%'")

    found = [await database.is_there(), await database.is_there()]

    assert found == [False, True]
    await database.close()

"""PostgreSQL as the services use it: transactions, notices between replicas, migrations.

Statements are SQLAlchemy Core and stand in each service's `tables.py` and `repository.py`.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from aegis.kit.errors import InvalidError, TemporaryError

log = logging.getLogger(__name__)

Transaction = AsyncConnection
"""What `Database.transaction` yields, for those who only hand it on."""

_MIGRATION_LOCK = 7_232_001  # any number: it only has to be the same for every process that migrates


class Database:
    """One PostgreSQL database. Losing the connection is a TemporaryError, never a half-done transaction."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        """Take a URL as libpq knows it, `postgresql://user:password@host:port/name`."""
        self._url = url
        self._engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
        )
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        event.listen(self._engine.sync_engine, "checkin", _note_use)
        event.listen(self._engine.sync_engine, "checkout", _ask_whether_it_lives)
        self._notices: dict[str, asyncio.Event] = {}
        self._listener: asyncpg.Connection[Any] | None = None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection; commit at the end, roll back on any error."""
        with _translated():
            async with self._engine.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection to ask one thing on: what needs no transaction takes a third of the round trips."""
        with _translated():
            async with self._reading.connect() as connection:
                yield connection

    async def is_there(self) -> bool:
        try:
            async with self.reading() as tx:
                await tx.execute(text("SELECT 1"))
        except TemporaryError:
            return False
        return True

    async def wait_for_notice(self, channel: str, *, at_most: timedelta) -> None:
        """Return when somebody calls `notify` on the channel, or after `at_most` of real time.

        A notice is a hint: it may be missed or come for nothing, so the caller looks for itself.
        """
        noticed = await self._listen(channel)
        if noticed is None:
            await asyncio.sleep(min(at_most.total_seconds(), 1.0))
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(noticed.wait(), at_most.total_seconds())
        noticed.clear()

    async def _listen(self, channel: str) -> asyncio.Event | None:
        try:
            if self._listener is None or self._listener.is_closed():
                self._notices = {}
                self._listener = await asyncpg.connect(self._url)
            if channel not in self._notices:
                noticed = asyncio.Event()
                await self._listener.add_listener(channel, lambda *_: noticed.set())
                self._notices[channel] = noticed
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        return self._notices[channel]

    async def migrate(self, package: str) -> None:
        """Bring the schema up to the newest revision of `<package>/migrations`; safe to run twice at once."""
        config = Config()
        config.set_main_option("script_location", f"{package}:migrations")
        with _translated():
            async with self._engine.connect() as connection:
                await connection.run_sync(_upgrade, config)

    async def is_migrated(self, package: str) -> bool:
        """Whether the schema is the newest that `<package>/migrations` knows, or a newer one."""
        config = Config()
        config.set_main_option("script_location", f"{package}:migrations")
        script = ScriptDirectory.from_config(config)
        head, known = script.get_current_head(), {one.revision for one in script.walk_revisions()}
        async with self.transaction() as tx:
            if (await tx.execute(text("SELECT to_regclass('alembic_version')"))).scalar_one() is None:
                return False
            found = (await tx.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
        # A revision that this release does not know is of a later one, which only expands what we need.
        return found is not None and (found == head or found not in known)

    def note_writes(self) -> None:
        """Let `take_note` tell what a transaction wrote: for whoever watches a service, not for services."""
        event.listen(self._engine.sync_engine, "after_cursor_execute", _note_write)

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        await self._engine.dispose()


async def wait_until_migrated(database: Database, package: str, *, owner_url: str | None) -> None:
    """Return when the database answers with the schema of `package`; with its owner's URL, see to that ourselves.

    Services start in any order: until then a line of the log says, once a second, what is waited for.
    """
    while True:
        try:
            if owner_url is not None:
                await _migrate_as_owner(owner_url, package)
            if await database.is_migrated(package):
                return
            log.warning("waiting for the database: nobody has migrated its schema yet")
        except TemporaryError as error:
            log.warning("waiting for the database: %s", error)
        await asyncio.sleep(1)


async def _migrate_as_owner(url: str, package: str) -> None:
    owner = Database(url)
    try:
        await owner.migrate(package)
    finally:
        await owner.close()


@contextlib.asynccontextmanager
async def savepoint(tx: Transaction) -> AsyncIterator[None]:
    """Take back what is written in here when it raises; the transaction itself can go on."""
    with _translated():
        async with tx.begin_nested():
            yield


def take_note(tx: Transaction) -> str:
    """Return what a transaction wrote, as `UPDATE journal (stage), INSERT outbox`; nothing where it wrote nothing."""
    written = tx.sync_connection.info.pop(_WROTE, {}) if tx.sync_connection is not None else {}
    return ", ".join(written)


async def notify(tx: AsyncConnection, channel: str) -> None:
    """Wake those who wait for the channel, when this transaction commits."""
    await tx.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})


async def try_lock(tx: AsyncConnection, number: int) -> bool:
    """Take an advisory lock until the end of the transaction; False if somebody else has it."""
    return bool((await tx.execute(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": number})).scalar_one())


async def lock(tx: AsyncConnection, number: int) -> None:
    """Wait for an advisory lock, and hold it until the end of the transaction."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": number})


_USED_AT = "aegis_used_at"
_IDLE_S = 1.0
"""A connection that was used this lately is trusted: asking takes as long as a transaction of one statement."""


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _ask_whether_it_lives(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Have the pool replace a connection that died since it was used: the server may have been restarted."""
    used_at = record.info.get(_USED_AT)
    if used_at is None or time.monotonic() - used_at <= _IDLE_S:
        return
    try:
        connection.ping()
    except Exception as error:
        raise DisconnectionError(str(error)) from error


_WROTE = "aegis_wrote"
_WRITES = ("INSERT", "UPDATE", "DELETE")


def _note_write(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
    if statement.startswith(_WRITES) and cursor.rowcount > 0:
        connection.info.setdefault(_WROTE, {})[_in_short(statement)] = True


def _in_short(statement: str) -> str:
    """Return a write's table, and for an UPDATE the columns.

    >>> _in_short("UPDATE journal SET stage=$1, look_at=$2 WHERE id = $3")
    'UPDATE journal (stage look_at)'
    """
    words = statement.split(maxsplit=3)
    if words[0] != "UPDATE":
        return f"{words[0]} {words[2]}"
    assignments = statement.partition(" SET ")[2].partition(" WHERE ")[0]
    return f"UPDATE {words[1]} ({' '.join(re.findall(r'([a-z_]+)=', assignments))})"


def _upgrade(connection: Connection, config: Config) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _MIGRATION_LOCK})
    connection.commit()
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=lambda revision, _: script._upgrade_revs("head", revision)) as env:  # noqa: SLF001
        env.configure(connection=connection)
        with env.begin_transaction():
            env.run_migrations()
    connection.commit()
    connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _MIGRATION_LOCK})
    connection.commit()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Say in our words what went wrong with the database."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
        raise TemporaryError(f"the database does not answer: {_first_line(error)}") from error
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        if isinstance(cause, _SHUT_OUT):
            raise TemporaryError(f"the database does not let us in: {_first_line(cause)}") from error
        if error.connection_invalidated or isinstance(cause, _GOING_AWAY):
            raise TemporaryError(f"the database went away: {_first_line(error)}") from error
        if isinstance(cause, _UNSTORABLE):
            message = "a text holds a character that cannot be stored, such as U+0000"
            raise InvalidError(message, hint="Send it without.") from error
        raise


_SHUT_OUT = (
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
)
"""Whoever makes databases and roles may not have come to ours yet."""
_GOING_AWAY = (
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.PostgresConnectionError,
    asyncpg.exceptions.SerializationError,
    asyncpg.exceptions.DeadlockDetectedError,
)
_UNSTORABLE = (
    asyncpg.exceptions.CharacterNotInRepertoireError,
    asyncpg.exceptions.UntranslatableCharacterError,
)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

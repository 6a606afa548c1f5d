"""Messages waiting to be delivered, in PostgreSQL: written in the transaction of what they tell.

Delivery failing is normal; the next flush tries again, in order. A message may be delivered twice, never lost.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.kit.database import Database, try_lock
from aegis.kit.errors import AegisError, ConflictError, InvalidError, TemporaryError

log = logging.getLogger(__name__)

Send = Callable[[bytes], Awaitable[None]]

_REFUSALS = (InvalidError, ConflictError)
"""What a receiver says of the message itself: the same one would be refused again, and hold up all behind it.

Whatever else goes wrong (a key that is not known yet, a path that is not there yet, a proxy's page) may pass.
"""


@dataclass(frozen=True)
class Undelivered:
    """How many messages wait for their turn, and how many their receivers have refused for good."""

    waiting: int
    refused: int


def outbox_table(metadata: MetaData, name: str = "outbox") -> Table:
    """Return the table a service keeps beside those it serves."""
    return Table(
        name,
        metadata,
        Column("position", BigInteger, Identity(always=True), primary_key=True),
        Column("queue", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("put_at", DateTime(timezone=True), nullable=False),
        Column("refused", Text, nullable=True),
        UniqueConstraint("queue", "key"),
    )


class Outbox:
    """One outbox with several queues: each queue keeps its own order, and none waits for another."""

    def __init__(self, table: Table, *, capacity: int = 10_000) -> None:
        self._table = table
        self._capacity = capacity

    async def put(self, tx: AsyncConnection, *, queue: str, key: str, body: bytes, at: datetime) -> None:
        """Add a message; putting the same key again while it waits changes nothing.

        Raises:
            TemporaryError: the outbox is full. Nothing was acknowledged, so the caller may try again.
        """
        count = select(func.count()).select_from(self._table).where(self._table.c.refused.is_(None))
        if (await tx.execute(count)).scalar_one() >= self._capacity:
            raise TemporaryError(f"the outbox holds {self._capacity} undelivered messages", retry_after_s=5)
        row = {"queue": queue, "key": key, "body": body, "put_at": at}
        await tx.execute(insert(self._table).values(row).on_conflict_do_nothing())

    async def flush(self, database: Database, senders: Mapping[str, Send]) -> int:
        """Deliver what waits, in order per queue; return how many got through.

        A queue stops at the first message that cannot be delivered now. One that the receiver refuses for good
        (`InvalidError`, `ConflictError`) is kept with the refusal, out of the way.
        """
        async with database.reading() as tx:
            found = select(self._table.c.queue).where(self._table.c.refused.is_(None)).distinct()
            waiting = set((await tx.execute(found)).scalars())
        return sum(
            [await self._flush_queue(database, queue, send) for queue, send in senders.items() if queue in waiting]
        )

    async def _flush_queue(self, database: Database, queue: str, send: Send) -> int:
        delivered = 0
        async with database.transaction() as tx:
            # One replica at a time per queue, or two would deliver out of order.
            if not await try_lock(tx, crc32(f"{self._table.name}:{queue}".encode())):
                return 0
            waiting = (
                select(self._table.c.position, self._table.c.key, self._table.c.body)
                .where(self._table.c.queue == queue, self._table.c.refused.is_(None))
                .order_by(self._table.c.position)
                .limit(100)
            )
            for row in (await tx.execute(waiting)).all():
                try:
                    await send(row.body)
                except _REFUSALS as error:
                    log.warning("%s %s was refused: %s", queue, row.key, error)
                    mark = update(self._table).where(self._table.c.position == row.position)
                    await tx.execute(mark.values(refused=str(error)))
                    continue
                except AegisError as error:
                    level = logging.INFO if isinstance(error, TemporaryError) else logging.WARNING
                    log.log(level, "%s %s waits: %s", queue, row.key, error)
                    break
                await tx.execute(delete(self._table).where(self._table.c.position == row.position))
                delivered += 1
        return delivered

    async def undelivered(self, tx: AsyncConnection) -> Undelivered:
        """Return how many messages are there, of all queues."""
        refused = func.count(self._table.c.refused)
        row = (await tx.execute(select(func.count() - refused, refused).select_from(self._table))).one()
        return Undelivered(*row)

"""One sealer at a time numbers and hash-chains what was recorded, and signs checkpoints over it."""

from dataclasses import dataclass
from datetime import timedelta

from aegis.backend.audit import repository
from aegis.contracts.audit import GENESIS, Checkpoint, Head, checkpoint_bytes, entry_hash
from aegis.kit.clock import Clock
from aegis.kit.database import Database, lock, try_lock
from aegis.kit.signing import PrivateKey

SEALER_LOCK = 7_232_002
BATCH = 500
CHECKPOINT_EVERY = timedelta(seconds=60)


@dataclass(frozen=True)
class Sealer:
    database: Database
    clock: Clock
    key: PrivateKey

    async def seal(self) -> int:
        """Seal what waits; return how many entries. Another replica sealing right now is fine: then none."""
        async with self.database.transaction() as tx:
            if not await try_lock(tx, SEALER_LOCK):
                return 0
            await repository.ensure_partitions(tx, self.clock.now())
            waiting = await repository.unsealed(tx, limit=BATCH)
            sequence, head = _link(await repository.head(tx))
            rows = []
            for entry in waiting:
                sequence += 1
                previous, head = (
                    head,
                    entry_hash(
                        sequence=sequence,
                        id=entry.id,
                        at=entry.at,
                        actor=entry.actor,
                        event=entry.event,
                        subject=entry.subject,
                        detail=entry.detail,
                        previous_hash=head,
                    ),
                )
                rows.append(
                    {
                        "sequence": sequence,
                        "at": entry.at,
                        "entry_id": entry.id,
                        "previous_hash": previous,
                        "hash": head,
                    }
                )
            if rows:
                await repository.add_seals(tx, rows)
            newest = await repository.newest_checkpoint(tx)
            if sequence > (newest.sequence if newest else 0) and (
                newest is None or self.clock.now() - newest.at >= CHECKPOINT_EVERY
            ):
                await repository.add_checkpoint(tx, self.sign(sequence, head))
            return len(rows)

    async def seal_everything(self) -> Checkpoint:
        """Seal all there is and sign a checkpoint over it, as an export needs."""
        while await self.seal():
            pass
        async with self.database.transaction() as tx:
            await lock(tx, SEALER_LOCK)  # two exports at once would sign the same entry twice
            sequence, head = _link(await repository.head(tx))
            newest = await repository.newest_checkpoint(tx)
            if newest is not None and newest.sequence == sequence:
                return newest
            checkpoint = self.sign(sequence, head)
            await repository.add_checkpoint(tx, checkpoint)
            return checkpoint

    def sign(self, sequence: int, chain_hash: str) -> Checkpoint:
        at = self.clock.now()
        signature = self.key.sign(checkpoint_bytes(sequence, chain_hash, at))
        return Checkpoint(sequence=sequence, hash=chain_hash, at=at, key_id=self.key.id, signature=signature)


def _link(head: Head | None) -> tuple[int, str]:
    """Return number and hash of the newest sealed entry, as the next one follows from them."""
    return (head.sequence, head.hash) if head is not None else (0, GENESIS)

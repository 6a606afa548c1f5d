"""Whose countersignatures count: one key, that of the settings or else the first that was seen."""

from dataclasses import dataclass

from aegis.backend.audit import repository
from aegis.backend.audit.trail import AuditTrail
from aegis.kit.database import Transaction, lock
from aegis.kit.errors import ForbiddenError
from aegis.kit.signing import PublicKey

WITNESS_LOCK = 7_232_003


@dataclass(frozen=True)
class WitnessKey:
    trail: AuditTrail
    configured: str = ""

    async def known(self, tx: Transaction) -> str | None:
        """Return the one public key whose countersignatures are taken; None before the first."""
        return self.configured or await repository.newest_witness_key(tx)

    async def accept(self, tx: Transaction, given: PublicKey) -> None:
        """Let a key countersign, and tell it in the trail when it does so for the first time.

        Raises:
            ForbiddenError: another key is the witness; whoever has the service key cannot bring one of their own.
        """
        await lock(tx, WITNESS_LOCK)  # two keys at once would both be the first
        recorded = await repository.newest_witness_key(tx)
        if given.to_text() != (self.configured or recorded or given.to_text()):
            raise ForbiddenError(
                f"key {given.id} is not the witness of this audit trail",
                hint="When the Executor has a new key, name it in the Backend's AEGIS_WITNESS_PUBLIC_KEY.",
            )
        if given.to_text() == recorded:
            return
        await repository.add_witness_key(tx, given, at=self.trail.clock.now())
        detail = {"public_key": given.to_text(), "instead_of": recorded}
        await self.trail.record(tx, actor="service:executor", event="witness:accepted", subject=given.id, detail=detail)

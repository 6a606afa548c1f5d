"""Reading, exporting and witnessing the audit trail."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from aegis.backend.audit import repository
from aegis.backend.audit.sealer import Sealer
from aegis.backend.audit.witness import WitnessKey
from aegis.contracts.audit import AuditEntry, Checkpoint, Head, checkpoint_bytes
from aegis.kit.errors import InvalidError
from aegis.kit.http import PROBLEMS, part
from aegis.kit.signing import PublicKey

PAGE = 1000
SEQUENCE_MAX = 2**53
"""More than there will ever be entries, and what every reader of JSON takes for a whole number."""


class AuditPage(BaseModel):
    entries: list[AuditEntry]


class Countersignature(BaseModel):
    """The Executor's signature over a checkpoint it has seen."""

    sequence: int = Field(ge=0, le=SEQUENCE_MAX)
    public_key: str
    signature: str


class Keys(BaseModel):
    """What the trail is verified with."""

    key_id: str
    public_key: str
    """Signs orders and checkpoints."""
    witness_public_key: str | None
    """The Executor's, as this Backend knows it; compare it with what the Executor says."""


Here = Annotated[Sealer, part(Sealer)]
Witness = Annotated[WitnessKey, part(WitnessKey)]


def router(*, anybody: Any, reader: Any, witness: Any) -> APIRouter:
    """Return the routes; `anybody`, `reader` and `witness` are the dependencies that say who may call them."""
    routes = APIRouter(prefix="/api/v1/audit", tags=["audit"], responses=PROBLEMS)

    @routes.get("/entries", dependencies=[reader])
    async def entries(
        sealer: Here,
        after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
        subject: str | None = None,
        newest: bool = False,  # noqa: FBT001, FBT002 (a query parameter)
    ) -> AuditPage:
        await sealer.seal()
        async with sealer.database.reading() as tx:
            found = await repository.sealed_entries(tx, after=after, limit=limit, subject=subject, newest=newest)
        return AuditPage(entries=found)

    @routes.get("/export", dependencies=[reader], response_class=StreamingResponse)
    async def export(sealer: Here) -> StreamingResponse:
        signed = await sealer.seal_everything()
        return StreamingResponse(_export_lines(sealer, until=signed.sequence), media_type="application/x-ndjson")

    @routes.get("/key", dependencies=[anybody])
    async def key(sealer: Here, witness_key: Witness) -> Keys:
        """Return the public keys that the trail is verified with."""
        async with sealer.database.transaction() as tx:
            known = await witness_key.known(tx)
        return Keys(key_id=sealer.key.id, public_key=sealer.key.public.to_text(), witness_public_key=known)

    @routes.get("/head", dependencies=[anybody])
    async def head(sealer: Here) -> Head | None:
        """Return the newest sealed entry: `aegis audit verify --expect` proves with it that nothing was cut off."""
        async with sealer.database.transaction() as tx:
            return await repository.head(tx)

    @routes.get("/checkpoint", dependencies=[witness])
    async def checkpoint(sealer: Here) -> Checkpoint | None:
        async with sealer.database.reading() as tx:
            return await repository.newest_checkpoint(tx, unwitnessed=True)

    @routes.post("/checkpoint/witness", dependencies=[witness], status_code=204)
    async def countersign(sealer: Here, witness_key: Witness, given: Countersignature) -> None:
        async with sealer.database.transaction() as tx:
            newest = await repository.newest_checkpoint(tx, unwitnessed=True)
            if newest is None or newest.sequence != given.sequence:
                return
            key = _key_from(given.public_key)
            if not key.is_signed(checkpoint_bytes(newest.sequence, newest.hash, newest.at), given.signature):
                raise InvalidError("the countersignature does not match the checkpoint", field="signature")
            await witness_key.accept(tx, key)
            await repository.add_witness(tx, sequence=given.sequence, key_id=key.id, signature=given.signature)

    return routes


def _key_from(text: str) -> PublicKey:
    try:
        return PublicKey.from_text(text)
    except ValueError as error:
        raise InvalidError("that is not an Ed25519 public key in base64", field="public_key", value=text) from error


async def _export_lines(sealer: Sealer, *, until: int) -> AsyncIterator[bytes]:
    """Yield one JSON object a line: every entry, then every checkpoint.

    What is recorded meanwhile is left for the next export: no checkpoint signs it yet.
    """
    after = 0
    while after < until:
        async with sealer.database.transaction() as tx:
            page = await repository.sealed_entries(tx, after=after, limit=min(PAGE, until - after))
        for entry in page:
            yield b'{"entry":' + entry.model_dump_json().encode() + b"}\n"
        if not page:
            break
        after = page[-1].sequence
    async with sealer.database.transaction() as tx:
        for checkpoint in await repository.all_checkpoints(tx, until=until):
            yield b'{"checkpoint":' + checkpoint.model_dump_json().encode() + b"}\n"

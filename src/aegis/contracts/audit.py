"""The chain of who did what, and how anybody checks it with a public key alone.

An entry's hash covers its content and the hash before it; a checkpoint signs the newest hash. Altering, removing
or truncating entries therefore breaks a hash or a signature.
"""

import hashlib
from typing import Any

import orjson
from pydantic import Field

from aegis.contracts.base import Contract, Moment, Name

GENESIS = "0" * 64


class AuditEntry(Contract):
    """Who did what to whom, when. `event` is `subject:verb`, as in `order:issued`."""

    sequence: int = Field(ge=1)
    id: Name
    at: Moment
    actor: Name
    event: str = Field(pattern=r"^[a-z_]+:[a-z_]+$")
    subject: Name
    detail: dict[str, Any] = Field(default_factory=dict)
    previous_hash: str
    hash: str


class Checkpoint(Contract):
    """A signature over the chain up to `sequence`; the Executor's countersignature keeps the Backend honest."""

    sequence: int = Field(ge=0)
    hash: str
    at: Moment
    key_id: str
    signature: str
    witness_key_id: str = ""
    witness_signature: str = ""


def entry_hash(
    *,
    sequence: int,
    id: str,
    at: Moment,
    actor: str,
    event: str,
    subject: str,
    detail: dict[str, Any],
    previous_hash: str,
) -> str:
    """Return the SHA-256 (hex) of an entry's content, keys sorted, over the hash of the entry before."""
    content = orjson.dumps(
        [sequence, id, at.isoformat(), actor, event, subject, detail, previous_hash],
        option=orjson.OPT_SORT_KEYS,
    )
    return hashlib.sha256(content).hexdigest()


def checkpoint_bytes(sequence: int, chain_hash: str, at: Moment) -> bytes:
    """Return what a checkpoint's signatures are made over."""
    return f"aegis-audit-checkpoint:1:{sequence}:{chain_hash}:{at.isoformat()}".encode()

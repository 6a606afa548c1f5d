"""The chain of who did what, and how anybody checks it with a public key alone.

An entry's hash covers its content and the hash before it; a checkpoint signs the newest hash. Altering, removing
or truncating entries therefore breaks a hash or a signature.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import Field

from aegis.contracts.base import Contract, Moment, Name
from aegis.kit.signing import PublicKey

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


def broken_links(
    entries: Iterable[AuditEntry],
    checkpoints: Iterable[Checkpoint],
    *,
    key: PublicKey,
    anchor: Checkpoint | None = None,
) -> list[str]:
    """Return what is wrong with an exported chain, with nothing but a public key; an empty list means nothing.

    `anchor` is the checkpoint that retention kept of what it dropped: the chain then starts after it.
    """
    problems: list[str] = []
    sequence, head = (anchor.sequence, anchor.hash) if anchor else (0, GENESIS)
    hashes = {sequence: head}
    for entry in entries:
        if entry.sequence != sequence + 1:
            problems.append(f"entry {entry.sequence} follows {sequence}: entries are missing or out of order")
        if entry.previous_hash != head:
            problems.append(f"entry {entry.sequence} does not follow from the one before it")
        if entry.hash != _recomputed(entry):
            problems.append(f"entry {entry.sequence} was altered: its hash is not that of its content")
        sequence, head = entry.sequence, entry.hash
        hashes[sequence] = head
    return problems + _broken_checkpoints(checkpoints, hashes, last=sequence, key=key)


def _broken_checkpoints(
    checkpoints: Iterable[Checkpoint], hashes: Mapping[int, str], *, last: int, key: PublicKey
) -> list[str]:
    problems: list[str] = []
    newest = -1
    for checkpoint in checkpoints:
        newest = max(newest, checkpoint.sequence)
        signed = checkpoint_bytes(checkpoint.sequence, checkpoint.hash, checkpoint.at)
        if checkpoint.key_id != key.id or not key.is_signed(signed, checkpoint.signature):
            problems.append(f"checkpoint {checkpoint.sequence} is not signed by key {key.id}")
        if checkpoint.sequence > last:
            problems.append(f"checkpoint {checkpoint.sequence} signs entries that are missing: the end was cut off")
        elif hashes.get(checkpoint.sequence) != checkpoint.hash:
            problems.append(f"checkpoint {checkpoint.sequence} signs another chain than this")
    if newest < last:
        problems.append(f"no checkpoint signs entries {max(newest, 0) + 1} to {last}")
    return problems


def _recomputed(entry: AuditEntry) -> str:
    return entry_hash(
        sequence=entry.sequence,
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        event=entry.event,
        subject=entry.subject,
        detail=entry.detail,
        previous_hash=entry.previous_hash,
    )

"""The chain of who did what, and how anybody checks it with a public key alone.

An entry's hash covers its content and the hash before it; a checkpoint signs the newest hash, and the Executor
countersigns it. What that proves:

* with the Backend's public key: nothing up to the last checkpoint was altered, removed or put in since it was signed;
* with the Executor's as well: nor did the Backend itself tell another story up to the last countersignature;
* with a `Head` that somebody wrote down: nothing up to there was cut off. Without one, a trail that was cut off at an
  earlier checkpoint looks like one that was exported then.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
from pydantic import Field

from aegis.contracts.base import Contract, Moment, Name
from aegis.kit.signing import PublicKey

GENESIS = "0" * 64
COUNTERSIGNED_WITHIN = timedelta(minutes=5)
"""A checkpoint may be so old before the Executor has countersigned it, or one after it."""


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


class Head(Contract):
    """The newest sealed entry: whoever writes it down can tell later that nothing before it is gone."""

    sequence: int = Field(ge=1)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    at: Moment | None = None


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


def is_signed_by(key: PublicKey, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint names this key, and its signature fits."""
    signed = checkpoint_bytes(checkpoint.sequence, checkpoint.hash, checkpoint.at)
    return checkpoint.key_id == key.id and key.is_signed(signed, checkpoint.signature)


def broken_links(
    entries: Iterable[AuditEntry],
    checkpoints: Sequence[Checkpoint],
    *,
    key: PublicKey,
    anchor: Checkpoint | None = None,
    witnesses: Collection[PublicKey] | None = None,
    expected: Head | None = None,
) -> list[str]:
    """Return what is wrong with a chain, checked with the Backend's public key; an empty list means nothing.

    `anchor` is the checkpoint that retention kept of what it dropped: the chain then starts after it. With `witnesses`,
    the Executor's public keys, countersignatures are checked; `expected` is an entry that was the last one once.
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
    problems += _broken_checkpoints(checkpoints, hashes, last=sequence, key=key)
    if expected is not None:
        problems += _not_as_expected(expected, hashes, last=sequence)
    if witnesses is not None:
        problems += _broken_countersignatures(checkpoints, witnesses)
    return problems


def not_countersigned(checkpoints: Sequence[Checkpoint]) -> int:
    """Return after how many of the newest checkpoints no countersignature has come yet."""
    count = 0
    for checkpoint in reversed(checkpoints):
        if checkpoint.witness_signature:
            break
        count += 1
    return count


def _not_as_expected(expected: Head, hashes: Mapping[int, str], *, last: int) -> list[str]:
    if expected.sequence > last:
        return [f"entry {expected.sequence} was there once, and {last} is the last one now: the end was cut off"]
    if hashes.get(expected.sequence) != expected.hash:
        return [f"entry {expected.sequence} had another hash once: this is another chain"]
    return []


def _broken_countersignatures(checkpoints: Sequence[Checkpoint], witnesses: Collection[PublicKey]) -> list[str]:
    """A checkpoint counts as countersigned with one after it, whose hash covers all before."""
    known = {witness.id: witness for witness in witnesses}
    problems: list[str] = []
    for one in checkpoints:
        if not one.witness_signature:
            continue
        witness = known.get(one.witness_key_id)
        signed = checkpoint_bytes(one.sequence, one.hash, one.at)
        if witness is None or not witness.is_signed(signed, one.witness_signature):
            problems.append(f"checkpoint {one.sequence} is not countersigned by key {' or '.join(known)}")
    waiting = checkpoints[len(checkpoints) - not_countersigned(checkpoints) :]
    if waiting and checkpoints[-1].at - waiting[0].at > COUNTERSIGNED_WITHIN:
        problems.append(f"nothing since checkpoint {waiting[0].sequence} ({waiting[0].at}) is countersigned")
    return problems


def _broken_checkpoints(
    checkpoints: Iterable[Checkpoint], hashes: Mapping[int, str], *, last: int, key: PublicKey
) -> list[str]:
    problems: list[str] = []
    newest = -1
    for checkpoint in checkpoints:
        newest = max(newest, checkpoint.sequence)
        if not is_signed_by(key, checkpoint):
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

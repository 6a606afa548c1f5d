"""Signed envelopes, and the chain that anybody can check."""

from datetime import timedelta

import pytest
from tests.builders import NOW

from aegis.contracts.audit import (
    GENESIS,
    AuditEntry,
    Checkpoint,
    Head,
    broken_links,
    checkpoint_bytes,
    entry_hash,
    not_countersigned,
)
from aegis.contracts.envelope import Envelope, EnvelopeRefusedError, open_envelope, seal
from aegis.kit.signing import PrivateKey

KEY, OTHER, WITNESS = (PrivateKey(bytes([number] * 32)) for number in range(3))
KEYS = {KEY.public.id: KEY.public}


def opened(envelope: Envelope, **changes: str) -> bytes:
    return open_envelope(envelope, keys=KEYS, **({"cluster_id": "c", "audience": "executor"} | changes))


def test_an_envelope_opens_for_whom_it_was_sealed() -> None:
    assert opened(seal(b"order", key=KEY, cluster_id="c", audience="executor")) == b"order"


@pytest.mark.parametrize(
    "change",
    [{"payload": "b3RoZXI="}, {"version": 7}, {"cluster_id": "d"}, {"audience": "backend"}, {"signature": "eA=="},
     {"key_id": "unknown"}, {"payload": "%%%"}],
)  # fmt: skip
def test_whatever_is_altered_is_refused(change: dict[str, str]) -> None:
    envelope = seal(b"order", key=KEY, cluster_id="c", audience="executor").model_copy(update=change)

    with pytest.raises(EnvelopeRefusedError):
        opened(envelope)


def test_an_envelope_of_a_stranger_is_refused() -> None:
    with pytest.raises(EnvelopeRefusedError, match="unknown key"):
        opened(seal(b"order", key=OTHER, cluster_id="c", audience="executor"))


def chain(length: int) -> tuple[list[AuditEntry], Checkpoint]:
    entries, head = [], GENESIS
    for number in range(1, length + 1):
        given = {
            "sequence": number, "id": f"aud-{number}", "at": NOW + timedelta(seconds=number), "actor": "person:a",
            "event": "order:issued", "subject": "rem", "detail": {"n": number}, "previous_hash": head,
        }  # fmt: skip
        head = entry_hash(**given)  # type: ignore[arg-type]
        entries.append(AuditEntry.model_validate(given | {"hash": head}))
    return entries, checkpoint_of(entries[-1])


def checkpoint_of(entry: AuditEntry, *, witness: PrivateKey | None = None, minutes: int = 0) -> Checkpoint:
    at = NOW + timedelta(minutes=minutes)
    signed = checkpoint_bytes(entry.sequence, entry.hash, at)
    seen = {"witness_key_id": witness.id, "witness_signature": witness.sign(signed)} if witness else {}
    return Checkpoint(
        sequence=entry.sequence, hash=entry.hash, at=at, key_id=KEY.id, signature=KEY.sign(signed), **seen
    )


def test_a_whole_chain_holds() -> None:
    entries, checkpoint = chain(5)

    assert broken_links(entries, [checkpoint], key=KEY.public) == []


def test_altering_removing_and_cutting_off_are_found() -> None:
    entries, checkpoint = chain(5)
    altered = [*entries[:2], entries[2].model_copy(update={"actor": "person:b"}), *entries[3:]]

    assert broken_links(altered, [checkpoint], key=KEY.public)
    assert broken_links([*entries[:2], *entries[3:]], [checkpoint], key=KEY.public)
    assert broken_links(entries[:3], [checkpoint], key=KEY.public)
    assert broken_links(entries, [], key=KEY.public)
    assert broken_links(entries, [checkpoint], key=OTHER.public)


def test_an_end_cut_off_at_a_checkpoint_is_found_by_whoever_knows_what_came_after() -> None:
    entries, last = chain(5)
    cut, checkpoints = entries[:3], [checkpoint_of(entries[2])]
    head = Head(sequence=5, hash=last.hash)

    assert broken_links(cut, checkpoints, key=KEY.public) == [], "the key alone cannot tell"
    assert "cut off" in broken_links(cut, checkpoints, key=KEY.public, expected=head)[0]
    assert broken_links(entries, [*checkpoints, last], key=KEY.public, expected=head) == []
    other = Head(sequence=4, hash=last.hash)
    assert "another chain" in broken_links(entries, [last], key=KEY.public, expected=other)[0]


def test_a_countersignature_of_anybody_but_the_witness_is_found() -> None:
    entries, _ = chain(2)
    seen, forged = (checkpoint_of(entries[-1], witness=key) for key in (WITNESS, OTHER))
    altered = seen.model_copy(update={"witness_signature": forged.witness_signature})

    assert broken_links(entries, [seen], key=KEY.public, witnesses=[WITNESS.public]) == []
    for wrong in (forged, altered):
        assert broken_links(entries, [wrong], key=KEY.public) == []
        assert "not countersigned by" in broken_links(entries, [wrong], key=KEY.public, witnesses=[WITNESS.public])[0]


@pytest.mark.parametrize(("seen", "waiting"), [((0,), 1), ((1,), 0), ((0, 1), 0), ((), 2)])
def test_a_countersignature_covers_what_is_before_it_and_may_not_be_missing_for_long(
    seen: tuple[int, ...], waiting: int
) -> None:
    entries, _ = chain(2)
    checkpoints = [
        checkpoint_of(entry, witness=WITNESS if number in seen else None, minutes=minutes)
        for number, (entry, minutes) in enumerate(zip(entries, (0, 6), strict=True))
    ]

    problems = broken_links(entries, checkpoints, key=KEY.public, witnesses=[WITNESS.public])

    assert not_countersigned(checkpoints) == waiting
    # The newest may wait for a while; the first of two has waited for six minutes.
    assert len(problems) == (1 if waiting == 2 else 0)

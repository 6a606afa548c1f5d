"""Signed envelopes, and the chain that anybody can check."""

from datetime import timedelta

import pytest
from tests.builders import NOW

from aegis.contracts.audit import GENESIS, AuditEntry, Checkpoint, broken_links, checkpoint_bytes, entry_hash
from aegis.contracts.envelope import Envelope, EnvelopeRefusedError, open_envelope, seal
from aegis.kit.signing import PrivateKey

KEY, OTHER = PrivateKey(bytes(32)), PrivateKey(bytes([1] * 32))
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
    signature = KEY.sign(checkpoint_bytes(length, head, NOW))
    return entries, Checkpoint(sequence=length, hash=head, at=NOW, key_id=KEY.id, signature=signature)


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

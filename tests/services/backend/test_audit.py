"""The audit trail over HTTP: listed, exported, witnessed, and proved with a public key alone."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from tests.servers import KEYS
from tests.services.backend.rig import Rig, field_of

from aegis.backend.audit import endpoints, repository
from aegis.contracts.audit import AuditEntry, Checkpoint, Head, broken_links, checkpoint_bytes
from aegis.kit.errors import ForbiddenError
from aegis.kit.signing import PrivateKey, PublicKey

WITNESS, STRANGER = PrivateKey.from_text(KEYS.witness), PrivateKey(bytes(32))


async def act(rig: Rig, *, times: int = 3) -> None:
    for number in range(times):
        await rig.as_("ann").post("/api/v1/pause", json={"reason": f"reason {number}"})
        await rig.pass_time(seconds=30)


async def export(rig: Rig) -> tuple[list[AuditEntry], list[Checkpoint]]:
    answer = await rig.as_("vic").get("/api/v1/audit/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines: list[dict[str, Any]] = [json.loads(line) for line in answer.text.splitlines()]
    entries = [AuditEntry.model_validate(line["entry"]) for line in lines if "entry" in line]
    return entries, [Checkpoint.model_validate(line["checkpoint"]) for line in lines if "checkpoint" in line]


async def public_key(rig: Rig) -> PublicKey:
    return PublicKey.from_text((await rig.as_("vic").get("/api/v1/audit/key")).json()["public_key"])


async def test_an_export_verifies_with_the_public_key_alone(rig: Rig) -> None:
    await act(rig)

    entries, checkpoints = await export(rig)

    assert [one.sequence for one in entries] == list(range(1, len(entries) + 1))
    assert broken_links(entries, checkpoints, key=await public_key(rig)) == []


async def test_an_export_covers_what_happened_up_to_this_moment(rig: Rig) -> None:
    await export(rig)
    await act(rig)

    entries, checkpoints = await export(rig)

    assert entries[-1].detail == {"reason": "reason 2"}
    assert checkpoints[-1].sequence == entries[-1].sequence


async def test_exports_at_the_same_time_sign_the_same_checkpoint(rig: Rig) -> None:
    await act(rig)

    exports = await asyncio.gather(*(export(rig) for _ in range(4)))

    assert len({checkpoints[-1].signature for _, checkpoints in exports}) == 1


async def test_what_is_sealed_while_an_export_is_written_waits_for_the_next(rig: Rig) -> None:
    await act(rig)
    sealer = rig.backend._sealer
    signed = await sealer.seal_everything()
    await act(rig, times=1)
    await sealer.seal()

    lines = [json.loads(line) async for line in endpoints._export_lines(sealer, until=signed.sequence)]

    entries = [AuditEntry.model_validate(line["entry"]) for line in lines if "entry" in line]
    checkpoints = [Checkpoint.model_validate(line["checkpoint"]) for line in lines if "checkpoint" in line]
    assert entries[-1].sequence == signed.sequence
    assert broken_links(entries, checkpoints, key=await public_key(rig)) == []


async def test_an_altered_removed_or_cut_entry_is_found(rig: Rig) -> None:
    await act(rig)
    entries, checkpoints = await export(rig)
    key = await public_key(rig)
    altered = entries[2].model_copy(update={"actor": "person:somebody-else"})

    assert broken_links([*entries[:2], altered, *entries[3:]], checkpoints, key=key)
    assert broken_links([*entries[:2], *entries[3:]], checkpoints, key=key)
    assert broken_links(entries[:-1], checkpoints, key=key)


async def test_entries_are_listed_from_either_end_and_by_what_they_are_about(rig: Rig) -> None:
    await act(rig)

    async def sequences(**query: Any) -> list[int]:
        answer = await rig.as_("vic").get("/api/v1/audit/entries", params=query)
        return [one["sequence"] for one in answer.json()["entries"]]

    everything = await sequences(limit=1000)
    assert await sequences(limit=2) == everything[:2]
    assert await sequences(limit=2, newest=True) == everything[-2:]
    assert await sequences(after=everything[-2]) == everything[-1:]
    assert len(await sequences(subject="cluster")) == 3
    assert field_of(await rig.as_("vic").get("/api/v1/audit/entries?limit=0")) == ("query.limit", "0")


async def test_the_executor_countersigns_a_checkpoint_once_and_an_export_shows_it(rig: Rig) -> None:
    await act(rig)
    await rig.backend.tidy()
    newest = await rig.executor.newest_checkpoint()
    assert newest is not None

    signature = WITNESS.sign(checkpoint_bytes(newest.sequence, newest.hash, newest.at))
    for _ in range(2):
        await rig.executor.countersign(newest.sequence, WITNESS.public.to_text(), signature)

    _, checkpoints = await export(rig)
    [witnessed] = [one for one in checkpoints if one.witness_signature]
    assert (witnessed.sequence, witnessed.witness_key_id) == (newest.sequence, WITNESS.id)
    signed = checkpoint_bytes(witnessed.sequence, witnessed.hash, witnessed.at)
    assert WITNESS.public.is_signed(signed, witnessed.witness_signature)


async def test_a_countersignature_that_is_none_is_refused(rig: Rig) -> None:
    await rig.backend.tidy()
    newest = await rig.executor.newest_checkpoint()
    assert newest is not None
    given = {"sequence": newest.sequence, "public_key": WITNESS.public.to_text(), "signature": "bm9uZQ=="}

    for change, field in (({}, "signature"), ({"public_key": "none"}, "public_key"), ({"sequence": "x"}, "sequence")):
        answer = await rig.as_("executor").post("/api/v1/audit/checkpoint/witness", json=given | change)

        assert field_of(answer)[0] == field


async def countersign(rig: Rig, key: PrivateKey) -> None:
    newest = await rig.executor.newest_checkpoint()
    assert newest is not None
    signature = key.sign(checkpoint_bytes(newest.sequence, newest.hash, newest.at))
    await rig.executor.countersign(newest.sequence, key.public.to_text(), signature)


async def witness_key(rig: Rig) -> str | None:
    answer = (await rig.as_("vic").get("/api/v1/audit/key")).json()["witness_public_key"]
    return str(answer) if answer is not None else None


async def test_the_first_witness_is_told_in_the_trail_and_no_other_key_countersigns_after_it(rig: Rig) -> None:
    await rig.backend.tidy()
    assert await witness_key(rig) is None

    await countersign(rig, WITNESS)
    await act(rig)
    await rig.backend.tidy()
    with pytest.raises(ForbiddenError, match="is not the witness"):
        await countersign(rig, STRANGER)
    await countersign(rig, WITNESS)

    assert await witness_key(rig) == WITNESS.public.to_text()
    assert await rig.audit(WITNESS.id) == ["service:executor witness:accepted"]
    entries, checkpoints = await export(rig)
    seen = [WITNESS.public]
    assert broken_links(entries, checkpoints, key=await public_key(rig), witnesses=seen) == []


async def test_a_witness_that_the_settings_name_is_the_only_one_from_the_start(rig: Rig) -> None:
    named = Rig(rig.database, {"settings": {"witness_public_key": WITNESS.public.to_text()}})
    await named.backend.tidy()

    with pytest.raises(ForbiddenError, match="is not the witness"):
        await countersign(named, STRANGER)
    await countersign(named, WITNESS)

    assert await witness_key(named) == WITNESS.public.to_text()


async def test_the_head_of_the_trail_is_what_an_export_ends_with(rig: Rig) -> None:
    await act(rig)

    entries, _ = await export(rig)
    head = Head.model_validate((await rig.as_("vic").get("/api/v1/audit/head")).json())

    assert (head.sequence, head.hash) == (entries[-1].sequence, entries[-1].hash)
    cut = entries[:-1]
    at_a_checkpoint = [await sealed_at(rig, cut[-1])]
    assert broken_links(cut, at_a_checkpoint, key=await public_key(rig)) == []
    assert broken_links(cut, at_a_checkpoint, key=await public_key(rig), expected=head)


async def sealed_at(rig: Rig, entry: AuditEntry) -> Checkpoint:
    return rig.backend._sealer.sign(entry.sequence, entry.hash)


async def test_an_entry_waits_for_its_seal_whenever_it_is_committed_and_whatever_its_time(rig: Rig) -> None:
    """A transaction may take long, and a clock may jump back: neither is a way past the chain."""
    await act(rig)
    await rig.backend.tidy()
    before = (await export(rig))[0]

    async with rig.database.transaction() as tx:
        await repository.add_entry(
            tx, id="aud-late", at=before[0].at - timedelta(days=400), actor="person:a", event="order:issued",
            subject="rem", detail={},
        )  # fmt: skip

    entries, checkpoints = await export(rig)
    assert [one.id for one in entries[len(before) :]] == ["aud-late"]
    assert broken_links(entries, checkpoints, key=await public_key(rig)) == []


@pytest.mark.parametrize(
    "table", ["audit_entries", "audit_seals", "audit_checkpoints", "audit_witnesses", "audit_witness_keys"]
)
async def test_the_backends_own_role_cannot_rewrite_the_trail(rig: Rig, table: str) -> None:
    column = {"audit_entries": "id", "audit_witness_keys": "key_id"}.get(table, "sequence")
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with rig.database.transaction() as tx:
                await tx.execute(text(statement))


async def test_what_is_not_sealed_yet_is_counted_for_a_metrics_system(rig: Rig) -> None:
    await act(rig)
    await rig.backend.tidy()

    metrics = (await rig.anybody().get("/metrics")).text

    assert "aegis_audit_unsealed_entries 0.0" in metrics
    assert 'aegis_remediations{state="kept"} 0.0' in metrics

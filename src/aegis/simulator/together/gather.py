"""After a run: collect what is left behind, for the invariants to judge."""

import base64
import zlib
from typing import Any

import asyncpg
import orjson

from aegis.backend.audit.sealer import Sealer
from aegis.contracts.audit import AuditEntry, Checkpoint
from aegis.executor.journal.plan import PlanCipher
from aegis.executor.settings import ExecutorSettings
from aegis.kit.database import Database
from aegis.kit.signing import PrivateKey
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, EVENTS, HPAS, PODS, STATEFULSETS
from aegis.simulator.together.together import CLUSTER, Together
from aegis.simulator.world.invariants.evidence import Acknowledged, Evidence

_TABLES = (
    "remediations",
    "outcomes",
    "work_items",
    "approvals",
    "notifications",
    "pauses",
    "incidents",
    "policy_versions",
)
_NAMES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
_ENTRIES = """
SELECT e.id, e.at, e.actor, e.event, e.subject, e.detail, s.sequence, s.previous_hash, s.hash
FROM audit_seals s JOIN audit_entries e ON e.id = s.entry_id AND e.at = s.at ORDER BY s.sequence
"""
_CHECKPOINTS = """
SELECT c.*, coalesce(w.key_id, '') AS witness_key_id, coalesce(w.signature, '') AS witness_signature
FROM audit_checkpoints c LEFT JOIN audit_witnesses w USING (sequence) ORDER BY c.sequence
"""


async def gather(run: Together) -> Evidence:
    """Seal the audit trail, then read everything."""
    key = PrivateKey.from_text(run.keys.signing)
    owner = Database(run.urls["backend"])
    await Sealer(owner, run.clock, key).seal_everything()
    await owner.close()
    for connection in (run.records, run.journal, run.memory):
        await connection.set_type_codec("jsonb", encoder=str, decoder=orjson.loads, schema="pg_catalog")
    journal = await _rows(run.journal, "journal")
    cipher = PlanCipher(base64.b64decode(run.keys.data))
    plans = {
        row["order_id"]: cipher.decrypt(row["hash"], row["body"])
        for row in sorted(await _rows(run.journal, "plans"), key=lambda row: row["made_at"])
    }
    # Two rehearsals may have made two plans for one order: what counts is the one that was ordered.
    ordered = {row["order_id"]: row["plan_hash"] for row in journal if row["concerns"] is None}
    for row in await _rows(run.journal, "plans"):
        if ordered.get(row["order_id"]) == row["hash"]:
            plans[row["order_id"]] = cipher.decrypt(row["hash"], row["body"])
    store = run.world.store
    return Evidence(
        cluster_id=CLUSTER,
        ended_at=run.clock.now(),
        settings=_settings(run),
        writes=run.ledger.writes,
        delayed=run.network.delayed,
        requests=list(run.api.requests),
        truths=run.truths,
        objects={
            one["metadata"]["uid"]: one
            for resource in (DEPLOYMENTS, STATEFULSETS, PODS, HPAS)
            for one in store.list(resource)
        },
        events=[one for one in store.list(EVENTS) if (one.get("source") or {}).get("component") == "aegis"],
        tables={name: await _rows(run.records, name) for name in _TABLES},
        journal={row["order_id"]: row for row in journal},
        plans=plans,
        storms=await _rows(run.journal, "storms"),
        entries=[AuditEntry.model_validate(dict(row)) for row in await run.records.fetch(_ENTRIES)],
        checkpoints=[Checkpoint.model_validate(dict(row)) for row in await run.records.fetch(_CHECKPOINTS)],
        key=key.public,
        witness=PrivateKey.from_text(run.keys.witness).public,
        acknowledged=[
            Acknowledged(one.client, one.method, one.path, one.sent, one.answered)
            for one in run.network.exchanges
            if one.server.startswith("backend") and one.status < 300
        ],
        verdicts=[
            (one.at, orjson.loads(one.sent)["order_id"], orjson.loads(one.answered)["judgement"])
            for one in run.network.exchanges
            if one.path == "/api/v1/verifications" and one.status < 300
        ],
        dumps={
            "backend": await _dump(run.records),
            "ai_engine": await _dump(run.memory),
            "executor": await _dump(run.journal),
        },
        canaries=run.canaries,
        operator_pauses=run.operator_pauses,
        freezes=run.freezes,
        forbidden=run.forbidden,
    )


def _settings(run: Together) -> ExecutorSettings:
    given = {"backend_key": "-", "ai_engine_key": "-", "order_keys": "-", "witness_key": "-", "data_key": run.keys.data}
    return ExecutorSettings.model_validate(given | dict(run.executor_settings))


async def _rows(connection: "asyncpg.Connection[Any]", table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(f'SELECT * FROM "{table}"')]  # noqa: S608


async def _dump(connection: "asyncpg.Connection[Any]") -> bytes:
    """Return all of a database's rows as text; what is compressed, unpacked."""
    found: list[bytes] = []
    for name in await connection.fetch(_NAMES):
        for row in await _rows(connection, name["relname"]):
            found.extend(_text(value) for value in row.values())
    return b"\n".join(found)


def _text(value: Any) -> bytes:
    if isinstance(value, bytes):
        try:
            return zlib.decompress(value)
        except zlib.error:
            return value
    if isinstance(value, dict | list):
        return orjson.dumps(value)
    return str(value).encode()

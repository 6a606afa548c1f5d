"""The AI Engine's memory in PostgreSQL."""

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Table, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.ai_engine import tables
from aegis.ai_engine.ports import Backend, Conclusion, Conclusions, StoredIncident
from aegis.contracts.incidents import IncidentReport
from aegis.contracts.proposals import Proposal
from aegis.kit.database import Database
from aegis.kit.outbox import Outbox, Undelivered

_QUEUE = "backend"
_REPORT, _PROPOSAL = b"report\n", b"proposal\n"
KEEP = timedelta(days=7)


class Repository:
    """Implements the port `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._outbox = Outbox(tables.outbox)

    async def save(self, conclusions: Conclusions, *, at: datetime) -> None:
        if not (conclusions.incidents or conclusions.reports or conclusions.proposals):
            return
        async with self._database.transaction() as tx:
            for incident in conclusions.incidents:
                await _upsert(tx, tables.incidents, ("key", incident.key), incident.body, at=at)
            # One queue: the Backend must know an incident before it hears what to do about it.
            for report in conclusions.reports:
                body = _REPORT + report.model_dump_json().encode()
                await self._outbox.put(tx, queue=_QUEUE, key=_key(report), body=body, at=at)
            for proposal in conclusions.proposals:
                await self._keep_proposal(tx, proposal, at)

    async def _keep_proposal(self, tx: AsyncConnection, proposal: Proposal, at: datetime) -> None:
        row = {"id": proposal.id, "incident_key": proposal.incident_key, "made_at": at}
        await tx.execute(insert(tables.proposals).values(row).on_conflict_do_nothing())
        body = _PROPOSAL + proposal.model_dump_json().encode()
        await self._outbox.put(tx, queue=_QUEUE, key=proposal.id, body=body, at=at)

    async def recent_incidents(self, *, since: datetime) -> Sequence[StoredIncident]:
        query = select(tables.incidents.c.key, tables.incidents.c.body).where(tables.incidents.c.written_at >= since)
        async with self._database.reading() as tx:
            return [StoredIncident(row.key, row.body) for row in (await tx.execute(query)).all()]

    async def deliver(self, backend: Backend) -> int:
        async def send(body: bytes) -> None:
            if body.startswith(_REPORT):
                await backend.report(IncidentReport.model_validate_json(body.removeprefix(_REPORT)))
                return
            proposal = Proposal.model_validate_json(body.removeprefix(_PROPOSAL))
            remediation_id = await backend.propose(proposal)
            # Before the outbox forgets it: whoever is killed in between proposes it again, and hears the same id.
            async with self._database.transaction() as tx:
                row = update(tables.proposals).where(tables.proposals.c.id == proposal.id)
                await tx.execute(row.values(remediation_id=remediation_id))

        return await self._outbox.flush(self._database, {_QUEUE: send})

    async def undelivered(self) -> Undelivered:
        async with self._database.reading() as tx:
            return await self._outbox.undelivered(tx)

    async def learn(self, backend: Backend, *, after: str) -> tuple[Sequence[Conclusion], str]:
        outcomes, after = await backend.outcomes_after(after)
        if not outcomes:
            return [], after
        ids = {one.remediation_id for one in outcomes}
        query = select(tables.proposals.c.id, tables.proposals.c.remediation_id)
        async with self._database.reading() as tx:
            rows = (await tx.execute(query.where(tables.proposals.c.remediation_id.in_(ids)))).all()
        proposal_of = {row.remediation_id: row.id for row in rows}
        known = (one for one in outcomes if one.remediation_id in proposal_of)
        return [Conclusion(proposal_of[one.remediation_id], one) for one in known], after

    async def save_snapshot(self, name: str, body: bytes, *, at: datetime) -> None:
        async with self._database.transaction() as tx:
            await _upsert(tx, tables.snapshots, ("name", name), zlib.compress(body, 1), at=at)

    async def snapshot(self, name: str) -> bytes | None:
        async with self._database.reading() as tx:
            found = (
                await tx.execute(select(tables.snapshots.c.body).where(tables.snapshots.c.name == name))
            ).scalar_one_or_none()
        return zlib.decompress(found) if found is not None else None

    async def tidy(self, *, at: datetime) -> None:
        async with self._database.transaction() as tx:
            await tx.execute(delete(tables.incidents).where(tables.incidents.c.written_at < at - KEEP))
            await tx.execute(delete(tables.proposals).where(tables.proposals.c.made_at < at - KEEP))

    async def is_there(self) -> bool:
        return await self._database.is_there()


async def _upsert(tx: AsyncConnection, table: Table, key: tuple[str, str], body: bytes, *, at: datetime) -> None:
    name, value = key
    row = {name: value, "body": body, "written_at": at}
    changed = {"body": body, "written_at": at}
    await tx.execute(insert(table).values(row).on_conflict_do_update(index_elements=[name], set_=changed))


def _key(report: IncidentReport) -> str:
    """A later report of the same incident is another message, not the same one again."""
    return f"{report.key}@{report.reported_at.isoformat()}"

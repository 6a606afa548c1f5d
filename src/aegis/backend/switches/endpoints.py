"""Pause and resume; the storm that the Executor reports."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.identity.access import anybody, anywhere, everywhere, service
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.notifications.notifier import Notifier
from aegis.backend.ports import BackendPorts
from aegis.backend.switches import repository
from aegis.contracts.findings import Severity
from aegis.contracts.work import Pause, Storm
from aegis.kit.database import Transaction
from aegis.kit.errors import NotFoundError
from aegis.kit.http import PROBLEMS, part

NEVER_RESUMED = "a new installation is paused until an admin resumes it"


class Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000)


@dataclass(frozen=True)
class Switches:
    ports: BackendPorts
    trail: AuditTrail
    notifier: Notifier


Here = Annotated[Switches, part(Switches)]
routes = APIRouter(prefix="/api/v1", tags=["switches"], responses=PROBLEMS)


@routes.get("/pause")
async def show(here: Here, _: Principal = anybody) -> Pause:
    async with here.ports.database.reading() as tx:
        newest = await repository.newest_pause(tx)
    return newest or Pause(paused=True, reason=NEVER_RESUMED, by="service:backend", since=here.ports.clock.now())


@routes.post("/pause")
async def pause(here: Here, body: Reason, principal: Principal = anywhere(Permission.PAUSE)) -> Pause:
    """Stop all new actions, everywhere; undo goes on. Anyone on call may."""
    return await _switch(here, principal, paused=True, reason=body.reason)


@routes.post("/resume")
async def resume(here: Here, body: Reason, principal: Principal = everywhere(Permission.ADMINISTER)) -> Pause:
    return await _switch(here, principal, paused=False, reason=body.reason)


@routes.put("/storm", status_code=204)
async def report_storm(here: Here, storm: Storm, principal: Principal = service("executor")) -> None:
    async with here.ports.database.transaction() as tx:
        known = await repository.save_storm(tx, storm)
        event = "storm:began" if storm.active else "storm:ended"
        if not (known and storm.active):
            detail = {"unhealthy": list(storm.unhealthy), "workloads": storm.workloads}
            await here.trail.record(tx, actor=principal.actor, event=event, subject="cluster", detail=detail)
        if storm.active:
            await _page(here, tx, storm)


@routes.get("/storm")
async def show_storm(here: Here, principal: Principal = anywhere(Permission.READ)) -> Storm:
    async with here.ports.database.reading() as tx:
        newest = await repository.newest_storm(tx)
    if newest is None:
        raise NotFoundError("there has been no storm", hint="`aegis status` shows how the cluster is.")
    readable = (one for one in newest.unhealthy if _concerns(one, principal))
    return newest.model_copy(update={"unhealthy": tuple(readable)})


async def _switch(here: Switches, principal: Principal, *, paused: bool, reason: str) -> Pause:
    switched = Pause(paused=paused, reason=reason, by=principal.actor, since=here.ports.clock.now())
    async with here.ports.database.transaction() as tx:
        await repository.add_pause(tx, switched)
        event = "actions:paused" if paused else "actions:resumed"
        await here.trail.record(tx, actor=principal.actor, event=event, subject="cluster", detail={"reason": reason})
    return switched


async def _page(here: Switches, tx: Transaction, storm: Storm) -> None:
    await here.notifier.notify(
        tx,
        key=f"storm:{storm.since.isoformat()}",
        kind="storm",
        severity=Severity.CRITICAL,
        title=f"{len(storm.unhealthy)} of {storm.workloads} workloads are unhealthy at once: Aegis takes no action",
        detail={"unhealthy": list(storm.unhealthy), "since": storm.since.isoformat()},
    )


def _concerns(workload: str, principal: Principal) -> bool:
    """Whether somebody may know of a workload (`namespace/Kind/name`); a node (`Node/name`) concerns everybody."""
    namespace, _, named = workload.partition("/")
    return "/" not in named or principal.may(Permission.READ, namespace)

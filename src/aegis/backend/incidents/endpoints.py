"""Reports and alerts in; incidents out."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from aegis.backend.identity.access import anywhere, require, service
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.incidents import repository
from aegis.backend.incidents.alertmanager import AlertmanagerMessage, as_finding
from aegis.backend.incidents.register import IncidentRegister
from aegis.contracts.base import Moment
from aegis.contracts.incidents import Incident, IncidentReport, IncidentState
from aegis.contracts.targets import WorkloadRef
from aegis.kit.errors import ConflictError, InvalidError, NotFoundError
from aegis.kit.http import PROBLEMS, part


class Accepted(BaseModel):
    incident_ids: list[str]


class IncidentPage(BaseModel):
    incidents: list[Incident]


Here = Annotated[IncidentRegister, part(IncidentRegister)]
routes = APIRouter(prefix="/api/v1", tags=["incidents"], responses=PROBLEMS)


@routes.post("/incidents/reports", status_code=202)
async def report(here: Here, report: IncidentReport, principal: Principal = service("ai-engine")) -> Accepted:
    async with here.ports.database.transaction() as tx:
        incident = await here.take(tx, report, actor=principal.actor)
    return Accepted(incident_ids=[incident.id])


@routes.post("/alerts", status_code=202)
async def alerts(here: Here, message: AlertmanagerMessage, _: Principal = service("alertmanager")) -> Accepted:
    """Alertmanager's webhook: accepted means stored, so Alertmanager need not send it again."""
    capacity = here.ports.settings.webhook_capacity
    if len(message.alerts) > capacity:
        raise InvalidError(
            f"{len(message.alerts)} alerts in one message; at most {capacity} are taken",
            field="alerts",
            value=len(message.alerts),
            hint="Set `max_alerts` in Alertmanager's webhook_config; nothing of this message was taken.",
        )
    async with here.ports.database.transaction() as tx:
        now = here.ports.clock.now()
        found = [as_finding(alert, cluster_id=here.ports.settings.cluster_id, now=now) for alert in message.alerts]
        # In one order for everybody: two messages must not wait for each other's workloads.
        found.sort(key=lambda alert: str(alert.workload))
        incidents = [await here.take_alert(tx, alert) for alert in found]
        if message.truncated:
            await here.tell_left_out(tx, message.truncated, group_key=message.group_key)
    return Accepted(incident_ids=sorted({incident.id for incident in incidents}))


@routes.get("/incidents")
async def page(
    here: Here,
    state: IncidentState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Moment | None = None,
    principal: Principal = anywhere(Permission.READ),
) -> IncidentPage:
    async with here.ports.database.transaction() as tx:
        readable = [one for one in await repository.namespaces(tx) if principal.may(Permission.READ, one)]
        found = await repository.page(tx, namespaces=readable, state=state, limit=limit, before=before)
    return IncidentPage(incidents=[_readable(one, principal) for one in found])


@routes.get("/incidents/counts")
async def counts(here: Here, principal: Principal = anywhere(Permission.READ)) -> dict[str, int]:
    """Count all there are, however many, by state."""
    async with here.ports.database.transaction() as tx:
        readable = [one for one in await repository.namespaces(tx) if principal.may(Permission.READ, one)]
        return await repository.count_by_state(tx, namespaces=readable)


@routes.get("/incidents/{incident_id}")
async def show(here: Here, incident_id: str, principal: Principal = anywhere(Permission.READ)) -> Incident:
    return await _visible(here, incident_id, principal)


@routes.post("/incidents/{incident_id}/acknowledge", status_code=204)
async def acknowledge(here: Here, incident_id: str, principal: Principal = anywhere(Permission.ACKNOWLEDGE)) -> None:
    incident = await _visible(here, incident_id, principal)
    require(principal, Permission.ACKNOWLEDGE, incident.workload.namespace)
    async with here.ports.database.transaction() as tx:
        if not await repository.acknowledge(tx, incident_id, at=here.ports.clock.now()):
            raise ConflictError(
                f"incident {incident_id} is {incident.state}, not open",
                hint=f"`aegis incidents show {incident_id}` shows it; there is nothing left to acknowledge.",
            )
        await here.trail.record(tx, actor=principal.actor, event="incident:acknowledged", subject=incident_id)


async def _visible(here: IncidentRegister, incident_id: str, principal: Principal) -> Incident:
    async with here.ports.database.reading() as tx:
        incident = await repository.find(tx, incident_id)
    if incident is None or not principal.may(Permission.READ, incident.workload.namespace):
        raise NotFoundError(f"there is no incident {incident_id}", hint="`aegis incidents list` shows them.")
    return _readable(incident, principal)


def _readable(incident: Incident, principal: Principal) -> Incident:
    """Return an incident without what else is wrong in namespaces that are none of this person's business.

    The cause is named wherever it is: without it nobody could understand what is wrong in their own.
    """

    def may(one: WorkloadRef) -> bool:
        return not one.namespace or principal.may(Permission.READ, one.namespace)

    affected = tuple(one for one in incident.affected if may(one))
    findings = tuple(one for one in incident.findings if may(one.workload))
    return incident.model_copy(update={"affected": affected, "findings": findings})

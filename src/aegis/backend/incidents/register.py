"""What happens to a report: it opens, extends, re-diagnoses or resolves an incident, once."""

import hashlib
from dataclasses import dataclass

from aegis.backend.audit.trail import AuditTrail
from aegis.backend.incidents import repository
from aegis.backend.incidents.grouping import all_resolved, merged, severity_of, title_of
from aegis.backend.notifications.notifier import Notifier, of_incident
from aegis.backend.ports import BackendPorts
from aegis.contracts.base import TEXT_MAX
from aegis.contracts.findings import Alert, Severity
from aegis.contracts.incidents import Incident, IncidentReport, IncidentState
from aegis.kit.database import Transaction


@dataclass(frozen=True)
class IncidentRegister:
    ports: BackendPorts
    trail: AuditTrail
    notifier: Notifier

    async def take(self, tx: Transaction, report: IncidentReport, *, actor: str) -> Incident:
        """Merge a report into its incident. Taking the same report again changes nothing."""
        now = self.ports.clock.now()
        await repository.lock_key(tx, report.key)
        known = await repository.find_by_key(tx, report.key)
        findings = merged(known.findings if known else (), report.findings)
        diagnosis = report.diagnosis or (known.diagnosis if known else None)
        resolved = report.resolved or all_resolved(findings)
        incident = Incident(
            id=known.id if known else self.ports.ids.new("inc", now),
            key=report.key,
            workload=known.workload if known else report.workload,
            affected=report.affected or (known.affected if known else ()),
            state=_state(known, resolved=resolved),
            severity=severity_of(findings),
            title=title_of(report.workload, diagnosis, findings),
            opened_at=known.opened_at if known else report.reported_at,
            updated_at=now,
            resolved_at=(known.resolved_at if known and known.resolved_at else now) if resolved else None,
            merged_into=report.merged_into if resolved else None,
            findings=findings,
            diagnosis=diagnosis,
        )
        await repository.save(tx, incident)
        await self._tell(tx, known, incident, actor=actor)
        if report.needs_person and not resolved:
            await self._call_person(tx, incident, report.needs_person)
        return incident

    async def take_alert(self, tx: Transaction, alert: Alert) -> Incident:
        """Add an alert to the open incident of its workload, or open one for it."""
        await repository.lock_workload(tx, alert.workload)
        known = await repository.find_open(tx, alert.workload)
        report = IncidentReport(
            key=known.key if known else _key_of(alert),
            workload=alert.workload,
            findings=(alert,),
            reported_at=alert.observed_at,
        )
        return await self.take(tx, report, actor="service:alertmanager")

    async def tell_left_out(self, tx: Transaction, count: int, *, group_key: str) -> None:
        """Say that alerts were lost before they came here; once a day for one group of them."""
        today = self.ports.clock.now().date().isoformat()
        about = hashlib.sha256(group_key.encode()).hexdigest()
        detail = {
            "left_out": count,
            "group_key": group_key[:TEXT_MAX],
            "how": "raise `max_alerts` in Alertmanager's webhook_config, or group alerts more finely",
        }
        title = f"Alertmanager left out {count} alerts of one message: Aegis knows nothing of them"
        told = await self.notifier.notify(
            tx, key=f"alerts-left-out:{about}:{today}", kind="alerts_left_out", severity=Severity.WARNING, title=title,
            detail=detail,
        )  # fmt: skip
        if told:
            await self.trail.record(
                tx, actor="service:alertmanager", event="alerts:left_out", subject="alertmanager", detail=detail
            )

    async def _tell(self, tx: Transaction, known: Incident | None, incident: Incident, *, actor: str) -> None:
        event = None
        if known is None:
            event = "incident:opened"
        elif known.state is not IncidentState.RESOLVED and incident.state is IncidentState.RESOLVED:
            event = "incident:merged" if incident.merged_into else "incident:resolved"
        elif known.state is IncidentState.RESOLVED and incident.state is not IncidentState.RESOLVED:
            event = "incident:reopened"
        elif incident.diagnosis and (
            known.diagnosis is None or known.diagnosis.probable.cause != incident.diagnosis.probable.cause
        ):
            event = "incident:diagnosed"
        if event is not None:
            detail: dict[str, object] = {"workload": str(incident.workload), "title": incident.title}
            if incident.diagnosis is not None:
                detail["cause"] = incident.diagnosis.probable.cause.value
                detail["subject"] = str(incident.diagnosis.probable.subject)
            if incident.merged_into is not None:
                detail["into"] = incident.merged_into
            await self.trail.record(tx, actor=actor, event=event, subject=incident.id, detail=detail)

    async def _call_person(self, tx: Transaction, incident: Incident, why: str) -> None:
        called = await self.notifier.notify(
            tx,
            key=of_incident(incident.id),
            kind="needs_person",
            severity=Severity.CRITICAL,
            title=incident.title,
            detail={
                "incident_id": incident.id,
                "workload": str(incident.workload),
                "why": why,
                "evidence": [item.text for item in incident.diagnosis.probable.evidence] if incident.diagnosis else [],
            },
        )
        if called:
            await self.trail.record(
                tx, actor="service:backend", event="person:called", subject=incident.id, detail={"why": why}
            )


def _key_of(alert: Alert) -> str:
    """Return one key for one occurrence of an alert, however long its fingerprint is."""
    occurrence = f"{alert.fingerprint}\0{alert.started_at.isoformat()}"
    return f"alert:{hashlib.sha256(occurrence.encode()).hexdigest()}"


def _state(known: Incident | None, *, resolved: bool) -> IncidentState:
    if resolved:
        return IncidentState.RESOLVED
    if known is None or known.state is IncidentState.RESOLVED:
        return IncidentState.OPEN
    return known.state

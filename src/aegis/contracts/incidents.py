"""Findings that are one problem, with a life."""

from enum import StrEnum

from aegis.contracts.base import Contract, Moment, Name, Text
from aegis.contracts.diagnoses import Diagnosis
from aegis.contracts.findings import Finding, Severity
from aegis.contracts.targets import WorkloadRef


class IncidentState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class IncidentReport(Contract):
    """What the AI Engine tells the Backend: these findings are one problem, and probably this is why.

    `key` is the AI Engine's own name for the problem. A later report with the same key replaces the diagnosis,
    adds findings, and may resolve the incident; sending one twice changes nothing.
    """

    key: Name
    workload: WorkloadRef
    """Where it hurts most."""
    affected: tuple[WorkloadRef, ...] = ()
    findings: tuple[Finding, ...] = ()
    diagnosis: Diagnosis | None = None
    resolved: bool = False
    merged_into: Name | None = None
    """The key of the incident that this one turned out to be part of; what was begun for it goes on there."""
    needs_person: Text = ""
    """Why no action is proposed and somebody should look now; empty where that is not so."""
    reported_at: Moment


class Incident(Contract):
    """An incident as the Backend keeps and shows it."""

    id: Name
    key: Name
    workload: WorkloadRef
    affected: tuple[WorkloadRef, ...] = ()
    state: IncidentState
    severity: Severity
    title: Text
    opened_at: Moment
    updated_at: Moment
    resolved_at: Moment | None = None
    merged_into: Name | None = None
    findings: tuple[Finding, ...] = ()
    diagnosis: Diagnosis | None = None

"""Alertmanager's webhook message, version 4, as findings. Pure."""

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aegis.backend.incidents.grouping import NAME_MAX, workload_of
from aegis.contracts.base import TEXT_MAX, Moment
from aegis.contracts.findings import Alert, Severity


class ReceivedAlert(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: Moment = Field(alias="startsAt")
    fingerprint: str = ""


class AlertmanagerMessage(BaseModel):
    """What Alertmanager posts; fields we do not use are ignored."""

    model_config = ConfigDict(extra="ignore")

    version: Literal["4"]
    alerts: tuple[ReceivedAlert, ...]
    group_key: str = Field(default="", alias="groupKey")
    truncated: int = Field(default=0, alias="truncatedAlerts", ge=0)
    """How many alerts of the group Alertmanager left out, because its `max_alerts` is less."""


def as_finding(alert: ReceivedAlert, *, cluster_id: str, now: datetime) -> Alert:
    labels = alert.labels
    name = labels.get("alertname", "")[:NAME_MAX] or "unnamed"
    identity = alert.fingerprint or ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or name
    return Alert(
        fingerprint=identity if len(identity) <= NAME_MAX else hashlib.sha256(identity.encode()).hexdigest(),
        workload=workload_of(labels, cluster_id=cluster_id),
        started_at=alert.starts_at,
        observed_at=now,
        severity=_severity(labels.get("severity", "")),
        summary=(alert.annotations.get("summary") or alert.annotations.get("description") or name)[:TEXT_MAX],
        name=name,
        labels=labels,
        resolved=alert.status == "resolved",
    )


def _severity(label: str) -> Severity:
    known = {
        "critical": Severity.CRITICAL,
        "page": Severity.CRITICAL,
        "error": Severity.CRITICAL,
        "info": Severity.INFO,
    }
    return known.get(label.lower(), Severity.WARNING)

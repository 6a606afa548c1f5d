"""Kubernetes Events about what Aegis did, so that whoever types `kubectl describe` sees it."""

from datetime import datetime

import orjson

from aegis.contracts.orders import Announcement
from aegis.executor.cluster.paths import path_of
from aegis.executor.ports import ExactRequest


def event_request(announcement: Announcement, *, now: datetime, replica: str) -> ExactRequest:
    """Return the request that writes the Event; its name makes writing it twice a conflict, not a second one."""
    target = announcement.proposal.target
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = target.namespace or "default"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{target.name}.{announcement.id}"[:253], "namespace": namespace},
        "involvedObject": {
            "apiVersion": target.api_version,
            "kind": target.kind,
            "namespace": target.namespace,
            "name": target.name,
            "uid": target.uid,
        },
        "type": announcement.type,
        "reason": announcement.reason,
        "message": announcement.message[:1024],
        "source": {"component": "aegis"},
        "reportingComponent": "aegis.dev/executor",
        "reportingInstance": replica,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
    return ExactRequest("POST", path_of("v1", "Event", namespace), "application/json", orjson.dumps(event))

"""Containers that were killed for want of memory, as far as Kubernetes shows it. Pure.

A container's status keeps its last end only, with its time. `restartCount` says neither why nor when the others were:
they may be of last week. The kubelet writes no Event that names a killed container. So a kill is proved by the status
alone, while it is there to be read; whoever needs more than one of the same container has to remember those seen.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from aegis.executor.guardrails.facts import Kill, Object

OOM_WINDOW = timedelta(minutes=30)
"""Kills from before are of the past."""
_ENDS = ("lastState", "state")


def kills_shown(pods: Iterable[Object]) -> frozenset[Kill]:
    """Return every kill that the pods' statuses show now."""
    return frozenset(
        Kill(pod["metadata"]["uid"], status["name"], datetime.fromisoformat(end["finishedAt"]))
        for pod in pods
        for status in pod.get("status", {}).get("containerStatuses") or []
        for end in ((status.get(name) or {}).get("terminated") for name in _ENDS)
        if end and end.get("reason") == "OOMKilled" and end.get("finishedAt")
    )

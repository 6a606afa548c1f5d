"""Whether a workload is healthy, read from its own status. Pure."""

from dataclasses import dataclass

from aegis.executor.ports import Object


@dataclass(frozen=True)
class Health:
    """How a workload is. What could not be read is neither well nor ill."""

    unhealthy_because: str | None = None
    unreadable_because: str | None = None

    @property
    def is_well(self) -> bool:
        return self.unhealthy_because is None and self.unreadable_because is None

    @property
    def why_not(self) -> str:
        return self.unreadable_because or self.unhealthy_because or ""


def unhealthy_because(owner: Object | None) -> str | None:
    """Say why a workload is not (yet) as it should be; None means it is."""
    if owner is None:
        return "the owner is gone"
    status, spec, metadata = owner.get("status", {}), owner["spec"], owner["metadata"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return "its controller has not seen the newest spec"
    if owner["kind"] == "DaemonSet":
        wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        available = status.get("numberAvailable", 0)
    else:
        wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
        available = status.get("availableReplicas", status.get("readyReplicas", 0))
        if status.get("replicas", 0) > wanted:
            return f"{status['replicas'] - wanted} old pods are still there"
    if updated < wanted:
        return f"{updated} of {wanted} pods are of the current revision"
    if available < wanted:
        return f"{available} of {wanted} pods are available"
    return None

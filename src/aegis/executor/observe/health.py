"""Whether a workload is healthy, read from its own status. Pure."""

from aegis.executor.ports import Object


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

"""Is it one pod alone? Then a new one in its place is worth a try."""

from datetime import timedelta

from aegis.ai_engine.diagnosis.case import Case
from aegis.ai_engine.sources.views import PodView, WorkloadView

LASTING = timedelta(seconds=60)
DEATHS_ENOUGH = 3
OTHERS_ENOUGH = 2


def lone_bad_pod(case: Case, workload: WorkloadView) -> PodView | None:
    """Return the only pod of its revision that is bad, for a while, while at least two others are well."""
    pods = case.pods(workload)
    bad = [one for one in pods if not one.is_ready]
    if len(bad) != 1:
        return None
    pod = bad[0]
    others = [one for one in pods if one is not pod and one.revision == pod.revision]
    well = [one for one in others if _is_well(case, one)]
    if len(others) != len(pods) - 1 or len(well) < OTHERS_ENOUGH or len(well) != len(others):
        return None
    deaths = [one for one in case.history.deaths(workload, since=case.now - LASTING * 30) if one.pod_uid == pod.uid]
    ready = pod.conditions.get("Ready")
    lasting = ready is not None and case.now - ready.since >= LASTING
    started = bool(pod.containers) and any(one.running_since or one.restarts for one in pod.containers)
    not_ready = case.symptoms(workload.ref, "NotReady")
    return pod if started and (len(deaths) >= DEATHS_ENOUGH or (lasting and not_ready)) else None


def _is_well(case: Case, pod: PodView) -> bool:
    ready = pod.conditions.get("Ready")
    return pod.is_ready and ready is not None and case.now - ready.since >= LASTING

"""What each action must find before it makes sense, beyond what holds for all of them. Pure."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from aegis.contracts.actions import ActionKind, RaiseMemory, RestartWorkload, RollbackRollout
from aegis.contracts.plans import CheckResult
from aegis.contracts.proposals import Proposal
from aegis.executor.guardrails.checks import No, inconclusive, refused, result_of
from aegis.executor.guardrails.facts import Facts, Object, newest_replicaset, revision_of, template_hash
from aegis.executor.guardrails.memory import OOM_WINDOW, kills_shown

YOUNG_ROLLOUT = timedelta(hours=1)
OOM_KILLS_NEEDED = 2
MIGRATION_ANNOTATIONS = ("aegis.dev/migration", "aegis.dev/no-rollback")


def before_rollback(proposal: Proposal, facts: Facts) -> No | None:
    """A stalled or young rollout, of the revision that was diagnosed, which did not migrate anything."""
    assert isinstance(proposal.action, RollbackRollout)
    newest = newest_replicaset(facts)
    if facts.target is None or newest is None:
        return refused(f"{proposal.target} has no revisions")
    annotations = {
        **(facts.target["metadata"].get("annotations") or {}),
        **((facts.target["spec"]["template"].get("metadata") or {}).get("annotations") or {}),
    }
    if any(str(annotations.get(name, "false")).lower() not in ("", "false") for name in MIGRATION_ANNOTATIONS):
        return refused(f"{proposal.target} says that its revision migrated data: rolling back is a person's decision")
    if facts.target["spec"].get("paused"):
        return refused(f"the rollout of {proposal.target} is paused")
    return _is_another_revision(proposal, proposal.action, facts.target, newest) or _is_not_its_fault(
        proposal, facts, newest
    )


def _is_another_revision(proposal: Proposal, action: RollbackRollout, deployment: Object, newest: Object) -> No | None:
    """What was rolled out since the diagnosis may be a person's fix."""
    if not _is_observed(deployment):
        return inconclusive(
            f"which revision of {proposal.target} is the newest is not known before its controller saw it"
        )
    if action.blamed_template in (None, template_hash(newest)):
        return None
    return refused(
        f"revision {revision_of(newest)} of {proposal.target} came after the one that was diagnosed: "
        f"its template is {template_hash(newest)}, and not {action.blamed_template}"
    )


def _is_not_its_fault(proposal: Proposal, facts: Facts, newest: Object) -> No | None:
    assert facts.target is not None
    age = facts.now - _moment(newest["metadata"]["creationTimestamp"])
    if age > YOUNG_ROLLOUT and not _is_stalled(facts.target):
        return refused(f"the newest revision of {proposal.target} has been there for {age}: not the rollout's fault")
    return None


def before_restart(proposal: Proposal, facts: Facts) -> No | None:
    """Not paused, not in the middle of a rollout, and not the only pod unless somebody allowed it."""
    assert isinstance(proposal.action, RestartWorkload)
    if facts.target is None:
        return None
    if facts.target["spec"].get("paused"):
        return refused(f"the rollout of {proposal.target} is paused")
    if _is_rolling(facts.target):
        return refused(f"{proposal.target} is in the middle of a rollout")
    if len(facts.healthy_pods) == 1 and not proposal.action.allow_single_replica:
        return refused(f"{proposal.target} has one healthy pod: restarting it would be an outage")
    return None


def before_eviction(proposal: Proposal, facts: Facts) -> No | None:
    """The others must carry on: the owner is otherwise whole."""
    if facts.target is None or facts.owner is None:
        return None
    name = facts.target["metadata"]["name"]
    others = [pod for pod in facts.healthy_pods if pod["metadata"]["name"] != name]
    wanted = facts.owner["spec"].get("replicas", len(facts.pods))
    if len(others) < max(1, wanted - 1):
        return refused(f"{proposal.owner} is degraded: {len(others)} of {wanted} other pods are healthy")
    return None


def before_raising_memory(proposal: Proposal, facts: Facts) -> No | None:
    """The kernel killed it at least twice of late, in the pods of today."""
    assert isinstance(proposal.action, RaiseMemory)
    container = proposal.action.container
    kills = kills_shown(facts.pods) | facts.kills_seen
    of_late = [one for one in kills if one.container == container and abs(facts.now - one.at) <= OOM_WINDOW]
    if len(of_late) < OOM_KILLS_NEEDED:
        return refused(
            f"container {container} must have been OOM-killed {OOM_KILLS_NEEDED} times in "
            f"{OOM_WINDOW // timedelta(minutes=1)} minutes, and {len(of_late)} are known"
        )
    return None


def _is_stalled(deployment: Object) -> bool:
    conditions = deployment.get("status", {}).get("conditions") or []
    return any(item["type"] == "Progressing" and item["status"] == "False" for item in conditions)


def _is_observed(workload: Object) -> bool:
    """Whether its controller has seen the newest spec, so that what it tells is about that one."""
    observed = workload.get("status", {}).get("observedGeneration", 0)
    return bool(observed >= workload["metadata"].get("generation", 0))


def _is_rolling(workload: Object) -> bool:
    status, spec = workload.get("status", {}), workload["spec"]
    if not _is_observed(workload):
        return True
    if workload["kind"] == "DaemonSet":
        return bool(status.get("updatedNumberScheduled", 0) < status.get("desiredNumberScheduled", 0))
    return bool(status.get("updatedReplicas", 0) < spec.get("replicas", 1))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


PREFLIGHT: Mapping[ActionKind, Callable[[Proposal, Facts], No | None]] = {
    ActionKind.ROLLBACK_ROLLOUT: before_rollback,
    ActionKind.RESTART_WORKLOAD: before_restart,
    ActionKind.EVICT_POD: before_eviction,
    ActionKind.RAISE_MEMORY: before_raising_memory,
    ActionKind.SCALE_WORKLOAD: lambda _proposal, _facts: None,
}


def run_preflight(proposal: Proposal, facts: Facts) -> CheckResult:
    return result_of("preflight", PREFLIGHT[proposal.action.kind](proposal, facts))

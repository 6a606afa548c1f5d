"""The checks: each looks at facts and returns why not, or None. Pure; every one runs on every target that is there.

`No` says it for good (refused), for now (blocked), or that data is missing (inconclusive).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

from aegis.catalogue.actions import ACTIONS, scale_ceiling
from aegis.contracts.actions import ActionKind, ScaleWorkload
from aegis.contracts.approvals import Approval, Verdict, consent_bytes
from aegis.contracts.plans import CheckResult, CheckVerdict, Disturbance
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import MODES_BY_STRICTNESS
from aegis.executor.guardrails.facts import (
    Confirmation,
    Facts,
    Freeze,
    Limits,
    Object,
    controller_of,
    is_ready,
    matches_any,
    namespace_of,
)
from aegis.executor.guardrails.headroom import nodes_have_room, quota_shortage
from aegis.executor.guardrails.ownership import autoscaler_of, git_owner, unknown_controller
from aegis.kit.selectors import selects
from aegis.kit.signing import PublicKey

STALE_AFTER_STEPS = 3
INEFFECTIVE_AFTER = 3
CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
MIRROR_POD = "kubernetes.io/config.mirror"
KNOWN_POD_OWNERS = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet", "Job"})


@dataclass(frozen=True)
class No:
    verdict: CheckVerdict
    reason: str


def refused(reason: str) -> No:
    return No(CheckVerdict.REFUSED, reason)


def _blocked(reason: str) -> No:
    return No(CheckVerdict.BLOCKED, reason)


def inconclusive(reason: str) -> No:
    return No(CheckVerdict.INCONCLUSIVE, reason)


def target_is_there(proposal: Proposal, facts: Facts) -> No | None:
    """The object is there, it is that very object and not its namesake, and it belongs to whom the proposal names."""
    if proposal.target.cluster_id != facts.limits.cluster_id:
        return refused(f"{proposal.target} is in cluster {proposal.target.cluster_id}, not {facts.limits.cluster_id}")
    if proposal.target.kind not in ACTIONS[proposal.action.kind].target_kinds:
        return refused(f"{proposal.action.kind} is nothing one does to a {proposal.target.kind}")
    if facts.target is None:
        return refused(f"{proposal.target} is gone")
    return _is_another(proposal, facts.target) or _is_somebody_elses(proposal, facts.target, facts)


def _is_another(proposal: Proposal, target: Object) -> No | None:
    uid = target["metadata"]["uid"]
    if uid != proposal.target.uid:
        return refused(f"{proposal.target} is another object now: its UID is {uid}, not {proposal.target.uid}")
    if target["metadata"].get("deletionTimestamp"):
        return refused(f"{proposal.target} is being deleted")
    return None


def _is_somebody_elses(proposal: Proposal, target: Object, facts: Facts) -> No | None:
    """Mode, Git, quota and cooldown are the owner's: whoever names another would have those of another looked up."""
    if facts.owner is None or facts.owner["metadata"]["uid"] != proposal.owner.uid:
        return refused(f"the owner {proposal.owner} is gone, or another object now")
    if not _belongs_to(target, facts.owner, facts):
        return refused(f"{proposal.target} does not belong to {proposal.owner}")
    return None


def _belongs_to(target: Object, owner: Object, facts: Facts) -> bool:
    """Whether the chain of controllers from the target ends at the owner, as the cluster has it."""
    if target["metadata"].get("namespace") != owner["metadata"].get("namespace"):
        return False
    own = owner["metadata"]["uid"]
    if target["kind"] != "Pod":
        return bool(target["metadata"]["uid"] == own)
    chain = {own, *(replicaset["metadata"]["uid"] for replicaset in facts.replicasets)}
    return (controller_of(target) or target["metadata"])["uid"] in chain


def namespace_in_scope(proposal: Proposal, facts: Facts) -> No | None:
    namespace = namespace_of(proposal)
    if not matches_any(namespace, facts.limits.namespaces):
        return refused(f"namespace {namespace} is outside of what this Executor may touch")
    return None


def mode_allows(proposal: Proposal, facts: Facts) -> No | None:
    """Observe may be rehearsed, never carried out; off is not even rehearsed."""
    if facts.misspelled_mode:
        wrong, modes = facts.misspelled_mode, ", ".join(MODES_BY_STRICTNESS)
        return refused(f"aegis.dev/mode of {proposal.owner} or its namespace is {wrong!r}, which is none of {modes}")
    if facts.mode == "off":
        return refused(f"aegis.dev/mode of {proposal.owner} or its namespace is off")
    if facts.mode == "observe" and not facts.rehearsing:
        return refused(f"aegis.dev/mode of {proposal.owner} is observe")
    if facts.mode == "approve" and not facts.rehearsing and not facts.approvals:
        return refused(f"aegis.dev/mode of {proposal.owner} is approve, and nobody approved")
    return None


def target_is_unprotected(proposal: Proposal, facts: Facts) -> No | None:
    """Nothing that carries the cluster or Aegis itself, whatever its labels say."""
    namespace = namespace_of(proposal)
    if matches_any(namespace, facts.limits.protected_namespaces):
        return refused(f"namespace {namespace} is protected")
    if facts.target is not None and facts.target["kind"] == "Pod":
        return _pod_is_unprotected(proposal, facts.target, facts)
    return None


def _pod_is_unprotected(proposal: Proposal, pod: Object, facts: Facts) -> No | None:
    if MIRROR_POD in (pod["metadata"].get("annotations") or {}):
        return refused(f"{proposal.target} is a static pod's mirror")
    if controller_of(pod) is None:
        return refused(f"{proposal.target} is a bare pod: nothing would make another")
    if _has_local_storage(pod):
        return refused(f"{proposal.target} keeps data on its node, which eviction would lose")
    node = next((n for n in facts.nodes if n["metadata"]["name"] == pod["spec"].get("nodeName")), None)
    labels = (node["metadata"].get("labels") or {}) if node is not None else {}
    if any(label in labels for label in CONTROL_PLANE_LABELS):
        return refused(f"{proposal.target} is on a control-plane node")
    return None


def _has_local_storage(pod: Object) -> bool:
    volumes = pod["spec"].get("volumes") or []
    return any("hostPath" in volume or "emptyDir" in volume for volume in volumes)


def owner_is_known(proposal: Proposal, facts: Facts) -> No | None:  # noqa: ARG001
    """What an operator owns is not ours to touch."""
    for thing in (facts.owner, facts.target):
        if thing is None:
            continue
        known = KNOWN_POD_OWNERS if thing["kind"] == "Pod" else frozenset[str]()
        stranger = unknown_controller(thing, known=known)
        if stranger is not None:
            return refused(f"{thing['kind']} {thing['metadata']['name']} belongs to {stranger}, an operator's object")
    return None


def field_is_ours_to_change(proposal: Proposal, facts: Facts) -> No | None:
    """Who owns a field owns it: an autoscaler its replicas, Git its template."""
    if facts.owner is None:
        return None
    if proposal.action.kind is ActionKind.SCALE_WORKLOAD:
        autoscaler = autoscaler_of(facts.owner, facts.autoscalers)
        if autoscaler is not None:
            return refused(f"{autoscaler} owns the replicas of {proposal.owner}")
    if proposal.action.kind is not ActionKind.EVICT_POD:
        tool = git_owner(facts.owner)
        if tool is not None:
            return refused(f"{tool} owns {proposal.owner}: change it in Git; Aegis does not fight it")
    return None


def nobody_paused(proposal: Proposal, facts: Facts) -> No | None:  # noqa: ARG001
    """Either switch stops, and a switch that cannot be read stops too."""
    switches = facts.switches
    if switches.backend_paused is None or switches.operator_paused is None:
        return _blocked(f"cannot read whether somebody paused Aegis: {switches.unreadable or 'no answer'}")
    if switches.operator_paused:
        return _blocked(f"paused by the ConfigMap: {switches.operator_reason or 'no reason given'}")
    if switches.backend_paused:
        return _blocked(f"paused: {switches.backend_reason or 'no reason given'}")
    return None


def no_freeze(proposal: Proposal, facts: Facts) -> No | None:
    for freeze in facts.switches.freezes:
        if matches_any(namespace_of(proposal), freeze.namespaces) and is_frozen(freeze, facts):
            return _blocked(f"freeze window {freeze.name}")
    return None


def is_frozen(freeze: Freeze, facts: Facts) -> bool:
    """Whether the window that its cron expression last opened is still open."""
    local = facts.now.astimezone(ZoneInfo(freeze.time_zone))
    # The previous opening of "now plus a bit", so that the very moment of opening counts.
    opened = croniter(freeze.cron, local + timedelta(seconds=1)).get_prev(type(local))
    return bool(local - opened < freeze.duration)


def no_storm(proposal: Proposal, facts: Facts) -> No | None:  # noqa: ARG001
    if facts.storm:
        return _blocked("storm: too much is unhealthy at once; a person was called")
    read_at = facts.health_read_at
    if read_at is None or abs(facts.now - read_at) > facts.limits.health_stale:
        since = f"since {read_at.isoformat(timespec='seconds')}" if read_at is not None else "yet"
        return inconclusive(f"the health of the whole cluster could not be read {since}: there may be a storm")
    return None


def has_not_failed_before(proposal: Proposal, facts: Facts) -> No | None:
    """The same fix on the same unchanged spec does not help the third time either."""
    if facts.past_fixes >= INEFFECTIVE_AFTER:
        return refused(
            f"{proposal.action.kind} was taken {facts.past_fixes} times on this unchanged spec: fix the cause"
        )
    return None


def data_is_fresh(proposal: Proposal, facts: Facts) -> No | None:
    """What was proposed on old data must still be so by fresh data; what a person wants is theirs to judge."""
    if not is_stale(proposal, facts):
        return None
    age = (facts.now - proposal.data_as_of).total_seconds()
    match facts.confirmed:
        case Confirmation.STILL_SO:
            return None
        case Confirmation.GONE:
            return refused(f"it was proposed on data that is {age:.0f} s old, and by fresh data all is well")
        case _:
            return inconclusive(f"the data is {age:.0f} s old, and there is no fresh data")


def is_stale(proposal: Proposal, facts: Facts) -> bool:
    """Whether what was proposed must be confirmed: when it is rehearsed, and again right before acting.

    Data of the future is no fresh data either: a clock is wrong, and nobody knows how old it is.
    """
    if facts.decided_by_person:
        return False
    return abs(facts.now - proposal.data_as_of) > STALE_AFTER_STEPS * facts.limits.metrics_step


def policy_floor_is_met(proposal: Proposal, facts: Facts) -> No | None:
    """Some actions need approvers' own signatures, so that a compromised Backend cannot forge consent."""
    needed = facts.switches.floor.get(proposal.action.kind.value, 0)
    if not needed or facts.rehearsing:
        return None
    given = {approval.approver for approval in facts.approvals if _is_signed(approval, facts)}
    if len(given) < needed:
        return refused(f"the policy floor asks for {needed} approvers' signatures; {len(given)} are valid")
    return None


def _is_signed(approval: Approval, facts: Facts) -> bool:
    key = facts.switches.approver_keys.get(approval.approver)
    if key is None or approval.verdict is not Verdict.APPROVED:
        return False
    signed = consent_bytes(
        remediation_id=approval.remediation_id,
        plan_hash=approval.plan_hash,
        approver=approval.approver,
        verdict=approval.verdict,
    )
    return PublicKey.from_text(key).is_signed(signed, approval.signature)


def budget_of_disruption_allows(proposal: Proposal, facts: Facts) -> No | None:
    """A PodDisruptionBudget that allows no disruption is respected before the API server has to say so."""
    if proposal.action.kind is not ActionKind.EVICT_POD or facts.target is None or not is_ready(facts.target):
        return None
    labels = facts.target["metadata"].get("labels") or {}
    for budget in facts.budgets:
        if (
            selects(budget["spec"].get("selector"), labels)
            and budget.get("status", {}).get("disruptionsAllowed", 0) < 1
        ):
            return _blocked(f"PodDisruptionBudget {budget['metadata']['name']} allows no disruption now")
    return None


def quota_and_nodes_have_room(proposal: Proposal, facts: Facts) -> No | None:
    """Pods that could not be made, or not be placed, would only make it worse."""
    if not isinstance(proposal.action, ScaleWorkload) or facts.owner is None:
        return None
    added = proposal.action.replicas - facts.owner["spec"].get("replicas", 1)
    pod_spec = facts.owner["spec"]["template"]["spec"]
    for quota in facts.quotas:
        short = quota_shortage(quota, pod_spec, added)
        if short is not None:
            return refused(f"ResourceQuota {quota['metadata']['name']} has no room for {added} more pods: {short}")
    if facts.nodes and not nodes_have_room(facts, pod_spec, added):
        return refused(f"no nodes have room for {added} more pods of {proposal.owner}")
    return None


def scaling_is_bounded(proposal: Proposal, facts: Facts) -> No | None:
    if not isinstance(proposal.action, ScaleWorkload) or facts.owner is None:
        return None
    ceiling = scale_ceiling(facts.owner["spec"].get("replicas", 1))
    if proposal.action.replicas > ceiling:
        return refused(f"{proposal.action.replicas} replicas are more than the {ceiling} allowed at once")
    return None


def blast_radius_is_small(disturbance: Disturbance, facts: Facts) -> No | None:
    """An unhealthy pod costs nothing, so only healthy pods that are taken away at once count."""
    healthy = disturbance.of_healthy_pods
    if disturbance.at_once == 0 or healthy == 0:
        return None
    wanted = int((facts.owner or {}).get("spec", {}).get("replicas", healthy))
    reason = _too_many(disturbance.at_once, healthy=healthy, wanted=wanted, limits=facts.limits)
    if reason is None:
        return None
    # What would be too many even of all its pods is too many for good; pods may become healthy again.
    at_best = max(healthy, wanted)
    for_good = _too_many(disturbance.at_once, healthy=at_best, wanted=wanted, limits=facts.limits) is not None
    return refused(reason) if for_good else _blocked(reason)


def _too_many(at_once: int, *, healthy: int, wanted: int, limits: Limits) -> str | None:
    most = max(1, int(healthy * limits.disturb_share))
    if at_once > most:
        return f"it would take away {at_once} of {healthy} healthy pods at once; {most} at most"
    left = healthy - at_once
    if wanted > 1 and left < limits.healthy_minimum * healthy:
        return f"only {left} of {healthy} healthy pods would be left"
    return None


Check = Callable[[Proposal, Facts], No | None]

CHECKS: tuple[Check, ...] = (
    target_is_there,
    namespace_in_scope,
    target_is_unprotected,
    mode_allows,
    owner_is_known,
    field_is_ours_to_change,
    nobody_paused,
    no_storm,
    no_freeze,
    has_not_failed_before,
    data_is_fresh,
    policy_floor_is_met,
    scaling_is_bounded,
    budget_of_disruption_allows,
    quota_and_nodes_have_room,
)

PROTECTION: tuple[Check, ...] = (namespace_in_scope, target_is_unprotected, owner_is_known)
"""What stops an undo as well, which no pause, freeze or rate limit does."""


def is_protected(proposal: Proposal, facts: Facts) -> No | None:
    """Say why nothing may be written to the target by now, not even to take back what was."""
    return next((no for check in PROTECTION if (no := check(proposal, facts)) is not None), None)


def run_checks(proposal: Proposal, facts: Facts) -> list[CheckResult]:
    """Run them all: people want every reason, not the first. Of what is not there, though, there is nothing to ask."""
    no = target_is_there(proposal, facts)
    if no is not None:
        return [result_of(target_is_there.__name__, no)]
    return [result_of(check.__name__, check(proposal, facts)) for check in CHECKS]


def result_of(name: str, no: No | None) -> CheckResult:
    if no is None:
        return CheckResult(name=name, verdict=CheckVerdict.PASSED)
    return CheckResult(name=name, verdict=no.verdict, reason=no.reason)


def strictest(results: list[CheckResult]) -> CheckResult | None:
    """Return the result that decides: a refusal before an inconclusive before a block; None if all passed."""
    for verdict in (CheckVerdict.REFUSED, CheckVerdict.INCONCLUSIVE, CheckVerdict.BLOCKED):
        found = next((result for result in results if result.verdict is verdict), None)
        if found is not None:
            return found
    return None

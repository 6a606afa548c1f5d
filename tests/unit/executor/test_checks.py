"""Each guardrail blocks what it must, and lets the rest pass."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, deployment, pod, proposal, replicaset, target

from aegis.contracts.actions import EvictPod, RaiseMemory, RestartWorkload, ScaleWorkload
from aegis.contracts.plans import CheckVerdict, Disturbance
from aegis.contracts.targets import TargetRef
from aegis.executor.guardrails import checks
from aegis.executor.guardrails.checks import blast_radius_is_small, run_checks, strictest
from aegis.executor.guardrails.facts import Confirmation, Facts, Freeze, Kill, Limits, Switches
from aegis.executor.guardrails.preflight import run_preflight

ON = Switches(backend_paused=False, operator_paused=False)
NAMESPACE = {"metadata": {"name": "shop", "labels": {"aegis.dev/mode": "auto"}}}


def limits(**changes: Any) -> Limits:
    return Limits(cluster_id="test", **changes)


def facts(**changes: Any) -> Facts:
    web = deployment()
    given = Facts(
        now=NOW, target=web, owner=web, namespace=NAMESPACE, pods=[pod("a"), pod("b"), pod("c")], switches=ON,
        limits=limits(protected_namespaces=("kube-*",)),
        replicasets=[replicaset("old", revision=1), replicaset("new", revision=2)],
    )  # fmt: skip
    return replace(given, **({"health_read_at": changes.get("now", NOW)} | changes))


def verdict(found: Facts, **changes: Any) -> tuple[str, CheckVerdict] | None:
    no = strictest(run_checks(proposal(**changes), found))
    return (no.name, no.verdict) if no is not None else None


def test_nothing_stops_an_ordinary_action() -> None:
    assert verdict(facts()) is None


def marked(**metadata: Any) -> dict[str, Any]:
    web = deployment(**metadata)
    return {"target": web, "owner": web}


REFUSED, BLOCKED, INCONCLUSIVE = CheckVerdict.REFUSED, CheckVerdict.BLOCKED, CheckVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "check", "expected"),
    [
        ({"target": None}, "target_is_there", REFUSED),
        (marked(uid="another"), "target_is_there", REFUSED),
        ({"limits": Limits(cluster_id="elsewhere")}, "target_is_there", REFUSED),
        ({"owner": deployment("other")}, "target_is_there", REFUSED),
        ({"limits": limits(namespaces=("billing",))}, "namespace_in_scope", REFUSED),
        ({"limits": limits(protected_namespaces=("sh*",))}, "target_is_unprotected", REFUSED),
        ({"namespace": {"metadata": {"labels": {"aegis.dev/mode": "off"}}}}, "mode_allows", REFUSED),
        ({"namespace": {"metadata": {}}, "rehearsing": False}, "mode_allows", REFUSED),
        (
            marked(ownerReferences=[{"kind": "Rollout", "name": "x", "uid": "u", "controller": True}]),
            "owner_is_known",
            REFUSED,
        ),
        (marked(labels={"argocd.argoproj.io/instance": "shop"}), "field_is_ours_to_change", REFUSED),
        (marked(managedFields=[{"manager": "kustomize-controller"}]), "field_is_ours_to_change", REFUSED),
        ({"switches": replace(ON, backend_paused=True)}, "nobody_paused", BLOCKED),
        ({"switches": replace(ON, operator_paused=True)}, "nobody_paused", BLOCKED),
        ({"switches": replace(ON, backend_paused=None)}, "nobody_paused", BLOCKED),
        ({"switches": replace(ON, operator_paused=None)}, "nobody_paused", BLOCKED),
        ({"storm": True}, "no_storm", BLOCKED),
        ({"health_read_at": None}, "no_storm", INCONCLUSIVE),
        ({"health_read_at": NOW - timedelta(minutes=2)}, "no_storm", INCONCLUSIVE),
        (
            {"switches": replace(ON, freezes=(Freeze("f", "0 12 * * *", "UTC", timedelta(hours=1)),))},
            "no_freeze",
            BLOCKED,
        ),
        ({"past_fixes": 3}, "has_not_failed_before", REFUSED),
        ({"now": NOW + timedelta(minutes=5)}, "data_is_fresh", INCONCLUSIVE),
        ({"now": NOW + timedelta(minutes=5), "confirmed": Confirmation.GONE}, "data_is_fresh", REFUSED),
        (
            {"rehearsing": False, "switches": replace(ON, floor={"rollback_rollout": 1})},
            "policy_floor_is_met",
            REFUSED,
        ),
    ],
)
def test_each_check_says_no_to_what_it_is_there_for(
    changes: dict[str, Any], check: str, expected: CheckVerdict
) -> None:
    assert verdict(facts(**changes)) == (check, expected)


@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_a_misspelled_mode_is_told_as_what_it_is(where: str) -> None:
    no = strictest(run_checks(proposal(), facts(namespace={"metadata": {where: {"aegis.dev/mode": "atuo"}}})))

    assert no is not None
    assert no.reason.endswith("is 'atuo', which is none of off, observe, approve, auto")


def test_old_data_that_is_still_so_by_fresh_data_is_no_reason() -> None:
    assert verdict(facts(now=NOW + timedelta(minutes=5), confirmed=Confirmation.STILL_SO)) is None


def test_a_freeze_window_ends() -> None:
    freeze = Freeze("lunch", "0 11 * * *", "UTC", timedelta(minutes=30))

    assert verdict(facts(switches=replace(ON, freezes=(freeze,)))) is None


def test_an_autoscaler_owns_the_replicas() -> None:
    autoscaler = {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}}
    found = facts(autoscalers=[autoscaler])

    assert verdict(found, action=ScaleWorkload(replicas=5)) == ("field_is_ours_to_change", REFUSED)
    assert verdict(found) is None


def test_scaling_is_bounded_by_ceiling_quota_and_nodes() -> None:
    quota = {"metadata": {"name": "team"}, "spec": {}, "status": {"hard": {"pods": "4"}, "used": {"pods": "3"}}}
    full = {
        "metadata": {"name": "n"}, "spec": {},
        "status": {"allocatable": {"pods": "0"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip

    assert verdict(facts(), action=ScaleWorkload(replicas=9)) == ("scaling_is_bounded", REFUSED)
    assert verdict(facts(quotas=[quota]), action=ScaleWorkload(replicas=5)) == ("quota_and_nodes_have_room", REFUSED)
    assert verdict(facts(nodes=[full]), action=ScaleWorkload(replicas=5)) == ("quota_and_nodes_have_room", REFUSED)


def evicting(victim: dict[str, Any], **changes: Any) -> tuple[str, CheckVerdict] | None:
    return verdict(facts(target=victim, **changes), action=EvictPod(), target=pod_ref(victim))


def pod_ref(victim: dict[str, Any]) -> TargetRef:
    return target(victim["metadata"]["name"], api_version="v1", kind="Pod", uid=victim["metadata"]["uid"])


def test_pods_that_nobody_would_replace_or_that_hold_data_stay() -> None:
    bare = pod("a", ownerReferences=[])
    mirror = pod("a", annotations={"kubernetes.io/config.mirror": "x"})
    local = pod("a")
    local["spec"]["volumes"] = [{"emptyDir": {}}]

    of_itself = {"action": EvictPod(), "target": pod_ref(bare), "owner": pod_ref(bare)}
    assert verdict(facts(target=bare, owner=bare), **of_itself) == ("target_is_unprotected", REFUSED)
    assert [evicting(one) for one in (mirror, local)] == [("target_is_unprotected", REFUSED)] * 2
    assert evicting(pod("a")) is None


def test_a_pod_belongs_to_the_owner_that_its_chain_of_controllers_ends_at() -> None:
    def of(kind: str, uid: str) -> dict[str, Any]:
        return pod("a", ownerReferences=[{"kind": kind, "name": "x", "uid": uid, "controller": True}])

    strangers = of("ReplicaSet", "rs-other"), pod("a", ownerReferences=[]), pod("a", namespace="free")

    assert evicting(of("StatefulSet", "uid-web")) is None
    assert [evicting(one) for one in strangers] == [("target_is_there", REFUSED)] * 3


def test_of_a_target_that_is_not_there_nothing_else_is_asked() -> None:
    bare = pod("a", ownerReferences=[])
    of_itself = {"target": pod_ref(bare), "owner": pod_ref(bare)}

    results = run_checks(proposal(ScaleWorkload(replicas=5), **of_itself), facts(target=bare, owner=bare))

    assert [(one.name, one.verdict) for one in results] == [("target_is_there", REFUSED)]


IS_WEB = {"key": "app", "operator": "In", "values": ["web"]}
NEXT_TO_WEB = {"key": "app", "operator": "NotIn", "values": ["web"]}


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({"matchLabels": {"app": "web"}}, ("budget_of_disruption_allows", BLOCKED)),
        ({"matchExpressions": [IS_WEB]}, ("budget_of_disruption_allows", BLOCKED)),
        ({}, ("budget_of_disruption_allows", BLOCKED)),
        ({"matchExpressions": [NEXT_TO_WEB]}, None),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [NEXT_TO_WEB]}, None),
        (None, None),
    ],
)
def test_a_budget_that_allows_no_disruption_is_respected_for_the_pods_it_covers(selector: Any, said: Any) -> None:
    spec = {"selector": selector} if selector is not None else {}
    budget = {"metadata": {"name": "web"}, "spec": spec, "status": {"disruptionsAllowed": 0}}

    assert evicting(pod("a"), budgets=[budget]) == said
    assert evicting(pod("a", ready=False), budgets=[budget]) is None


def test_unhealthy_pods_cost_nothing_and_healthy_ones_count() -> None:
    found = facts()

    assert blast_radius_is_small(Disturbance(healthy_pods=3, of_healthy_pods=3, at_once=0), found) is None
    assert blast_radius_is_small(Disturbance(healthy_pods=3, of_healthy_pods=3, at_once=2), found) is not None
    assert blast_radius_is_small(Disturbance(healthy_pods=0, of_healthy_pods=0, at_once=0), found) is None


def test_too_few_healthy_pods_block_for_now_and_too_many_disturbed_refuse_for_good() -> None:
    found = facts()

    for_now = blast_radius_is_small(Disturbance(healthy_pods=2, of_healthy_pods=2, at_once=1), found)
    for_good = blast_radius_is_small(Disturbance(healthy_pods=3, of_healthy_pods=3, at_once=2), found)

    assert for_now is not None
    assert for_good is not None
    assert (for_now.verdict, for_good.verdict) == (BLOCKED, REFUSED)


def test_an_old_rollout_is_not_to_blame() -> None:
    old = [replicaset("old", revision=1), replicaset("new", revision=2, created=NOW - timedelta(days=3))]

    assert run_preflight(proposal(), facts()).verdict is CheckVerdict.PASSED
    assert run_preflight(proposal(), facts(replicasets=old)).verdict is REFUSED


def test_the_only_healthy_pod_is_not_restarted_unless_somebody_allows_it() -> None:
    alone = facts(pods=[pod("a")])

    assert run_preflight(proposal(RestartWorkload()), alone).verdict is REFUSED
    assert run_preflight(proposal(RestartWorkload(allow_single_replica=True)), alone).verdict is CheckVerdict.PASSED


def ended(name: str, *, minutes_ago: float, reason: str = "OOMKilled", now_too: bool = False) -> dict[str, Any]:
    """Return a pod whose container has ended, as often as its status can say: at most twice."""
    found = pod(name)
    ends = {"lastState": minutes_ago, **({"state": minutes_ago - 1} if now_too else {})}
    found["status"]["containerStatuses"] = [{"name": "web", "restartCount": 40}]
    found["status"]["containerStatuses"][0] |= {
        field: {"terminated": {"reason": reason, "finishedAt": (NOW - timedelta(minutes=ago)).isoformat()}}
        for field, ago in ends.items()
    }
    return found


def seen(minutes_ago: float, *, container: str = "web") -> frozenset[Kill]:
    return frozenset({Kill("uid-a", container, NOW - timedelta(minutes=minutes_ago))})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, REFUSED),
        ({"pods": [ended("a", minutes_ago=5)]}, REFUSED),  # 40 restarts, and one kill that is known
        ({"pods": [ended("a", minutes_ago=5, now_too=True)]}, CheckVerdict.PASSED),
        ({"pods": [ended("a", minutes_ago=5), ended("b", minutes_ago=29)]}, CheckVerdict.PASSED),
        ({"pods": [ended("a", minutes_ago=5), ended("b", minutes_ago=31)]}, REFUSED),
        ({"pods": [ended("a", minutes_ago=5, reason="Error"), ended("b", minutes_ago=5)]}, REFUSED),
        ({"pods": [ended("a", minutes_ago=5)], "kills_seen": seen(12)}, CheckVerdict.PASSED),
        ({"pods": [ended("a", minutes_ago=5)], "kills_seen": seen(5)}, REFUSED),  # the same one
        ({"pods": [ended("a", minutes_ago=5)], "kills_seen": seen(31)}, REFUSED),
        ({"pods": [ended("a", minutes_ago=5)], "kills_seen": seen(12, container="proxy")}, REFUSED),
    ],
)
def test_memory_is_raised_only_after_two_kills_of_late(changes: dict[str, Any], expected: CheckVerdict) -> None:
    asked = proposal(RaiseMemory(container="web", factor=1.5))

    assert run_preflight(asked, facts(**changes)).verdict is expected


def test_every_check_has_a_name_that_says_what_must_be_so() -> None:
    assert {check.__name__ for check in checks.CHECKS} >= {"nobody_paused", "no_storm", "data_is_fresh"}

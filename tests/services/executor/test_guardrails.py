"""Each guardrail, proved on the API server's own log: when it says no, nothing is written.

The proofs are looked up by the guardrails' names in the Executor's registries: a new one without a proof fails here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from tests.services.executor.rig import Rig, a_stateful_set, killed, pod_of, unready

from aegis.contracts.actions import (
    Action,
    ActionKind,
    EvictPod,
    RaiseMemory,
    RestartWorkload,
    RollbackRollout,
    ScaleWorkload,
)
from aegis.contracts.approvals import Approval, Verdict, consent_bytes
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.plans import Plan, RehearsalStatus
from aegis.contracts.verifications import Judgement
from aegis.executor.guardrails.checks import CHECKS
from aegis.executor.guardrails.preflight import PREFLIGHT
from aegis.executor.guardrails.reservations import RESERVATIONS
from aegis.executor.journal import repository
from aegis.executor.journal.plan import KeptPlan
from aegis.executor.orders.begin import Beginner
from aegis.executor.ports import Cluster, ExactRequest, Object
from aegis.executor.service import Executor, Parts
from aegis.kit.clock import VirtualClock
from aegis.kit.database import Database
from aegis.kit.selectors import Selector
from aegis.kit.signing import PrivateKey
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import copy_of
from aegis.simulator.kubernetes.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    HPAS,
    NAMESPACES,
    PDBS,
    PODS,
    REPLICASETS,
    RESOURCEQUOTAS,
    STATEFULSETS,
)

ANN = PrivateKey(bytes(range(32)))
Disturb = Callable[[Rig], Awaitable[None] | None]


@dataclass(frozen=True)
class Proof:
    """What makes a guardrail say no to an action that is otherwise all right."""

    disturb: Disturb
    action: Action = field(default_factory=RollbackRollout)
    ends: Stage = Stage.REFUSED
    before: Disturb = lambda _: None
    """Makes the action sensible in the first place."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Other than the usual about the proposal."""
    rehearsal: bool = True
    """Whether it says no when rehearsed as well."""
    begin: bool = True
    """Whether it says no right before acting as well."""


async def happens(what: Disturb, rig: Rig) -> None:
    done = what(rig)
    if done is not None:
        await done


# What may happen


def label(**labels: str) -> Disturb:
    def change(rig: Rig) -> None:
        given = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
        rig.change(DEPLOYMENTS, "web", lambda it: it["metadata"].setdefault("labels", {}).update(given))

    return change


def mode(value: str) -> Disturb:
    def change(rig: Rig) -> None:
        rig.change(NAMESPACES, "shop", lambda it: it["metadata"]["labels"].update({"aegis.dev/mode": value}))

    return change


def edit(change: Callable[[Object], Any], *, pod: str = "") -> Disturb:
    def disturb(rig: Rig) -> None:
        rig.change(PODS if pod else DEPLOYMENTS, pod or "web", change)

    return disturb


def config(**data: str) -> Disturb:
    return lambda rig: rig.config(**data)


def restart(**settings: Any) -> Disturb:
    return lambda rig: rig.restart(**settings)


def gone(rig: Rig) -> None:
    rig.store.delete(DEPLOYMENTS, "shop", "web")
    rig.store.collect_garbage()


def another_of_that_name(rig: Rig) -> None:
    web = rig.find(DEPLOYMENTS, "web")
    gone(rig)
    metadata = {"name": "web", "namespace": "shop"}
    rig.store.create(DEPLOYMENTS, {"metadata": metadata, "spec": web["spec"]})


def on_its_way_out(rig: Rig) -> None:
    rig.change(DEPLOYMENTS, "web", lambda it: it["metadata"].update(finalizers=["test/wait"]))
    rig.store.delete(DEPLOYMENTS, "shop", "web")


def owned_by_an_operator(it: Object) -> None:
    owner = {"apiVersion": "argoproj.io/v1", "kind": "Rollout", "name": "web", "uid": "u1", "controller": True}
    it["metadata"]["ownerReferences"] = [owner]


def autoscaled(rig: Rig) -> None:
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    rig.store.create(
        HPAS, {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"scaleTargetRef": scaled, "maxReplicas": 9}}
    )


def tight_budget(**selector: Any) -> Disturb:
    def change(rig: Rig) -> None:
        spec = {"minAvailable": len(rig.store.list(PODS, "shop")), "selector": selector}
        rig.store.create(PDBS, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})

    return change


def full_quota(rig: Rig) -> None:
    hard = {"pods": str(len(rig.store.list(PODS, "shop")))}
    rig.store.create(
        RESOURCEQUOTAS,
        {"metadata": {"name": "team", "namespace": "shop"}, "spec": {"hard": hard},
         "status": {"hard": hard, "used": hard}},
    )  # fmt: skip


async def storm(rig: Rig) -> None:
    async with rig.database.transaction() as tx:
        await repository.begin_storm(tx, rig.clock.now())


async def health_is_unread(rig: Rig) -> None:
    async with rig.database.transaction() as tx:
        await repository.note_reading(tx, at=rig.clock.now() - timedelta(minutes=2), bad=False)


async def the_same_fix_three_times(rig: Rig) -> None:
    for number in range(3):
        await rig.remember(number, owner_uid=rig.ref().uid, minutes_ago=120 + 10 * number)


async def data_grows_old(rig: Rig) -> None:
    await rig.pass_time(seconds=46)


async def all_is_well_by_fresh_data(rig: Rig) -> None:
    rig.verifier.says = Judgement.BETTER
    await rig.pass_time(seconds=46)


async def ai_engine_is_gone(rig: Rig) -> None:
    rig.verifier.says = None
    await rig.pass_time(seconds=46)


def backend(**changes: Any) -> Disturb:
    def change(rig: Rig) -> None:
        for name, value in changes.items():
            setattr(rig.backend, name, value)

    return change


BLOCKED = Stage.BLOCKED
EVICT = EvictPod()
FREEZE = "[{name: always, cron: '* * * * *', minutes: 5}]"

CHECK_PROOFS: dict[str, list[Proof]] = {
    "target_is_there": [Proof(gone), Proof(another_of_that_name), Proof(on_its_way_out)],
    "namespace_in_scope": [Proof(restart(namespaces="billing,pay-*"))],
    "target_is_unprotected": [
        Proof(restart(protected_namespaces="sh?p")),
        Proof(restart(own_namespace="shop")),
        Proof(edit(lambda it: it["metadata"].update(annotations={"kubernetes.io/config.mirror": "x"}),
                   pod="web-new-0"), action=EVICT),
    ],
    "mode_allows": [
        Proof(mode("off")),
        Proof(mode("Auto")),  # a typing error never grants anything
        Proof(mode("observe"), rehearsal=False),
        Proof(mode("approve"), rehearsal=False),
        Proof(label(aegis_dev__mode="off")),
    ],
    "owner_is_known": [Proof(edit(owned_by_an_operator)), Proof(edit(owned_by_an_operator), action=EVICT)],
    "field_is_ours_to_change": [
        Proof(label(argocd_argoproj_io__instance="shop")),
        Proof(autoscaled, action=ScaleWorkload(replicas=5)),
    ],
    "nobody_paused": [
        Proof(backend(paused=True), ends=BLOCKED),
        Proof(config(paused="true", reason="on call"), ends=BLOCKED),
        Proof(config(paused="perhaps"), ends=BLOCKED),
        Proof(config(pause="true"), ends=BLOCKED),
        Proof(config(freeze="what is this"), ends=BLOCKED),
        Proof(config(freeze="[{cron: '0 3 * * *', minutes: 5, timezone: Europe/Berlin}]"), ends=BLOCKED),
        Proof(config(freeze="[{cron: '* * * * *', minutes: 5, namespaces: shop}]"), ends=BLOCKED),
        Proof(config(freeze="[{cron: '* * * * *', minutes: .inf}]"), ends=BLOCKED),
        Proof(config(freeze="[{cron: '* * * * *', minutes: 5, timeZone: Europe}]"), ends=BLOCKED),
        Proof(config(policy_floor="rollback_rollout"), ends=BLOCKED),
        Proof(config(freeze="[{cron: '* * * * *', minutes: -60}]"), ends=BLOCKED),
        Proof(config(freeze="[{cron: '* * * * *', minutes: 0}]"), ends=BLOCKED),
        Proof(config(policy_floor="rollback_rolout: 1"), ends=BLOCKED),
        Proof(config(policy_floor="rollback_rollout: -1"), ends=BLOCKED),
        Proof(config(policy_floor="rollback_rollout: 0"), ends=BLOCKED),
        Proof(config(policy_floor="rollback_rollout: 2\nrollback_rollout: 0"), ends=BLOCKED),
        Proof(config(approver_keys="person:ann: none"), ends=BLOCKED),
    ],
    "no_storm": [Proof(storm, ends=BLOCKED), Proof(health_is_unread, rehearsal=False, ends=BLOCKED)],
    "no_freeze": [Proof(config(freeze=FREEZE), ends=BLOCKED)],
    "has_not_failed_before": [Proof(the_same_fix_three_times)],
    "data_is_fresh": [
        Proof(data_grows_old, ends=BLOCKED),
        Proof(all_is_well_by_fresh_data),
        Proof(ai_engine_is_gone, ends=BLOCKED),
    ],
    "policy_floor_is_met": [Proof(config(policy_floor="rollback_rollout: 1"), rehearsal=False)],
    "scaling_is_bounded": [
        Proof(edit(lambda it: it["spec"].update(replicas=1)), action=ScaleWorkload(replicas=7)),
    ],
    "budget_of_disruption_allows": [
        Proof(tight_budget(matchLabels={"app": "web"}), action=EVICT, ends=BLOCKED),
        Proof(tight_budget(matchExpressions=[{"key": "app", "operator": "In", "values": ["web"]}]), action=EVICT,
              ends=BLOCKED),
        Proof(tight_budget(), action=EVICT, ends=BLOCKED),
    ],
    "quota_and_nodes_have_room": [
        Proof(full_quota, action=ScaleWorkload(replicas=5)),
        Proof(edit(lambda it: it["spec"]["template"]["spec"]["containers"][0]["resources"].update(
            requests={"cpu": "7", "memory": "1Gi"})), action=ScaleWorkload(replicas=5)),
    ],
}  # fmt: skip


def killed_twice(rig: Rig) -> None:
    for pod in ("web-new-0", "web-new-1"):
        rig.change(PODS, pod, killed(rig))


def killed_once_after_many_restarts(rig: Rig) -> None:
    rig.change(PODS, "web-new-0", killed(rig, restarts=40))


def made_anew(it: Object) -> None:
    [status] = it["status"]["containerStatuses"]
    status.pop("lastState")


def without_revisions(rig: Rig) -> None:
    rig.store.delete(REPLICASETS, "shop", "web-new")
    rig.store.delete(REPLICASETS, "shop", "web-old")


def only_one_is_healthy(rig: Rig) -> None:
    for name in ("web-new-1", "web-new-2", "web-old-9"):
        rig.change(PODS, name, unready)


async def an_old_rollout(rig: Rig) -> None:
    await rig.pass_time(hours=2)


def migrated(it: Object) -> None:
    it["metadata"]["annotations"] = {"aegis.dev/migration": "true"}


def a_person_rolls_out_a_fix(rig: Rig) -> None:
    fix = copy_of(rig.find(REPLICASETS, "web-new"))
    metadata = fix["metadata"]
    owners, labels = metadata["ownerReferences"], {"app": "web", "pod-template-hash": "fix"}
    metadata = {"name": "web-fix", "namespace": "shop", "labels": labels, "ownerReferences": owners}
    metadata["annotations"] = {"deployment.kubernetes.io/revision": "3"}
    template = copy_of(fix["spec"]["template"])
    template["metadata"]["labels"] = labels
    template["spec"]["containers"][0]["image"] = "web:3"
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    rig.store.create(REPLICASETS, {"metadata": metadata, "spec": spec})
    rig.change(DEPLOYMENTS, "web", lambda it: it["spec"]["template"]["spec"]["containers"][0].update(image="web:3"))
    rig.roll_out()


def rolling(it: Object) -> None:
    it["status"]["updatedReplicas"] = 1


RAISE = RaiseMemory(container="web", factor=1.5)
PREFLIGHT_PROOFS: dict[ActionKind, list[Proof]] = {
    ActionKind.ROLLBACK_ROLLOUT: [
        Proof(edit(migrated)),
        Proof(edit(lambda it: it["spec"].update(paused=True))),
        Proof(without_revisions),
        Proof(a_person_rolls_out_a_fix, action=RollbackRollout(to_revision=1, blamed_template="new")),
        Proof(edit(lambda it: it["spec"].update(minReadySeconds=5)), ends=BLOCKED),  # its controller has not seen it
        Proof(an_old_rollout, begin=False, asked={"proposed_by": "person:ole"}),
    ],
    ActionKind.RESTART_WORKLOAD: [
        Proof(edit(lambda it: it["spec"].update(paused=True)), action=RestartWorkload()),
        Proof(edit(rolling), action=RestartWorkload()),
        Proof(only_one_is_healthy, action=RestartWorkload()),
    ],
    ActionKind.EVICT_POD: [Proof(only_one_is_healthy, action=EVICT)],
    ActionKind.RAISE_MEMORY: [
        Proof(edit(made_anew, pod="web-new-0"), action=RAISE, before=killed_twice),
        Proof(killed_once_after_many_restarts, action=RAISE, begin=False),
    ],
}
NOTHING_OF_ITS_OWN = {ActionKind.SCALE_WORKLOAD}
"""What every check looks at is all that it needs."""


async def refused_in_rehearsal(rig: Rig, name: str, proof: Proof) -> None:
    """Disturb, rehearse: there is a no, and where an order came of it all the same, it is not carried out."""
    await happens(proof.before, rig)
    proposal = rig.proposal(proof.action, **proof.asked)
    await happens(proof.disturb, rig)

    result = await rig.rehearse(proposal)

    said = {check.name: check.verdict.value for check in result.checks}
    if proof.ends is BLOCKED and result.plan is not None:
        assert said[name] == "blocked"
        await rig.give(rig.order(proposal, result.plan))
    elif result.status is RehearsalStatus.REFUSED:
        assert said[name] == "refused"
    else:
        assert result.status is RehearsalStatus.FAILED
        assert result.reason.startswith(f"{name}:")
    assert rig.written == []


async def stopped_right_before_acting(rig: Rig, name: str, proof: Proof) -> None:
    """Rehearse while all is well, disturb, order: it is stopped by that very guardrail."""
    await happens(proof.before, rig)
    proposal = rig.proposal(proof.action, **proof.asked)
    plan = await rig.plan(proposal)
    await happens(proof.disturb, rig)
    order = rig.order(proposal, plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (proof.ends, name), outcome.reason
    assert rig.written == []


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
async def test_a_check_that_says_no_keeps_every_write_away(name: str, database: Database) -> None:
    for number, proof in enumerate(CHECK_PROOFS[name]):
        await prove(database, name, proof, number)


@pytest.mark.parametrize("kind", [kind for kind in PREFLIGHT if kind not in NOTHING_OF_ITS_OWN])
async def test_what_an_action_must_find_keeps_every_write_away(kind: ActionKind, database: Database) -> None:
    for number, proof in enumerate(PREFLIGHT_PROOFS[kind]):
        await prove(database, "preflight", proof, number)


async def prove(database: Database, name: str, proof: Proof, number: int) -> None:
    """Prove it in clusters of their own: when rehearsed, and right before acting."""
    proved = 0
    for applies, way in ((proof.rehearsal, refused_in_rehearsal), (proof.begin, stopped_right_before_acting)):
        if applies:
            rig = Rig(database)
            await rig.forget_everything()
            await way(rig, name, proof)
            await rig.close()
            proved += 1
    assert proved, f"{name} {number} proves nothing"


# What is not in those registries


def config_is_gone(rig: Rig) -> None:
    rig.store.delete(CONFIGMAPS, "aegis", "aegis-guardrails")


def we_look_in_the_wrong_place(rig: Rig) -> None:
    rig.restart(guardrails_config_map="aegis-guardrial")


@pytest.mark.parametrize("vanishes", [config_is_gone, we_look_in_the_wrong_place])
@pytest.mark.parametrize("said", [{"policy_floor": "evict_pod: 1"}, {"paused": "true"}, {"freeze": FREEZE}])
async def test_a_guardrail_that_an_operator_wrote_and_that_vanished_stops_until_somebody_says_what_holds(
    rig: Rig, said: dict[str, str], vanishes: Callable[[Rig], None]
) -> None:
    rig.config(**said)
    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))
    vanishes(rig)

    await rig.give(order)
    assert (rig.said(order).stage, rig.said(order).guardrail) == (BLOCKED, "nobody_paused")
    assert "is gone: write an empty one" in rig.said(order).reason
    assert rig.written == []

    rig.restart()
    if rig.store.find(CONFIGMAPS, "aegis", "aegis-guardrails") is not None:
        config_is_gone(rig)
    rig.config()
    await rig.look_for(seconds=10)
    assert len(rig.written) == 1


async def test_a_config_map_that_says_nothing_may_go(rig: Rig) -> None:
    rig.config(paused="false", reason="it was a drill")
    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))
    config_is_gone(rig)

    await rig.give(order)

    assert len(rig.written) == 1


def rolls(unavailable: int | str) -> Disturb:
    """Return how many pods a rolling update takes away at a time; it is rolled out already."""

    def change(it: Object) -> None:
        rolling = {"maxUnavailable": unavailable, "maxSurge": 0}
        it["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
        it["status"]["observedGeneration"] = it["metadata"]["generation"]

    return edit(change)


async def test_taking_away_too_many_at_once_keeps_every_write_away(database: Database) -> None:
    reckless = Proof(rolls("100%"), action=RestartWorkload(), begin=False)
    stricter = Proof(restart(healthy_minimum=1.0), action=RestartWorkload(), rehearsal=False, before=rolls(1))

    for number, proof in enumerate((reckless, stricter)):
        await prove(database, "blast_radius", proof, number)


async def test_pods_that_became_unready_since_the_rehearsal_count_right_before_acting(rig: Rig) -> None:
    store = rig.store.create(STATEFULSETS, a_stateful_set("store", replicas=3))
    for number in range(3):
        rig.store.create(PODS, pod_of(store, "StatefulSet", f"store-{number}", labels={"app": "store"}))
    target = rig.ref(STATEFULSETS, "store")
    proposal = rig.proposal(RestartWorkload(), target=target, owner=target)
    plan = await rig.plan(proposal)
    rig.change(PODS, "store-1", unready)
    order = rig.order(proposal, plan)

    await rig.give(order)

    assert (rig.said(order).stage, rig.said(order).guardrail) == (BLOCKED, "blast_radius")
    assert rig.written == []


async def test_what_the_api_server_would_refuse_is_never_sent_in_earnest(database: Database) -> None:
    def refuse_everything(rig: Rig) -> None:
        def refuse(resource: Any, new: Object, old: Object | None) -> None:
            raise ApiError(403, "Forbidden", "denied the request: not on a Friday")

        rig.store.admission.append(refuse)

    await prove(database, "dry_run", Proof(refuse_everything), 0)


async def test_a_plan_that_has_changed_since_it_was_approved_is_not_carried_out(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    other = "registry.example/web:3"
    rig.change(DEPLOYMENTS, "web", lambda it: it["spec"]["template"]["spec"]["containers"][0].update(image=other))
    order = rig.order(proposal, plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "dry_run")
    assert rig.written == []
    assert rig.find(DEPLOYMENTS, "web")["spec"]["template"]["spec"]["containers"][0]["image"] == other


@dataclass
class Meddled:
    """Somebody changes the object between the last look and the write."""

    cluster: Cluster
    meddle: Callable[[], None]

    async def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        return await self.cluster.read(api_version, kind, namespace, name)

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: Selector | None = None
    ) -> Any:
        return await self.cluster.list(api_version, kind, namespace, selector=selector)

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        if not dry_run:
            self.meddle()
        return await self.cluster.send(request, dry_run=dry_run)


async def test_the_write_itself_carries_what_must_still_be_so(database: Database) -> None:
    def meddle() -> None:
        rig.change(DEPLOYMENTS, "web", lambda it: it["spec"]["template"]["spec"].update(hostNetwork=True))

    rig = Rig(database, around=lambda cluster: Meddled(cluster, meddle))
    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "preconditions")
    assert rig.written == []
    await rig.close()


async def test_a_pod_that_somebody_else_took_away_right_before_is_no_eviction_of_ours(database: Database) -> None:
    def take_away() -> None:
        rig.store.delete(PODS, "shop", "web-new-0", grace_s=0)

    rig = Rig(database, around=lambda cluster: Meddled(cluster, take_away))
    proposal = rig.proposal(EVICT)
    order = rig.order(proposal, await rig.plan(proposal))

    await rig.give(order)

    assert (rig.said(order).stage, rig.said(order).guardrail) == (Stage.REFUSED, "preconditions")
    assert (await rig.journal(order.id)).acted_at is None
    await rig.close()


@dataclass
class Slow:
    """A cluster that takes its time over every answer."""

    cluster: Cluster
    clock: VirtualClock
    takes: timedelta

    async def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        await self.clock.advance(self.takes)
        return await self.cluster.read(api_version, kind, namespace, name)

    async def list(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: Selector | None = None
    ) -> Any:
        await self.clock.advance(self.takes)
        return await self.cluster.list(api_version, kind, namespace, selector=selector)

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        await self.clock.advance(self.takes)
        return await self.cluster.send(request, dry_run=dry_run)


def every_answer_takes(rig: Rig, **duration: float) -> None:
    rig.around = lambda cluster: Slow(cluster, rig.clock, timedelta(**duration))
    rig.restart()


async def test_what_was_seen_more_than_ten_seconds_ago_is_looked_at_again_before_it_is_acted_on(rig: Rig) -> None:
    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))
    every_answer_takes(rig, seconds=2)

    await rig.give(order)
    assert (rig.said(order).stage, rig.said(order).guardrail) == (BLOCKED, "looked_again")
    assert rig.written == []

    every_answer_takes(rig, seconds=0)
    rig.verifier.says = Judgement.NOT_YET
    await rig.look_for(seconds=5)
    assert len(rig.written) == 1


async def test_an_order_that_expires_while_it_is_looked_at_is_not_begun(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    order = rig.order(proposal, plan, expires_at=rig.clock.now() + timedelta(seconds=3))
    every_answer_takes(rig, seconds=0.5)

    await rig.give(order)
    await rig.look_for(seconds=10)

    assert rig.said(order).stage is Stage.EXPIRED
    assert rig.written == []


async def test_what_is_written_down_too_slowly_is_looked_at_again_before_it_is_written_to_the_cluster(rig: Rig) -> None:
    class SlowToWriteDown(Beginner):
        async def _reserve(self, row: Any, order: Order, plan: KeptPlan, *, looked_at: datetime) -> Any:
            begun = await super()._reserve(row, order, plan, looked_at=looked_at)
            await rig.pass_time(seconds=11)
            return begun

    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))
    rig.executor = Executor(rig.ports, Parts(beginner=SlowToWriteDown))

    await rig.give(order)
    assert rig.said(order).stage is Stage.ACTING
    assert rig.written == []

    await rig.look_for(seconds=5)
    assert rig.said(order).stage is Stage.SETTLING
    assert len(rig.written) == 1


async def test_an_order_that_was_begun_does_not_count_itself_among_the_fixes_that_did_not_help(rig: Rig) -> None:
    class Dying(Beginner):
        async def write(self, row: Any, plan: KeptPlan) -> None:
            """Be killed right before it."""

    for number in range(2):
        at = 120 + 10 * number
        await rig.remember(number, owner_uid=rig.ref().uid, minutes_ago=at, action=ActionKind.RESTART_WORKLOAD)
    proposal = rig.proposal(RestartWorkload())
    order = rig.order(proposal, await rig.plan(proposal))
    rig.executor = Executor(rig.ports, Parts(beginner=Dying))
    await rig.give(order)
    assert (rig.said(order).stage, rig.written) == (Stage.ACTING, [])

    rig.restart()
    rig.verifier.says = Judgement.NOT_YET
    await rig.look_for(seconds=65)

    assert rig.said(order).stage is Stage.SETTLING
    assert len(rig.written) == 1


async def test_an_order_for_a_plan_that_was_never_made_here_is_refused(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)

    for number, change in enumerate(({"plan_hash": "b" * 64}, {"id": "ord-other"})):
        order = rig.order(proposal, plan, **change)
        await rig.give(order)

        outcome = rig.outcome(order)
        assert outcome is not None, number
        assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "plan")
    assert rig.written == []


async def test_a_plan_that_was_altered_in_our_own_database_is_refused(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    async with rig.database.transaction() as tx:
        await tx.exec_driver_sql("UPDATE plans SET body = set_byte(body, 40, 255 - get_byte(body, 40))")
    order = rig.order(proposal, plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "plan")
    assert rig.written == []


async def test_what_was_done_by_a_plan_that_cannot_be_read_any_more_is_handed_to_a_person(rig: Rig) -> None:
    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))
    await rig.give(order)
    async with rig.database.transaction() as tx:
        await tx.exec_driver_sql("UPDATE plans SET body = set_byte(body, 40, 255 - get_byte(body, 40))")

    await rig.pass_time(seconds=6)
    await rig.executor.step()

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.escalate) == (Stage.ESCALATED, True)
    assert len(rig.written) == 1


async def test_an_order_that_cannot_be_handled_keeps_no_other_from_its_turn(rig: Rig) -> None:
    proposal = rig.proposal()
    broken, sound = [rig.order(proposal, await rig.plan(proposal)) for _ in range(2)]
    rig.backend.paused = True
    await rig.give(broken, sound)
    async with rig.database.transaction() as tx:
        await tx.exec_driver_sql(
            f"UPDATE journal SET \"order\" = '', look_at = look_at - interval '1 s' WHERE order_id = '{broken.id}'"
        )

    rig.backend.paused = False
    await rig.pass_time(seconds=6)
    with pytest.raises(ValidationError):
        await rig.executor.step()

    assert len(rig.written) == 1
    outcome = rig.outcome(sound)
    assert outcome is not None
    assert outcome.stage is Stage.SETTLING


async def test_a_plan_for_one_object_is_not_carried_out_by_an_order_for_another(rig: Rig) -> None:
    plan = await rig.plan(rig.proposal())
    rig.store.create(NAMESPACES, {"metadata": {"name": "else", "labels": {"aegis.dev/mode": "auto"}}})
    other = copy_of(rig.find(DEPLOYMENTS, "web"))
    other["metadata"] = {"name": "web", "namespace": "else"}
    rig.store.create(DEPLOYMENTS, other)
    uid = rig.store.get(DEPLOYMENTS, "else", "web")["metadata"]["uid"]
    elsewhere = rig.ref().model_copy(update={"namespace": "else", "uid": uid})
    mode("off")(rig)
    order = rig.order(rig.proposal(target=elsewhere, owner=elsewhere), plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "plan")
    assert rig.written == []


@pytest.mark.parametrize(
    ("rehearsed", "ordered"),
    [
        (RestartWorkload(), RestartWorkload(allow_single_replica=True)),
        (ScaleWorkload(replicas=5), ScaleWorkload(replicas=4)),
        (RollbackRollout(), RollbackRollout(to_revision=1)),
    ],
    ids=lambda action: str(action.kind),
)
async def test_a_plan_is_not_carried_out_by_an_order_with_other_settings_than_were_rehearsed(
    rig: Rig, rehearsed: Action, ordered: Action
) -> None:
    plan = await rig.plan(rig.proposal(rehearsed))
    order = rig.order(rig.proposal(ordered), plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "plan")
    assert rig.written == []


async def test_an_order_waits_a_quarter_of_an_hour_at_most_whatever_it_says(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    rig.backend.paused = True
    order = rig.order(proposal, plan, expires_at=rig.clock.now() + timedelta(days=365))
    await rig.give(order)

    rig.backend.paused = False
    await rig.pass_time(minutes=15)
    await rig.executor.step()

    outcome = rig.outcome(order)
    assert outcome is not None
    assert outcome.stage is Stage.EXPIRED
    assert rig.written == []


async def test_kills_of_one_container_that_were_seen_one_after_the_other_count_together(rig: Rig) -> None:
    await kill_and_see(rig)
    await rig.pass_time(minutes=2)
    await kill_and_see(rig)

    proposal = rig.proposal(RAISE)
    await rig.give(rig.order(proposal, await rig.plan(proposal)))

    assert len(rig.written) == 1


async def test_a_kill_of_long_ago_counts_no_more(rig: Rig) -> None:
    await kill_and_see(rig)
    await rig.pass_time(minutes=31)
    await kill_and_see(rig)

    result = await rig.rehearse(rig.proposal(RAISE))

    assert (result.status, result.reason.partition(":")[0]) == (RehearsalStatus.REFUSED, "preflight")


async def kill_and_see(rig: Rig) -> None:
    """Kill the same container once more; the Executor sees it twice, and it stays one kill."""
    rig.change(PODS, "web-new-0", killed(rig, restarts=9))
    for _ in range(2):
        await rig.executor.monitor()


# Consent


def consent_to(plan: Plan, *, plan_hash: str = "", verdict: Verdict = Verdict.APPROVED) -> Approval:
    """Return what Ann signed: a yes to this plan unless said otherwise."""
    now = plan.made_at
    given = {
        "remediation_id": plan.order_id.replace("ord", "rem"), "plan_hash": plan_hash or plan.hash,
        "approver": "person:ann", "verdict": verdict,
    }  # fmt: skip
    return Approval.model_validate(
        given | {
            "id": "apr-1", "given_at": now, "expires_at": now + timedelta(minutes=15),
            "signature": ANN.sign(consent_bytes(**given)),
        }
    )  # fmt: skip


async def test_a_signed_yes_to_this_very_plan_meets_the_policy_floor(rig: Rig) -> None:
    rig.config(policy_floor="rollback_rollout: 1", approver_keys=f"person:ann: {ANN.public.to_text()}")
    proposal = rig.proposal()
    plan = await rig.plan(proposal)

    await rig.give(rig.order(proposal, plan, approvals=(consent_to(plan),)))

    assert len(rig.written) == 1


@pytest.mark.parametrize("other", [{"plan_hash": "b" * 64}, {"verdict": Verdict.REJECTED}])
async def test_what_was_signed_about_something_else_consents_to_nothing(rig: Rig, other: dict[str, Any]) -> None:
    rig.config(policy_floor="rollback_rollout: 1", approver_keys=f"person:ann: {ANN.public.to_text()}")
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    order = rig.order(proposal, plan, approvals=(consent_to(plan, **other),))

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (Stage.REFUSED, "policy_floor_is_met")
    assert rig.written == []


# Reservations


async def test_a_budget_of_many_hours_remembers_that_long(rig: Rig) -> None:
    rig.restart(budget=1, budget_window="PT5H")
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    await rig.remember(0, owner_uid="another", minutes_ago=200)
    order = rig.order(proposal, plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (BLOCKED, "budget")


async def another_is_under_way(rig: Rig) -> None:
    await rig.remember(0, owner_uid=rig.ref().uid, minutes_ago=90, stage=Stage.SETTLING, action=ActionKind.EVICT_POD)


async def it_was_done_just_now(rig: Rig) -> None:
    await rig.remember(0, owner_uid=rig.ref().uid, minutes_ago=4)


async def something_did_not_help(rig: Rig) -> None:
    await rig.remember(
        0, owner_uid=rig.ref().uid, minutes_ago=0.5, stage=Stage.UNDONE, action=ActionKind.SCALE_WORKLOAD
    )


async def test_what_nobody_can_judge_takes_no_failure_back(rig: Rig) -> None:
    """Three that failed block for an hour; what is held since then for a person to judge is no help."""
    for number in range(3):
        await rig.remember(
            number, owner_uid=rig.ref().uid, minutes_ago=40 - number, stage=Stage.UNDONE,
            action=ActionKind.SCALE_WORKLOAD,
        )  # fmt: skip
    await rig.remember(3, owner_uid=rig.ref().uid, minutes_ago=20, stage=Stage.HELD)
    proposal = rig.proposal()
    order = rig.order(proposal, await rig.plan(proposal))

    await rig.give(order)

    assert (rig.said(order).stage, rig.said(order).guardrail) == (BLOCKED, "back_off")


async def the_cluster_had_its_share(rig: Rig) -> None:
    for number in range(5):
        await rig.remember(number, owner_uid=f"another-{number}", minutes_ago=number + 1)


RESERVED: dict[str, tuple[Disturb, timedelta]] = {
    "owner_lock": (another_is_under_way, timedelta()),
    "cooldown": (it_was_done_just_now, timedelta(minutes=1)),
    "back_off": (something_did_not_help, timedelta(seconds=30)),
    "budget": (the_cluster_had_its_share, timedelta(minutes=5)),
}
"""What takes it, and after how long it is free again (0: not by time alone)."""


@pytest.mark.parametrize("name", [reservation.__name__ for reservation in RESERVATIONS])
async def test_what_is_taken_keeps_every_write_away_until_it_is_free(name: str, rig: Rig) -> None:
    taken_by, free_after = RESERVED[name]
    rig.verifier.says = Judgement.NOT_YET  # what it was proposed for goes on
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    await happens(taken_by, rig)
    order = rig.order(proposal, plan)

    await rig.give(order)

    outcome = rig.outcome(order)
    assert outcome is not None
    assert (outcome.stage, outcome.guardrail) == (BLOCKED, name)
    assert rig.written == []
    if free_after:
        await rig.pass_time(seconds=free_after.total_seconds() + 1)
        await rig.executor.step()
        assert len(rig.written) == 1


async def test_a_blocked_order_is_carried_out_when_nothing_blocks_it_any_more(rig: Rig) -> None:
    proposal = rig.proposal()
    plan = await rig.plan(proposal)
    rig.backend.paused = True
    order = rig.order(proposal, plan)
    await rig.give(order)
    assert rig.written == []

    rig.backend.paused = False
    await rig.pass_time(seconds=6)
    await rig.executor.step()

    assert len(rig.written) == 1

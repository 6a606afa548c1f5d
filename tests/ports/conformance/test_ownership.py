"""Who owns a field: what an apply takes, what it meets, what it gives up, and what Aegis leaves behind."""

from datetime import UTC, datetime

import pytest
from tests.builders import proposal, target
from tests.ports.conformance.cluster import APPLY, Answer, Cluster
from tests.ports.conformance.manifests import Object, config_map, deployment

from aegis.contracts.actions import Action, RaiseMemory, RestartWorkload, ScaleWorkload
from aegis.executor.actions.registry import REGISTRY
from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.guardrails.facts import Facts
from aegis.executor.orders.undo import letting_go
from aegis.executor.ports import FIELD_MANAGER, ExactRequest, WriteRefusedError
from aegis.kit.clock import SystemClock

OWNER = "the-owner"
ORDER = "order-1"


async def apply(cluster: Cluster, resource: str, wanted: Object, *, manager: str = OWNER, **query: str) -> Answer:
    path = cluster.path(resource, wanted["metadata"]["name"])
    return await cluster.ask("PATCH", path, wanted, kind=APPLY, fieldManager=manager, **query)


def managers(thing: Object) -> set[tuple[str, str]]:
    return {(one["manager"], one["operation"]) for one in thing["metadata"]["managedFields"]}


async def test_an_apply_makes_what_is_not_there_and_owns_it(cluster: Cluster) -> None:
    made = await apply(cluster, "configmaps", config_map(color="blue"))

    assert made.code == 201
    entries = made.body["metadata"]["managedFields"]
    assert managers(made.body) == {(OWNER, "Apply")}
    assert entries[0]["fieldsType"] == "FieldsV1"
    assert entries[0]["fieldsV1"] == {"f:data": {"f:color": {}}}


async def test_another_value_for_a_field_of_somebody_elses_is_a_conflict_that_names_them(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue"))

    refused = await apply(cluster, "configmaps", config_map(color="red"), manager="another")

    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    assert refused.body["message"] == f'Apply failed with 1 conflict: conflict with "{OWNER}": .data.color'
    assert refused.causes == [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{OWNER}"', "field": ".data.color"}
    ]
    assert (await cluster.get("configmaps", "settings"))["data"] == {"color": "blue"}


async def test_the_same_value_is_no_conflict_and_both_own_it(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue"))

    shared = await apply(cluster, "configmaps", config_map(color="blue"), manager="another")

    assert shared.code == 200
    assert managers(shared.body) == {(OWNER, "Apply"), ("another", "Apply")}


async def test_force_takes_the_field_away(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue"))

    forced = await apply(cluster, "configmaps", config_map(color="red"), manager="another", force="true")

    assert (forced.code, forced.body["data"]) == (200, {"color": "red"})
    assert managers(forced.body) == {("another", "Apply")}


async def test_what_its_only_owner_gives_up_is_gone_and_what_others_own_too_stays(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue", size="small"))
    await apply(cluster, "configmaps", config_map(color="blue"), manager="another")

    given_up = await apply(cluster, "configmaps", config_map())

    assert given_up.body["data"] == {"color": "blue"}


async def test_an_apply_may_be_tried(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue"))

    tried = await apply(cluster, "configmaps", config_map(color="green"), dryRun="All")
    refused = await apply(cluster, "configmaps", config_map(color="red"), manager="another", dryRun="All")

    assert (tried.code, tried.body["data"], refused.code) == (200, {"color": "green"}, 409)
    assert (await cluster.get("configmaps", "settings"))["data"] == {"color": "blue"}


async def test_who_patches_owns_what_the_patch_changed_and_nothing_else(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue", size="small"))

    patched = await cluster.patch("configmaps", "settings", {"data": {"color": "red"}}, fieldManager="a-person")

    owned = {one["manager"]: one["fieldsV1"] for one in patched["metadata"]["managedFields"]}
    assert managers(patched) == {(OWNER, "Apply"), ("a-person", "Update")}
    assert owned == {OWNER: {"f:data": {"f:size": {}}}, "a-person": {"f:data": {"f:color": {}}}}


# What Aegis does, and leaves behind


ACTIONS: list[Action] = [ScaleWorkload(replicas=1), RaiseMemory(container="main", factor=1.5)]


def request_for(workload: Object, action: Action) -> tuple[ExactRequest, ExactRequest | None]:
    """Return what Aegis would send for an action on a workload, and to take it back."""
    about = target(namespace=workload["metadata"]["namespace"], uid=workload["metadata"]["uid"])
    asked = proposal(action, target=about, owner=about)
    facts = Facts(now=datetime(2026, 1, 5, tzinfo=UTC), target=workload, owner=workload)
    draft = REGISTRY[action.kind].draft(asked, facts, order_id=ORDER)
    return draft.request, draft.undo


async def the_owners(cluster: Cluster) -> Object:
    """Apply a Deployment as its owner; return it as it is then."""
    wanted = deployment(replicas=0)
    answer = await apply(cluster, "deployments", wanted)
    assert answer.code == 201
    await cluster.seen("deployments", "web", lambda it: it.get("status", {}).get("observedGeneration"))
    return await cluster.get("deployments", "web")


async def let_go(cluster: Cluster, writes: KubernetesCluster) -> None:
    async def is_let_go() -> bool:
        request = letting_go(await cluster.get("deployments", "web"), ORDER)
        assert request is not None
        try:
            await writes.send(request, dry_run=False)
        except WriteRefusedError:
            return False  # a new status has moved the entries meanwhile: the Executor too tries again
        return True

    await cluster.until(is_let_go)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: str(action.kind))
async def test_aegis_is_named_by_a_conflict_while_its_change_stands(cluster: Cluster, action: Action) -> None:
    before = await the_owners(cluster)

    do, _ = request_for(before, action)
    changed = await KubernetesCluster(cluster.http, SystemClock()).send(do, dry_run=False)
    refused = await apply(cluster, "deployments", deployment(replicas=0))

    assert (FIELD_MANAGER, "Update") in managers(changed)
    assert refused.code == 409
    assert {one["message"] for one in refused.causes} == {f'conflict with "{FIELD_MANAGER}"' + using(changed)}


def using(thing: Object) -> str:
    return f" using {thing['apiVersion']}"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: str(action.kind))
async def test_after_its_undo_aegis_owns_nothing_and_the_owner_meets_no_conflict(
    cluster: Cluster, action: Action
) -> None:
    before = await the_owners(cluster)
    writes = KubernetesCluster(cluster.http, SystemClock())

    do, undo = request_for(before, action)
    assert undo is not None
    await writes.send(do, dry_run=False)
    await writes.send(undo, dry_run=False)
    await let_go(cluster, writes)
    after = await cluster.get("deployments", "web")
    again = await apply(cluster, "deployments", deployment(replicas=0, spec={"minReadySeconds": 1}))

    assert after["spec"] == before["spec"]
    assert FIELD_MANAGER not in {manager for manager, _ in managers(after)}
    assert again.code == 200


async def test_after_letting_go_of_a_change_that_stays_the_owner_may_set_the_field_again(cluster: Cluster) -> None:
    before = await the_owners(cluster)
    writes = KubernetesCluster(cluster.http, SystemClock())

    do, _ = request_for(before, ScaleWorkload(replicas=1))
    await writes.send(do, dry_run=False)
    await let_go(cluster, writes)
    again = await apply(cluster, "deployments", deployment(replicas=0))

    assert (again.code, again.body["spec"]["replicas"]) == (200, 0)


async def test_a_restart_takes_no_field_of_the_owners(cluster: Cluster) -> None:
    before = await the_owners(cluster)

    do, undo = request_for(before, RestartWorkload())
    changed = await KubernetesCluster(cluster.http, SystemClock()).send(do, dry_run=False)
    again = await apply(cluster, "deployments", deployment(replicas=0))

    assert undo is None
    assert (FIELD_MANAGER, "Update") in managers(changed)
    assert again.code == 200
    assert again.body["spec"]["template"] == changed["spec"]["template"]


async def test_an_empty_entry_takes_all_ownership_away(cluster: Cluster) -> None:
    await apply(cluster, "configmaps", config_map(color="blue"))

    freed = await cluster.patch("configmaps", "settings", {"metadata": {"managedFields": [{}]}})
    refused = await apply(cluster, "configmaps", config_map(color="red"))
    same = await apply(cluster, "configmaps", config_map(color="blue"))

    assert "managedFields" not in freed["metadata"]
    assert refused.code == 409
    assert refused.causes[0]["message"] == 'conflict with "before-first-apply" using v1'
    assert same.code == 200

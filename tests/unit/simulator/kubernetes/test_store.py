"""The store: versions, generations, deletion, garbage, events."""

import pytest
from tests.unit.simulator.kubernetes.builders import a_config_map, a_deployment, a_pod, a_store, owner_reference

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SERVICES,
)


def test_the_same_seed_gives_the_same_uids() -> None:
    first, second = (a_store().create(PODS, a_pod()) for _ in range(2))

    assert first["metadata"]["uid"] == second["metadata"]["uid"]


def test_each_write_takes_the_next_version() -> None:
    store = a_store()
    before = store.resource_version

    created = store.create(CONFIGMAPS, a_config_map())
    updated = store.update(CONFIGMAPS, {**created, "data": {"color": "red"}})

    assert int(created["metadata"]["resourceVersion"]) == before + 1
    assert int(updated["metadata"]["resourceVersion"]) == before + 2 == store.resource_version


def test_an_update_that_changes_nothing_keeps_the_version() -> None:
    store = a_store()
    created = store.create(CONFIGMAPS, a_config_map())

    updated = store.update(CONFIGMAPS, created)

    assert updated["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_a_stale_update_conflicts() -> None:
    store = a_store()
    seen = store.create(CONFIGMAPS, a_config_map())
    store.update(CONFIGMAPS, {**seen, "data": {"color": "red"}})

    with pytest.raises(ApiError, match="the object has been modified") as refusal:
        store.update(CONFIGMAPS, {**seen, "data": {"color": "green"}})

    assert refusal.value.code == 409


def test_only_a_change_of_the_spec_is_a_new_generation() -> None:
    store = a_store()
    deployment = store.create(DEPLOYMENTS, a_deployment())

    labelled = store.update(DEPLOYMENTS, {**deployment, "metadata": {**deployment["metadata"], "labels": {"a": "b"}}})
    reported = store.update(DEPLOYMENTS, {**labelled, "status": {"replicas": 1}}, subresource="status")
    scaled = store.update(DEPLOYMENTS, {**reported, "spec": {**reported["spec"], "replicas": 5}})

    generations = [each["metadata"]["generation"] for each in (deployment, labelled, reported, scaled)]
    assert generations == [1, 1, 1, 2]


def test_status_and_spec_are_written_separately() -> None:
    store = a_store()
    deployment = store.create(DEPLOYMENTS, a_deployment(replicas=2))
    wished = {**deployment, "spec": {**deployment["spec"], "replicas": 9}, "status": {"replicas": 7}}

    reported = store.update(DEPLOYMENTS, wished, subresource="status")
    changed = store.update(
        DEPLOYMENTS, {**wished, "metadata": {**wished["metadata"], "resourceVersion": ""}, "status": {"replicas": 1}}
    )

    assert (reported["spec"]["replicas"], reported["status"]["replicas"]) == (2, 7)
    assert (changed["spec"]["replicas"], changed["status"]["replicas"]) == (9, 7)


def test_a_dry_run_changes_nothing_and_shows_what_would_be() -> None:
    store = a_store()
    before = store.resource_version

    shown = store.create(DEPLOYMENTS, a_deployment(), dry_run=True)

    assert shown["spec"]["strategy"]["type"] == "RollingUpdate"
    assert store.find(DEPLOYMENTS, "shop", "web") is None
    assert store.resource_version == before


def test_generated_names_are_distinct() -> None:
    store = a_store()
    template = a_pod()
    template["metadata"] = {"generateName": "web-", "namespace": "shop"}

    names = {store.create(PODS, template)["metadata"]["name"] for _ in range(20)}

    assert len(names) == 20
    assert all(name.startswith("web-") and len(name) == len("web-") + 5 for name in names)


def test_a_second_object_of_a_name_is_refused() -> None:
    store = a_store()
    store.create(PODS, a_pod())

    with pytest.raises(ApiError, match='pods "web-1" already exists') as refusal:
        store.create(PODS, a_pod())

    assert (refusal.value.code, refusal.value.reason) == (409, "AlreadyExists")


def test_a_running_pod_gets_time_to_end() -> None:
    store = a_store()
    store.create(PODS, a_pod(node="n1"))

    marked = store.delete(PODS, "shop", "web-1")
    hurried = store.delete(PODS, "shop", "web-1", grace_s=5)
    store.delete(PODS, "shop", "web-1", grace_s=0)

    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert marked["metadata"]["deletionTimestamp"] == "2026-01-05T00:00:30Z"
    assert hurried["metadata"]["deletionTimestamp"] == "2026-01-05T00:00:05Z"
    assert store.find(PODS, "shop", "web-1") is None


def test_a_pod_without_a_node_goes_at_once() -> None:
    store = a_store()
    store.create(PODS, a_pod())

    store.delete(PODS, "shop", "web-1")

    assert store.find(PODS, "shop", "web-1") is None


def test_a_pod_of_another_uid_is_not_deleted() -> None:
    store = a_store()
    store.create(PODS, a_pod())

    with pytest.raises(ApiError, match=r"the UID in the precondition \(other\) does not match"):
        store.delete(PODS, "shop", "web-1", uid="other")


def test_finalizers_hold_an_object_until_the_last_is_gone() -> None:
    store = a_store()
    store.create(CONFIGMAPS, a_config_map(finalizers=["example.com/hold"]))

    held = store.delete(CONFIGMAPS, "shop", "settings")
    store.update(CONFIGMAPS, {**held, "metadata": {**held["metadata"], "finalizers": []}})

    assert held["metadata"]["deletionTimestamp"]
    assert store.find(CONFIGMAPS, "shop", "settings") is None


def test_what_lost_its_owner_is_collected_to_the_last_generation() -> None:
    store = a_store()
    deployment = store.create(DEPLOYMENTS, a_deployment())
    replica_set = a_deployment("web-1")
    replica_set["metadata"]["ownerReferences"] = [owner_reference(deployment)]
    replica_set = store.create(REPLICASETS, replica_set)
    store.create(PODS, a_pod(owner=replica_set))

    store.delete(DEPLOYMENTS, "shop", "web")
    store.collect_garbage()

    assert store.list(REPLICASETS) == []
    assert store.list(PODS) == []


def test_what_an_unknown_kind_owns_is_not_collected() -> None:
    store = a_store()
    owned = a_deployment()
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "db.example/v1", "kind": "Ledger", "name": "main", "uid": "u-1", "controller": True}
    ]
    store.create(DEPLOYMENTS, owned)

    store.collect_garbage()

    assert len(store.list(DEPLOYMENTS)) == 1


def test_orphans_stay_and_forget_their_owner() -> None:
    store = a_store()
    deployment = store.create(DEPLOYMENTS, a_deployment())
    store.create(PODS, a_pod(owner=deployment))

    store.delete(DEPLOYMENTS, "shop", "web", propagation="Orphan")
    store.collect_garbage()

    (pod,) = store.list(PODS)
    assert "ownerReferences" not in pod["metadata"]


def test_a_foreground_deletion_waits_for_the_dependents() -> None:
    store = a_store()
    deployment = store.create(DEPLOYMENTS, a_deployment())
    store.create(PODS, a_pod(owner=deployment, node="n1"))

    store.delete(DEPLOYMENTS, "shop", "web", propagation="Foreground")
    store.collect_garbage()
    waiting = store.find(DEPLOYMENTS, "shop", "web")
    store.delete(PODS, "shop", "web-1", grace_s=0)
    store.collect_garbage()

    assert waiting is not None
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert store.find(DEPLOYMENTS, "shop", "web") is None


def test_a_terminating_namespace_takes_nothing_new_and_ends_empty() -> None:
    store = a_store()
    store.create(NAMESPACES, {"metadata": {"name": "shop"}})
    store.create(CONFIGMAPS, a_config_map())

    store.delete(NAMESPACES, None, "shop")
    with pytest.raises(ApiError, match="because it is being terminated"):
        store.create(CONFIGMAPS, a_config_map("another"))
    store.collect_garbage()

    assert store.list(CONFIGMAPS, "shop") == []
    assert store.find(NAMESPACES, None, "shop") is None


def test_an_event_that_repeats_is_counted() -> None:
    store = a_store()
    pod = store.create(PODS, a_pod())

    for _ in range(3):
        store.record_event(involved=pod, type="Warning", reason="BackOff", message="again", component="kubelet")
    store.record_event(involved=pod, type="Warning", reason="BackOff", message="other", component="kubelet")

    assert sorted(event["count"] for event in store.list(EVENTS)) == [1, 3]
    assert {event["involvedObject"]["uid"] for event in store.list(EVENTS)} == {pod["metadata"]["uid"]}


def test_services_get_distinct_addresses() -> None:
    store = a_store()

    services = [
        store.create(SERVICES, {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}})
        for name in ("a", "b")
    ]

    assert len({service["spec"]["clusterIP"] for service in services}) == 2


def test_an_admission_hook_may_refuse() -> None:
    store = a_store()

    def refuse(resource: object, new: dict[str, object], old: dict[str, object] | None) -> None:
        raise ApiError(403, "Forbidden", "not today")

    store.admission.append(refuse)

    with pytest.raises(ApiError, match="not today"):
        store.create(CONFIGMAPS, a_config_map())

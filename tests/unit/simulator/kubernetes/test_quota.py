"""ResourceQuotas and LimitRanges."""

from typing import Any

import pytest
from tests.unit.simulator.kubernetes.builders import a_pod, a_store

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import LIMITRANGES, PODS, RESOURCEQUOTAS
from aegis.simulator.kubernetes.store import Store


def a_store_with_quota(**hard: str) -> Store:
    store = a_store()
    limits = {name.replace("_", "."): amount for name, amount in hard.items()}
    store.create(RESOURCEQUOTAS, {"metadata": {"name": "team", "namespace": "shop"}, "spec": {"hard": limits}})
    return store


def asking(memory: str) -> dict[str, Any]:
    return {"requests": {"memory": memory, "cpu": "100m"}, "limits": {"memory": memory}}


def used(store: Store) -> dict[str, str]:
    status: dict[str, str] = store.get(RESOURCEQUOTAS, "shop", "team")["status"]["used"]
    return status


def test_a_pod_too_many_is_forbidden_in_the_words_of_a_real_server() -> None:
    store = a_store_with_quota(pods="1")
    store.create(PODS, a_pod("a"))

    with pytest.raises(ApiError) as refusal:
        store.create(PODS, a_pod("b"))

    assert (refusal.value.code, refusal.value.reason) == (403, "Forbidden")
    assert refusal.value.message == (
        'pods "b" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1'
    )


def test_memory_counts_in_its_own_units() -> None:
    store = a_store_with_quota(limits_memory="1Gi", requests_cpu="1")
    store.create(PODS, a_pod("a", resources=asking("768Mi")))

    with pytest.raises(ApiError) as refusal:
        store.create(PODS, a_pod("b", resources=asking("512Mi")))

    assert refusal.value.message.endswith(
        "requested: limits.memory=512Mi, used: limits.memory=768Mi, limited: limits.memory=1Gi"
    )
    assert used(store) == {"limits.memory": "768Mi", "requests.cpu": "100m"}


def test_a_quota_on_memory_wants_every_container_to_name_its_own() -> None:
    store = a_store_with_quota(limits_memory="1Gi")

    with pytest.raises(ApiError, match=r"failed quota: team: must specify limits\.memory for: web"):
        store.create(PODS, a_pod())


def test_a_dry_run_meets_the_quota_too() -> None:
    store = a_store_with_quota(pods="0")

    with pytest.raises(ApiError, match="exceeded quota"):
        store.create(PODS, a_pod(), dry_run=True)


def test_a_pod_that_ended_makes_room() -> None:
    store = a_store_with_quota(pods="1")
    pod = store.create(PODS, a_pod("a"))
    full = used(store)

    store.update(PODS, {**pod, "status": {"phase": "Succeeded"}}, subresource="status")
    store.create(PODS, a_pod("b"))

    assert full == {"pods": "1"}
    assert used(store) == {"pods": "1"}


def test_a_deleted_pod_gives_back_what_it_used() -> None:
    store = a_store_with_quota(pods="3")
    store.create(PODS, a_pod("a"))

    store.delete(PODS, "shop", "a")

    assert used(store) == {"pods": "0"}


def test_limit_ranges_give_containers_what_they_did_not_name() -> None:
    store = a_store_with_quota(limits_memory="1Gi")
    limit = {"type": "Container", "default": {"memory": "256Mi"}, "defaultRequest": {"memory": "128Mi"}}
    store.create(LIMITRANGES, {"metadata": {"name": "d", "namespace": "shop"}, "spec": {"limits": [limit]}})

    pod = store.create(PODS, a_pod())

    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"memory": "256Mi"},
        "requests": {"memory": "128Mi"},
    }
    assert used(store) == {"limits.memory": "256Mi"}

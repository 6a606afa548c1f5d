"""Evictions and the PodDisruptionBudgets that refuse them."""

from typing import Any

import pytest
from tests.unit.simulator.kubernetes.builders import PODS_PATH, Api, Reply, a_deployment, a_pod, an_api

from aegis.simulator.kubernetes.resources import PDBS, PODS, REPLICASETS

Object = dict[str, Any]


def an_api_with_pods(*, ready: int, broken: int = 0, replicas: int | None = None, budget: Object | None = None) -> Api:
    api = an_api()
    owner = api.store.create(REPLICASETS, a_deployment(replicas=ready + broken if replicas is None else replicas))
    for number in range(ready + broken):
        api.store.create(PODS, a_pod(f"web-{number}", owner=owner, node="n1", ready=number < ready, phase="Running"))
    if budget is not None:
        spec = {"selector": {"matchLabels": {"app": "web"}}, **budget}
        api.store.create(PDBS, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    return api


async def evict(api: Api, pod: str = "web-0", **options: Any) -> Reply:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": "shop"},
        "deleteOptions": options,
    }
    return await api.create(f"{PODS_PATH}/{pod}/eviction", eviction)


def is_going(api: Api, pod: str = "web-0") -> bool:
    return "deletionTimestamp" in api.store.get(PODS, "shop", pod)["metadata"]


async def test_without_a_budget_a_pod_is_evicted_gracefully() -> None:
    api = an_api_with_pods(ready=1)

    reply = await evict(api)

    assert (reply.code, reply.json["status"]) == (201, "Success")
    assert is_going(api)


async def test_a_budget_with_none_to_spare_refuses_in_the_words_of_a_real_server() -> None:
    api = an_api_with_pods(ready=2, budget={"minAvailable": 2})

    refused = await evict(api)

    assert (refused.code, refused.json["reason"]) == (429, "TooManyRequests")
    assert refused.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused.json["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently",
        }
    ]
    assert not is_going(api)


async def test_a_pod_on_its_way_out_counts_as_gone() -> None:
    api = an_api_with_pods(ready=3, budget={"maxUnavailable": 1})

    first, second = await evict(api, "web-0"), await evict(api, "web-1")

    assert (first.code, second.code) == (201, 429)


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        ({"minAvailable": 1}, 2),
        ({"minAvailable": "50%"}, 1),
        ({"maxUnavailable": 1}, 1),
        ({"maxUnavailable": "50%"}, 2),
        ({"maxUnavailable": 0}, 0),
    ],
)
async def test_the_status_says_how_many_may_go(budget: Object, allowed: int) -> None:
    api = an_api_with_pods(ready=3, budget=budget)

    shown = (await api.get("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web")).json["status"]

    assert shown["disruptionsAllowed"] == allowed
    assert (shown["expectedPods"], shown["currentHealthy"]) == (3, 3)


async def test_pods_that_are_missing_count_against_the_budget() -> None:
    api = an_api_with_pods(ready=2, replicas=4, budget={"maxUnavailable": 1})

    refused = await evict(api)

    assert refused.code == 429


async def test_a_broken_pod_may_go_while_the_healthy_ones_suffice() -> None:
    api = an_api_with_pods(ready=2, broken=1, budget={"minAvailable": 2})

    healthy, broken = await evict(api, "web-0"), await evict(api, "web-2")

    assert (healthy.code, broken.code) == (429, 201)


async def test_another_uid_conflicts() -> None:
    api = an_api_with_pods(ready=1)

    refused = await evict(api, preconditions={"uid": "somebody-else"})

    assert refused.code == 409
    assert not is_going(api)


async def test_a_dry_run_asks_the_budget_and_evicts_nobody() -> None:
    spare = an_api_with_pods(ready=1)
    tight = an_api_with_pods(ready=1, budget={"minAvailable": 1})

    allowed, refused = await evict(spare, dryRun=["All"]), await evict(tight, dryRun=["All"])

    assert (allowed.code, refused.code) == (201, 429)
    assert not is_going(spare)
    assert [line.dry_run for line in spare.app.requests] == [True]

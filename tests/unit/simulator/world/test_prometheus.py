"""The Prometheus API: right answers to what it understands, a refusal to everything else."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.unit.simulator.world.builders import Life

from aegis.catalogue.signals import SIGNALS
from aegis.simulator.world.control import WorldApi
from aegis.simulator.world.prometheus import PrometheusApi
from aegis.simulator.world.topologies import shop


def client_of(life: Life) -> httpx.AsyncClient:
    prometheus = PrometheusApi(life.world.recording, life.world.clock)
    app = Starlette(routes=[*prometheus.routes(), *WorldApi(life.world).routes()])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://world")


@pytest.fixture
def life() -> Life:
    return settled()


def settled() -> Life:
    return Life(shop()).go(120)


async def ask(life: Life, path: str, **params: str) -> Any:
    async with client_of(life) as client:
        answer = await client.get(path, params=params)
    return answer.status_code, answer.json()


async def test_one_query_returns_every_canonical_signal(life: Life) -> None:
    _, body = await ask(life, "/api/v1/query", query='{__name__=~"aegis:.+"}')

    assert body["status"] == "success"
    assert body["data"]["resultType"] == "vector"
    names = {each["metric"]["__name__"] for each in body["data"]["result"]}
    assert names == {each.metric for each in SIGNALS}
    assert all(float(each["value"][1]) >= 0 for each in body["data"]["result"])


async def test_matchers_choose_series(life: Life) -> None:
    _, body = await ask(
        life, "/api/v1/query", query='aegis:request_rate{namespace="shop", workload=~"we.|cart", kind!="X"}'
    )

    assert sorted(each["metric"]["workload"] for each in body["data"]["result"]) == ["cart", "web"]


async def test_labels_of_a_call_name_both_sides(life: Life) -> None:
    _, body = await ask(life, "/api/v1/query", query='aegis:call_rate{workload="cart"}')

    (series,) = body["data"]["result"]
    assert series["metric"] == {
        "__name__": "aegis:call_rate",
        "namespace": "shop",
        "kind": "Deployment",
        "workload": "cart",
        "peer_namespace": "shop",
        "peer_kind": "StatefulSet",
        "peer_workload": "store",
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "rate(aegis:request_rate[5m])",
        "aegis:request_rate > 5",
        "sum(aegis:request_rate)",
        "aegis:request_rate[5m]",
        "aegis:request_rate offset 5m",
        'aegis:request_rate{namespace="shop"',
        'aegis:request_rate{namespace="shop" workload="web"}',
        'aegis:request_rate{namespace=~"("}',
        '{namespace=~".*"}',
        "{}",
        "1",
    ],
)
async def test_what_it_does_not_understand_it_refuses(life: Life, query: str) -> None:
    status, body = await ask(life, "/api/v1/query", query=query)

    assert status == 400
    assert (body["status"], body["errorType"]) == ("error", "bad_data")


async def test_a_range_has_a_value_for_each_step(life: Life) -> None:
    now = life.world.clock.now().timestamp()

    _, body = await ask(
        life,
        "/api/v1/query_range",
        query='aegis:request_rate{workload="web"}',
        start=str(now - 60),
        end=str(now),
        step="15s",
    )

    (series,) = body["data"]["result"]
    assert [at for at, _ in series["values"]] == [now - 60, now - 45, now - 30, now - 15, now]
    assert all(15 < float(value) < 40 for _, value in series["values"])


@pytest.mark.parametrize(
    ("start", "end", "step"), [("10", "5", "1"), ("a", "5", "1"), ("0", "5", "0"), ("0", "99999", "1")]
)
async def test_a_range_that_makes_no_sense_is_refused(life: Life, start: str, end: str, step: str) -> None:
    status, body = await ask(life, "/api/v1/query_range", query="aegis:request_rate", start=start, end=end, step=step)

    assert (status, body["errorType"]) == (400, "bad_data")


async def test_an_instant_of_the_past_comes_from_the_recording(life: Life) -> None:
    before = life.world.clock.now().timestamp()
    life.do("set_traffic", service="shop/web", rps=0)
    life.go(120)

    _, now = await ask(life, "/api/v1/query", query='aegis:request_rate{workload="web"}')
    _, then = await ask(life, "/api/v1/query", query='aegis:request_rate{workload="web"}', time=str(before))

    assert now["data"]["result"] == []
    assert float(then["data"]["result"][0]["value"][1]) > 15


async def test_health_labels_and_build_are_told(life: Life) -> None:
    async with client_of(life) as client:
        healthy = await client.get("/-/healthy")
        labels = (await client.get("/api/v1/labels")).json()["data"]
        build = (await client.get("/api/v1/status/buildinfo")).json()["data"]
        posted = await client.post("/api/v1/query", data={"query": "aegis:restarts_total"})

    assert healthy.status_code == 200
    assert {"__name__", "namespace", "workload", "peer_workload", "revision"} <= set(labels)
    assert "version" in build
    assert len(posted.json()["data"]["result"]) == 4


async def test_the_world_tells_the_truth_and_takes_steps(life: Life) -> None:
    async with client_of(life) as client:
        about = (await client.get("/world")).json()
        done = await client.post("/world/steps", json={"do": "scale", "target": "@client", "replicas": 3})
        wrong = await client.post("/world/steps", json={"do": "scale", "target": "@client"})
        nobody = await client.post("/world/steps", json={"do": "scale", "target": "@nobody", "replicas": 1})
        workloads = (await client.get("/world/workloads")).json()["workloads"]
        requests = (await client.get("/world/requests", params={"since": about["began_at"]})).json()["requests"]
        senseless = await client.get("/world/requests", params={"since": "yesterday"})

    assert about["parts"]["store"] == ["shop/StatefulSet/store"]
    assert done.json() == {"done": "shop/Deployment/cart: 3 replicas"}
    assert (wrong.status_code, nobody.status_code, senseless.status_code) == (422, 404, 422)
    assert "replicas" in wrong.json()["error"]["message"]
    assert {each["workload"]: each["desired"] for each in workloads}["cart"] == 3
    assert sum(each["requests"] for each in requests) > 1000

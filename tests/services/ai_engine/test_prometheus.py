"""The canonical signals over Prometheus' HTTP API, from systems that differ."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from tests.unit.ai_engine.builders import START

from aegis.ai_engine.ports import Sample, labels_of
from aegis.ai_engine.sources.prometheus import PrometheusSource
from aegis.kit.errors import TemporaryError

WEB = {"__name__": "aegis:error_ratio", "namespace": "shop", "kind": "Deployment", "workload": "web"}


def source(answer: Callable[[httpx.Request], httpx.Response]) -> PrometheusSource:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://metrics")
    return PrometheusSource(http, stale_after=timedelta(seconds=45))


def vector(*series: tuple[dict[str, str], str]) -> httpx.Response:
    result = [{"metric": metric, "value": [1000.5, value]} for metric, value in series]
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}})


async def test_one_query_brings_every_signal_with_its_time() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return vector((WEB, "0.25"))

    found = await source(answer).newest()

    labels = labels_of({"namespace": "shop", "kind": "Deployment", "workload": "web"})
    assert found == [Sample("aegis:error_ratio", labels, 0.25, 1000.5)]
    assert len(asked) == 1
    assert asked[0].params["query"] == '{__name__=~"aegis:.+"}'
    assert asked[0].params["lookback_delta"] == "45s"


async def test_a_system_that_does_not_know_how_to_look_back_is_asked_without() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "lookback_delta" in request.url.params:
            return httpx.Response(400, json={"status": "error", "error": "unknown parameter"})
        return vector((WEB, "0.25"))

    assert len(await source(answer).newest()) == 1


async def test_labels_of_the_metrics_system_itself_do_not_make_another_series() -> None:
    found = await source(lambda _: vector((WEB | {"prometheus": "a", "replica": "1"}, "0.25"))).newest()

    assert dict(found[0].labels).keys() == {"namespace", "kind", "workload"}


async def test_what_is_no_number_is_no_sample() -> None:
    assert await source(lambda _: vector((WEB, "NaN"), (WEB, "+Inf"))).newest() == []


async def test_the_past_comes_as_columns_oldest_first() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/query_range"
        rows = [{"metric": WEB, "values": [[10, "1"], [25, "2"]]},
                {"metric": WEB | {"workload": "cart"}, "values": [[25, "3"]]}]  # fmt: skip
        return httpx.Response(200, json={"data": {"resultType": "matrix", "result": rows}})

    columns = await source(answer).between(START, START + timedelta(minutes=1), timedelta(seconds=15))

    assert [[one.value for one in column] for column in columns] == [[1], [2, 3]]


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(503, text="overloaded"),
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"status": "success"}),
        httpx.Response(200, json=["success"]),
        httpx.Response(200, json={"data": {"resultType": "scalar", "result": [1000.5, "1"]}}),
        httpx.Response(200, json={"data": {"result": [{"metric": {}, "value": [1000.5, "1"]}]}}),
        httpx.Response(200, json={"data": {"result": [{"metric": WEB, "value": [1000.5, "one"]}]}}),
        httpx.Response(301, headers={"Location": "/login"}),
    ],
)
async def test_an_answer_that_is_none_is_worth_another_try(response: httpx.Response) -> None:
    with pytest.raises(TemporaryError):
        await source(lambda _: response).newest()
    with pytest.raises(TemporaryError):
        await source(lambda _: response).between(START, START, timedelta(seconds=15))


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("86400", 300), ("soon", 1)])
async def test_a_metrics_system_says_how_long_to_wait_as_far_as_it_makes_sense(said: str, seconds: int) -> None:
    with pytest.raises(TemporaryError) as refusal:
        await source(lambda _: httpx.Response(429, headers={"Retry-After": said})).newest()

    assert refusal.value.retry_after_s == seconds


async def test_no_answer_is_worth_another_try() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(TemporaryError, match="does not answer"):
        await source(answer).newest()

"""The watch against an API server that behaves, and one that does not."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import httpx2
import pytest
from tests.services.ai_engine.cluster import PretendApi
from tests.unit.ai_engine.builders import START, meta
from tests.unit.simulator.kubernetes.builders import a_pod, an_api

from aegis.ai_engine.ports import ObjectChange
from aegis.ai_engine.sources.kubernetes import PATHS, KubernetesSource, pod_metrics
from aegis.clients.api_server import VERSION
from aegis.kit.clock import ScaledClock, VirtualClock
from aegis.kit.errors import AegisError, NotFoundError, TemporaryError
from aegis.simulator.kubernetes.resources import CONFIGMAPS, PODS
from aegis.simulator.kubernetes.server import ApiServer
from aegis.simulator.kubernetes.serving import serving


class Watched:
    """A source over a pretend API server; time runs a thousand times faster, so that back-off costs nothing."""

    def __init__(self) -> None:
        self.api = PretendApi()
        http = httpx2.AsyncClient(transport=self.api, base_url="http://api")
        self.clock = ScaledClock(START, 1000.0)
        self.source = KubernetesSource(http, self.clock, watch_timeout=timedelta(seconds=240))
        self.seen: list[ObjectChange] = []

    def names(self, *, deleted: bool = False) -> list[str]:
        self.seen += self.source.take_changes()
        return [one.object["metadata"]["name"] for one in self.seen if one.deleted is deleted]

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(400):
            if holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it did not come to hold")


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    await made.source.close()


def pod(name: str) -> dict[str, object]:
    return {"metadata": meta(name, created=START)}


async def test_what_is_there_and_what_comes_is_seen(watched: Watched) -> None:
    watched.api.put("pods", pod("first"))
    watched.source.start()

    await watched.until(lambda: watched.names() == ["first"])
    await watched.until(lambda: "pods" in watched.api.watching)
    watched.api.put("pods", pod("second"))

    await watched.until(lambda: watched.names() == ["first", "second"])


async def test_owners_come_before_what_they_own(watched: Watched) -> None:
    watched.api.put("pods", pod("a-pod"))
    watched.api.put("deployments", {"metadata": meta("a-deployment", created=START)})
    watched.source.start()

    await watched.until(lambda: watched.names() == ["a-deployment", "a-pod"])


async def test_a_watch_that_says_nothing_grows_old(watched: Watched) -> None:
    """A connection that died silently looks like a quiet cluster."""

    def age() -> timedelta:
        as_of = watched.source.as_of()
        assert as_of is not None
        return watched.clock.now() - as_of

    watched.source.start()
    await watched.until(lambda: len(watched.api.watching) == len(PATHS))
    first = age()
    await asyncio.sleep(0.02)

    assert age() > first


async def test_nothing_is_said_before_everything_was_listed(watched: Watched) -> None:
    watched.api.failures["replicasets"] = [httpx2.Response(500)] * 200
    watched.api.put("pods", pod("first"))
    watched.source.start()
    await watched.until(lambda: len(watched.api.watching) == len(PATHS) - 1)

    assert watched.names() == []
    assert watched.source.as_of() is None
    assert "replicasets" in watched.source.troubles()


async def test_a_resource_that_may_not_be_read_does_not_stop_the_others(watched: Watched) -> None:
    said = 'poddisruptionbudgets.policy is forbidden: User "ai-engine" cannot list resource "poddisruptionbudgets"'
    watched.api.failures["poddisruptionbudgets"] = [httpx2.Response(403, json={"message": said})] * 200
    watched.api.put("pods", pod("first"))
    watched.source.start()

    await watched.until(lambda: watched.names() == ["first"])

    assert watched.source.as_of() is not None
    assert list(watched.source.troubles()) == ["poddisruptionbudgets"]
    assert said in watched.source.troubles()["poddisruptionbudgets"]
    assert "aegis rbac" in watched.source.troubles()["poddisruptionbudgets"]


async def test_a_watch_that_ends_goes_on_where_it_was(watched: Watched) -> None:
    watched.source.start()
    await watched.until(lambda: "pods" in watched.api.watching)
    watched.api.put("pods", pod("first"))
    await watched.until(lambda: watched.names() == ["first"])

    watched.api.hang_up("pods")
    await watched.until(lambda: "pods" in watched.api.watching)
    watched.api.put("pods", pod("second"))

    await watched.until(lambda: watched.names() == ["first", "second"])
    assert sum(one.startswith("pods?limit") for one in watched.api.requests) == 1
    assert any(one.startswith("pods?watch") and "resourceVersion=101" in one for one in watched.api.requests)


async def test_a_version_that_is_gone_means_list_again_and_notice_what_went(watched: Watched) -> None:
    watched.api.put("pods", pod("goes"))
    watched.api.put("pods", pod("stays"))
    watched.source.start()
    await watched.until(lambda: "pods" in watched.api.watching)

    del watched.api.objects["pods"]["uid-goes"]
    watched.api.say("pods", "ERROR", {"code": 410, "message": "too old resource version"})

    await watched.until(lambda: watched.names(deleted=True) == ["goes"])
    assert watched.names().count("stays") == 2


async def test_bookmarks_move_the_version_and_change_nothing(watched: Watched) -> None:
    watched.source.start()
    await watched.until(lambda: "pods" in watched.api.watching)

    watched.api.say("pods", "BOOKMARK", {"metadata": {"resourceVersion": "4711"}})
    watched.api.hang_up("pods")

    await watched.until(lambda: any("resourceVersion=4711" in one for one in watched.api.requests))
    assert watched.names() == []


async def test_an_api_server_that_is_gone_makes_the_picture_old(watched: Watched) -> None:
    watched.source.start()
    await watched.until(lambda: len(watched.api.watching) == len(PATHS))
    watched.api.is_up = False
    watched.api.hang_up()
    await watched.until(lambda: len(watched.source.troubles()) == len(PATHS))
    at = watched.source.as_of()

    await asyncio.sleep(0.05)

    assert watched.source.as_of() == at
    assert at is not None
    assert watched.clock.now() - at > timedelta(seconds=10)

    watched.api.is_up = True
    await watched.until(lambda: not watched.source.troubles())


async def test_a_server_that_says_when_to_come_back_is_obeyed(watched: Watched) -> None:
    watched.api.failures["pods"] = [httpx2.Response(429, headers={"Retry-After": "100"})]
    watched.source.start()
    await watched.until(lambda: "nodes" in watched.api.watching)
    await asyncio.sleep(0.03)
    asked_early = sum(one.startswith("pods") for one in watched.api.requests)

    await watched.until(lambda: "pods" in watched.api.watching)

    assert asked_early == 1


async def test_the_version_is_asked_for_once_before_anything_is_listed(watched: Watched) -> None:
    watched.source.start()
    await watched.until(lambda: len(watched.api.watching) == len(PATHS))

    assert watched.api.requests.index(VERSION) == 0
    assert watched.api.requests.count(VERSION) == 1


async def test_nothing_is_read_from_an_older_server_until_it_is_upgraded(watched: Watched) -> None:
    watched.api.server = {"major": "1", "minor": "27+", "gitVersion": "v1.27.9-gke.1"}
    watched.api.put("pods", pod("first"))
    watched.source.start()
    await watched.until(lambda: watched.api.requests.count(VERSION) == 2)

    assert set(watched.api.requests) == {VERSION}
    assert watched.source.troubles() == {
        "API server": "the API server is Kubernetes v1.27.9-gke.1, and Aegis needs Kubernetes 1.28 or newer"
    }

    watched.api.server = {"major": "1", "minor": "28"}
    await watched.until(lambda: watched.names() == ["first"])
    assert watched.source.troubles() == {}


async def test_a_right_that_is_missing_is_told_with_the_rule_that_gives_it(watched: Watched) -> None:
    said = 'jobs.batch is forbidden: User "ai-engine" cannot list resource "jobs" in API group "batch"'
    watched.api.failures["jobs"] = [httpx2.Response(403, json={"message": said})]
    watched.source.start()
    await watched.until(lambda: "jobs" in watched.source.troubles())

    assert watched.source.troubles()["jobs"] == (
        f"the API server answered 403: {said}; add to the role: {{apiGroups: [batch], resources: [jobs], "
        "verbs: [list]}; `aegis rbac | kubectl apply -f -` adds all that is needed"
    )


@pytest.mark.parametrize(
    "page", [b"<html>please log in</html>", b"[]", b'{"items": []}', b'{"metadata": {}, "items": [{"kind": "Pod"}]}']
)
async def test_an_answer_that_makes_no_sense_is_trouble_and_no_end(watched: Watched, page: bytes) -> None:
    watched.api.failures["pods"] = [httpx2.Response(200, content=page)] * 200
    watched.api.put("pods", pod("first"))
    watched.source.start()

    await watched.until(lambda: "cannot be read" in watched.source.troubles().get("pods", ""))
    watched.api.failures.clear()

    await watched.until(lambda: watched.names() == ["first"])


@pytest.mark.parametrize("half", [b'{"type": "ADDED", "obj', b"[]", b'{"type": "ADDED", "object": {}}'])
async def test_a_watch_that_is_cut_within_a_line_goes_on_where_it_was(watched: Watched, half: bytes) -> None:
    watched.source.start()
    await watched.until(lambda: "pods" in watched.api.watching)
    watched.api.put("pods", pod("first"))
    watched.api.say_bytes("pods", half)
    watched.api.hang_up("pods")
    watched.api.put("pods", pod("second"))

    await watched.until(lambda: any("resourceVersion=101" in one for one in watched.api.requests))
    assert watched.names() == ["first"]
    assert sum(one.startswith("pods?limit") for one in watched.api.requests) == 1


@pytest.mark.parametrize("code", [200, 410])
async def test_a_server_that_ends_every_watch_at_once_is_not_asked_again_and_again(code: int) -> None:
    api, clock = PretendApi(), VirtualClock()
    source = KubernetesSource(
        httpx2.AsyncClient(transport=api, base_url="http://api"), clock, watch_timeout=timedelta(seconds=240)
    )
    api.ends_at_once["pods"] = code
    source.start()

    for _ in range(60):
        await clock.advance(timedelta(seconds=1))
        await asyncio.sleep(0)

    assert 4 <= sum(one.startswith("pods?watch") for one in api.requests) <= 8
    await source.close()


async def test_a_token_that_is_refused_is_tried_again_within_half_a_minute(watched: Watched) -> None:
    watched.api.failures["pods"] = [httpx2.Response(401, json={"message": "Unauthorized"})] * 200
    watched.source.start()
    await watched.until(lambda: "pods" in watched.source.troubles())
    assert watched.source.troubles()["pods"] == "the API server answered 401: Unauthorized"
    refused_at = watched.clock.now()
    watched.api.failures.clear()
    await watched.until(lambda: "pods" in watched.api.watching)

    assert watched.clock.now() - refused_at < timedelta(seconds=50)


# On the simulated API server, whose history is real


@dataclass
class OnSimulated:
    """A source that watches a simulated API server with a short memory, over a real connection."""

    api: ApiServer
    source: KubernetesSource
    changes: list[ObjectChange] = field(default_factory=list)

    def pods(self) -> list[tuple[str, str]]:
        """Return each change of a pod: what it is, and the version of it."""
        self.changes += self.source.take_changes()
        metadata = [one.object["metadata"] for one in self.changes if one.resource == "pods" and not one.deleted]
        return [(one["name"], one["resourceVersion"]) for one in metadata]

    def count(self, verb: str) -> int:
        return sum(one.verb == verb and one.resource == "pods" for one in self.api.requests)

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(2000):
            if holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it did not come to hold")


@pytest.fixture
async def simulated() -> AsyncIterator[OnSimulated]:
    api = an_api(history=100).app
    async with serving(api, tls=False) as served:
        http = httpx2.AsyncClient(base_url=served.url)
        source = KubernetesSource(http, ScaledClock(START, 1000.0), watch_timeout=timedelta(seconds=240))
        source.start()
        yield OnSimulated(api, source)
        await source.close()


async def test_watches_that_are_cut_again_and_again_lose_nothing_and_double_nothing(simulated: OnSimulated) -> None:
    api, made = simulated.api, []
    await simulated.until(lambda: simulated.count("watch") == 1)

    for number in range(30):
        created = api.store.create(PODS, a_pod(f"web-{number}"))
        api.weather.cut_watches()
        made.append((f"web-{number}", created["metadata"]["resourceVersion"]))
        if number % 3 == 0:
            await simulated.until(lambda: simulated.pods() == made)
    await simulated.until(lambda: simulated.pods() == made)

    assert simulated.count("list") == 1
    assert simulated.count("watch") >= 10
    assert simulated.source.troubles() == {}


async def test_a_watch_that_was_away_for_too_long_lists_again(simulated: OnSimulated) -> None:
    api = simulated.api
    api.store.create(PODS, a_pod("goes"))
    await simulated.until(lambda: [name for name, _ in simulated.pods()] == ["goes"])

    api.weather.watches_refused = True
    api.weather.cut_watches()
    await simulated.until(lambda: "pods" in simulated.source.troubles())
    api.store.delete(PODS, "shop", "goes")
    for number in range(200):
        api.store.create(CONFIGMAPS, {"metadata": {"name": f"settings-{number}", "namespace": "shop"}})
    api.store.create(PODS, a_pod("came"))
    api.weather.watches_refused = False

    await simulated.until(lambda: [name for name, _ in simulated.pods()] == ["goes", "came"])
    assert [one.object["metadata"]["name"] for one in simulated.changes if one.deleted] == ["goes"]
    assert simulated.count("list") == 2


# metrics-server


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (httpx2.Response(404), NotFoundError, "there is no metrics-server to read: the API server answered 404"),
        (
            httpx2.Response(403, json={"message": 'cannot list resource "pods" in API group "metrics.k8s.io"'}),
            NotFoundError,
            "add to the role: {apiGroups: [metrics.k8s.io], resources: [pods], verbs: [list]}",
        ),
        (httpx2.Response(401, json={"message": "Unauthorized"}), TemporaryError, "answered 401: Unauthorized"),
        (httpx2.Response(503, json={"message": "unable to handle"}), TemporaryError, "answered 503: unable to handle"),
        (httpx2.Response(200, text="<html>"), TemporaryError, "cannot be read"),
    ],
)
async def test_a_metrics_server_that_is_not_there_is_told_from_one_that_does_not_answer(
    answer: httpx2.Response, error: type[AegisError], told: str
) -> None:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: answer), base_url="http://api")

    with pytest.raises(error, match=re.escape(told)):
        [one async for one in pod_metrics(http)]

    await http.aclose()


async def test_no_metrics_server_is_a_plain_answer() -> None:
    http = httpx2.AsyncClient(transport=PretendApi(), base_url="http://api")

    with pytest.raises(NotFoundError, match="no metrics-server"):
        [one async for one in pod_metrics(http)]

    await http.aclose()

"""Watching: nothing is missed, not even where the connection ends in between."""

from tests.ports.conformance.cluster import Cluster
from tests.ports.conformance.manifests import Object, config_map

CHANGES_AT_ONCE = 20
FORGETS_WITHIN_S = 240
OURS = {"fieldSelector": "metadata.name!=kube-root-ca.crt"}


async def version_of(cluster: Cluster) -> str:
    listed = (await cluster.ask("GET", cluster.path("configmaps"))).body
    return str(listed["metadata"]["resourceVersion"])


def told(events: list[tuple[str, Object]]) -> list[tuple[str, str]]:
    return [(kind, thing["metadata"]["name"]) for kind, thing in events]


async def test_a_watch_tells_all_that_happens_after_the_list_in_order(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map("before"))
    since = await version_of(cluster)

    async with cluster.watching("configmaps", resourceVersion=since, **OURS) as watched:
        await cluster.create("configmaps", config_map("new", color="blue"))
        await cluster.patch("configmaps", "new", {"data": {"color": "red"}})
        await cluster.delete("configmaps", "new")
        events = [await watched.event() for _ in range(3)]

    assert told(events) == [("ADDED", "new"), ("MODIFIED", "new"), ("DELETED", "new")]
    assert [thing["data"]["color"] for _, thing in events] == ["blue", "red", "red"]
    versions = [int(thing["metadata"]["resourceVersion"]) for _, thing in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)
    assert {(thing["kind"], thing["apiVersion"]) for _, thing in events} == {("ConfigMap", "v1")}


async def test_a_watch_without_a_version_begins_with_what_is_there(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map("there"))

    async with cluster.watching("configmaps", **OURS) as watched:
        first = await watched.event()
        await cluster.create("configmaps", config_map("new"))
        second = await watched.event()

    assert told([first, second]) == [("ADDED", "there"), ("ADDED", "new")]


async def test_a_watch_that_was_cut_goes_on_without_loss(cluster: Cluster) -> None:
    since = await version_of(cluster)

    async with cluster.watching("configmaps", resourceVersion=since, timeoutSeconds=1, **OURS) as watched:
        await cluster.create("configmaps", config_map("first"))
        before = await watched.rest()
    await cluster.create("configmaps", config_map("between"))
    await cluster.delete("configmaps", "first")
    seen = before[-1][1]["metadata"]["resourceVersion"]
    async with cluster.watching("configmaps", resourceVersion=seen, **OURS) as watched:
        await cluster.create("configmaps", config_map("last"))
        after = [await watched.event() for _ in range(3)]

    assert told(before) == [("ADDED", "first")]
    assert told(after) == [("ADDED", "between"), ("DELETED", "first"), ("ADDED", "last")]


async def test_a_bookmark_says_before_the_end_how_far_a_watch_is_and_it_goes_on_from_there(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", config_map())
    query = {"resourceVersion": await version_of(cluster), "allowWatchBookmarks": "true", "timeoutSeconds": 4}

    async def bookmarks() -> list[tuple[str, Object]]:
        # It is promised to nobody: a busy server may have none ready before the end.
        async with cluster.watching("configmaps", **query, **OURS) as watched:
            async for event in watched.events():
                return [event]
        return []

    [(kind, bookmark)] = await cluster.until(bookmarks)
    await cluster.create("configmaps", config_map("new"))
    version = bookmark["metadata"]["resourceVersion"]
    async with cluster.watching("configmaps", resourceVersion=version, **OURS) as watched:
        after = await watched.event()

    assert kind == "BOOKMARK"
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("ConfigMap", "v1")
    assert int(version) >= int(made["metadata"]["resourceVersion"])
    assert "name" not in bookmark["metadata"]
    assert told([after]) == [("ADDED", "new")]


async def test_a_watch_from_what_is_forgotten_ends_with_an_error_that_says_410(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map())
    oldest = (await cluster.get("namespaces", "default", namespace=""))["metadata"]["resourceVersion"]

    async def forgotten() -> list[tuple[str, Object]]:
        # A server keeps the latest changes, and those of the last minute or so: it takes many, and some time.
        for number in range(CHANGES_AT_ONCE):
            await cluster.patch("configmaps", "settings", {"data": {"number": str(number)}})
        async with cluster.watching("configmaps", namespace="", resourceVersion=oldest) as watched:
            kind, thing = await watched.event()
            return [(kind, thing)] if kind == "ERROR" else []

    [(_, status)] = await cluster.until(forgotten, within_s=FORGETS_WITHIN_S)

    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith(f"too old resource version: {oldest} (")


async def test_what_stops_to_match_is_told_as_deleted_and_what_starts_to_as_added(cluster: Cluster) -> None:
    made = config_map()
    made["metadata"]["labels"] = {"app": "web"}
    await cluster.create("configmaps", made)
    since = await version_of(cluster)

    async with cluster.watching("configmaps", resourceVersion=since, labelSelector="app=web") as watched:
        await cluster.patch("configmaps", "settings", {"metadata": {"labels": {"app": "api"}}})
        await cluster.patch("configmaps", "settings", {"data": {"color": "unseen"}})
        await cluster.patch("configmaps", "settings", {"metadata": {"labels": {"app": "web"}}})
        events = [await watched.event() for _ in range(2)]

    assert told(events) == [("DELETED", "settings"), ("ADDED", "settings")]


async def test_what_is_deleted_and_made_again_is_told_with_both_uids(cluster: Cluster) -> None:
    first = await cluster.create("configmaps", config_map())

    version = first["metadata"]["resourceVersion"]
    async with cluster.watching("configmaps", resourceVersion=version, **OURS) as watched:
        await cluster.delete("configmaps", "settings")
        second = await cluster.create("configmaps", config_map())
        events = [await watched.event() for _ in range(2)]

    assert [(kind, thing["metadata"]["uid"]) for kind, thing in events] == [
        ("DELETED", first["metadata"]["uid"]),
        ("ADDED", second["metadata"]["uid"]),
    ]


async def test_a_watch_with_a_selector_that_cannot_be_is_a_bad_request(cluster: Cluster) -> None:
    answer = await cluster.ask("GET", cluster.path("configmaps"), watch="true", fieldSelector="data.color=blue")

    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")

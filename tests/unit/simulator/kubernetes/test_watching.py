"""Watches: what they begin with, what they tell, and when they end."""

from tests.unit.simulator.kubernetes.builders import CONFIG, PODS_PATH, a_config_map, a_pod, an_api

from aegis.simulator.kubernetes.resources import CONFIGMAPS, PODS
from aegis.simulator.kubernetes.weather import Weather

TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


async def test_a_watch_tells_what_is_and_then_what_changes() -> None:
    api = an_api()
    api.store.create(CONFIGMAPS, a_config_map("first"))

    async with api.watch(CONFIG) as watch:
        events = [await watch.next()]
        created = api.store.create(CONFIGMAPS, a_config_map("second"))
        api.store.update(CONFIGMAPS, {**created, "data": {"color": "red"}})
        api.store.delete(CONFIGMAPS, "shop", "second")
        events += [await watch.next() for _ in range(3)]

    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert seen == [("ADDED", "first"), ("ADDED", "second"), ("MODIFIED", "second"), ("DELETED", "second")]


async def test_a_watch_goes_on_from_a_version() -> None:
    api = an_api()
    first = api.store.create(CONFIGMAPS, a_config_map("first"))
    api.store.create(CONFIGMAPS, a_config_map("second"))

    async with api.watch(CONFIG, resourceVersion=first["metadata"]["resourceVersion"]) as watch:
        event = await watch.next()

    assert event["object"]["metadata"]["name"] == "second"


async def test_a_forgotten_version_is_gone() -> None:
    api = an_api(history=2)
    start = str(api.store.resource_version)
    for name in ("a", "b", "c"):
        api.store.create(CONFIGMAPS, a_config_map(name))

    async with api.watch(CONFIG, resourceVersion=start) as watch:
        event = await watch.next()
        has_ended = await watch.ends()

    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith(f"too old resource version: {start} (")
    assert has_ended


async def test_compaction_ends_what_is_too_old_to_list_on() -> None:
    api = an_api()
    for name in ("a", "b", "c"):
        api.store.create(CONFIGMAPS, a_config_map(name))
    page = (await api.get(CONFIG, limit="2")).json

    api.store.create(CONFIGMAPS, a_config_map("d"))
    api.store.compact()
    refused = await api.get(CONFIG, limit="2", **{"continue": page["metadata"]["continue"]})

    assert refused.code == 410


async def test_an_object_that_leaves_the_selector_is_deleted_to_the_watcher() -> None:
    api = an_api()
    pod = api.store.create(PODS, a_pod(labels={"app": "web"}))

    async with api.watch(PODS_PATH, labelSelector="app=web") as watch:
        events = [await watch.next()]
        moved = api.store.update(PODS, {**pod, "metadata": {**pod["metadata"], "labels": {"app": "api"}}})
        api.store.update(PODS, {**moved, "metadata": {**moved["metadata"], "labels": {"app": "web"}}})
        events += [await watch.next() for _ in range(2)]

    assert [event["type"] for event in events] == ["ADDED", "DELETED", "ADDED"]


async def test_initial_events_end_with_a_bookmark() -> None:
    api = an_api()
    api.store.create(CONFIGMAPS, a_config_map())

    async with api.watch(
        CONFIG, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    ) as watch:
        events = [await watch.next(), await watch.next()]

    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_table_watch_sends_its_columns_once() -> None:
    api = an_api()
    api.store.create(PODS, a_pod("a"))
    api.store.create(PODS, a_pod("b"))

    async with api.watch(PODS_PATH, headers=TABLE) as watch:
        first, second = [(await watch.next())["object"] for _ in range(2)]

    assert first["columnDefinitions"][0]["name"] == "Name"
    assert second["columnDefinitions"] is None
    assert second["rows"][0]["cells"][:3] == ["b", "0/1", "Pending"]


async def test_a_watch_ends_after_its_timeout() -> None:
    api = an_api()

    async with api.watch(CONFIG, timeoutSeconds="0.05") as watch:
        assert await watch.ends()


async def test_bad_weather_cuts_watches_and_a_new_one_works() -> None:
    weather = Weather()
    api = an_api(weather=weather)
    api.store.create(CONFIGMAPS, a_config_map())

    async with api.watch(CONFIG) as watch:
        await watch.next()
        weather.cut_watches()
        was_cut = await watch.ends()
    async with api.watch(CONFIG) as watch:
        event = await watch.next()

    assert was_cut
    assert event["type"] == "ADDED"


async def test_a_watch_of_one_namespace_hears_nothing_of_others() -> None:
    api = an_api()

    api.store.create(CONFIGMAPS, a_config_map("first"))

    async with api.watch(CONFIG) as watch:
        events = [await watch.next()]
        elsewhere = {"metadata": {"name": "elsewhere", "namespace": "default"}}
        api.store.create(CONFIGMAPS, a_config_map() | elsewhere)
        api.store.create(CONFIGMAPS, a_config_map("second"))
        events.append(await watch.next())

    assert [event["object"]["metadata"]["name"] for event in events] == ["first", "second"]

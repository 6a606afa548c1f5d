"""Reading: what is there, what is not, and much of it page by page."""

import pytest
from tests.ports.conformance.cluster import Cluster
from tests.ports.conformance.manifests import Object, config_map


def names(things: list[Object]) -> list[str]:
    return [one["metadata"]["name"] for one in things]


async def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    answer = await cluster.ask("GET", cluster.path("configmaps", "nope"))

    assert answer.code == 404
    assert (answer.body["kind"], answer.body["status"], answer.body["reason"]) == ("Status", "Failure", "NotFound")
    assert answer.body["details"] == {"name": "nope", "kind": "configmaps"}
    assert answer.body["message"] == 'configmaps "nope" not found'


async def test_what_is_not_served_is_not_found(cluster: Cluster) -> None:
    kind = await cluster.ask("GET", f"/apis/apps/v1/namespaces/{cluster.namespace}/wats")
    group = await cluster.ask("GET", f"/apis/no.such.group/v1/namespaces/{cluster.namespace}/wats")

    assert (kind.code, group.code) == (404, 404)


async def test_items_of_a_list_leave_out_what_the_list_says_once(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map(color="blue"))

    listed = (await cluster.ask("GET", cluster.path("configmaps"))).body

    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    item = next(one for one in listed["items"] if one["metadata"]["name"] == "settings")
    assert (item.get("kind"), item.get("apiVersion")) == (None, None)
    assert item["data"] == {"color": "blue"}


async def test_a_list_is_at_least_as_new_as_its_items(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", config_map())

    listed = (await cluster.ask("GET", cluster.path("configmaps"))).body

    assert int(listed["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])


async def test_a_long_list_comes_page_by_page_each_thing_once(cluster: Cluster) -> None:
    for number in range(5):
        await cluster.create("configmaps", config_map(f"page-{number}"))
    everything = names(await cluster.list("configmaps"))

    found, more, pages = [], "", 0
    while True:
        page = (
            await cluster.ask("GET", cluster.path("configmaps"), limit=2, **({"continue": more} if more else {}))
        ).body
        found += names(page["items"])
        pages += 1
        if not (more := page["metadata"].get("continue", "")):
            break
        assert len(page["items"]) == 2
        assert page["metadata"]["remainingItemCount"] == len(everything) - len(found)

    assert found == everything
    assert pages == -(-len(everything) // 2)


async def test_later_pages_show_the_same_moment_as_the_first(cluster: Cluster) -> None:
    for number in range(4):
        await cluster.create("configmaps", config_map(f"page-{number}", color="blue"))
    selector = {"fieldSelector": "metadata.name!=kube-root-ca.crt"}

    first = (await cluster.ask("GET", cluster.path("configmaps"), limit=2, **selector)).body
    await cluster.delete("configmaps", "page-2")
    await cluster.patch("configmaps", "page-3", {"data": {"color": "red"}})
    await cluster.create("configmaps", config_map("page-9"))
    token = {"continue": first["metadata"]["continue"]}
    second = (await cluster.ask("GET", cluster.path("configmaps"), limit=2, **selector, **token)).body

    assert names(second["items"]) == ["page-2", "page-3"]
    assert second["items"][1]["data"] == {"color": "blue"}
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_list_of_a_moment_shows_that_moment(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", config_map(color="blue"))
    await cluster.patch("configmaps", "settings", {"data": {"color": "red"}})

    version = made["metadata"]["resourceVersion"]
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    listed = (await cluster.ask("GET", cluster.path("configmaps"), **exact)).body

    assert listed["metadata"]["resourceVersion"] == version
    assert {one["metadata"]["name"]: one.get("data") for one in listed["items"]}["settings"] == {"color": "blue"}


async def test_a_token_that_is_none_is_a_bad_request(cluster: Cluster) -> None:
    answer = await cluster.ask("GET", cluster.path("configmaps"), **{"limit": 2, "continue": "nonsense"})

    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=web", ["a", "b"]),
        ("app==web,tier=front", ["a"]),
        ("app!=web", ["c", "d"]),
        ("app in (web,api)", ["a", "b", "c"]),
        ("app notin (web,api)", ["d"]),
        ("tier", ["a"]),
        ("app,!tier", ["b", "c"]),
    ],
)
async def test_labels_select(cluster: Cluster, selector: str, found: list[str]) -> None:
    labels: dict[str, Object] = {
        "a": {"app": "web", "tier": "front"},
        "b": {"app": "web"},
        "c": {"app": "api"},
        "d": {},
    }
    for name, given in labels.items():
        made = config_map(name)
        made["metadata"]["labels"] = given
        await cluster.create("configmaps", made)

    listed = await cluster.list("configmaps", labelSelector=selector, fieldSelector="metadata.name!=kube-root-ca.crt")

    assert names(listed) == found


async def test_fields_select(cluster: Cluster) -> None:
    for name in ("a", "b"):
        await cluster.create("configmaps", config_map(name))

    one = await cluster.list("configmaps", fieldSelector="metadata.name=a")
    everywhere = await cluster.list(
        "configmaps", namespace="", fieldSelector=f"metadata.name=b,metadata.namespace={cluster.namespace}"
    )

    assert (names(one), names(everywhere)) == (["a"], ["b"])


@pytest.mark.parametrize(
    "query", [{"labelSelector": "app in web"}, {"fieldSelector": "data.color=blue"}, {"fieldSelector": "nonsense"}]
)
async def test_a_selector_that_cannot_be_is_a_bad_request(cluster: Cluster, query: dict[str, str]) -> None:
    answer = await cluster.ask("GET", cluster.path("configmaps"), **query)

    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")


async def test_what_was_deleted_and_made_again_is_something_else(cluster: Cluster) -> None:
    first = await cluster.create("configmaps", config_map())
    await cluster.delete("configmaps", "settings")

    second = await cluster.create("configmaps", config_map())

    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_the_server_says_which_release_it_is(cluster: Cluster) -> None:
    version = (await cluster.ask("GET", "/version")).body

    assert version["major"] == "1"
    assert version["gitVersion"].startswith("v1.")

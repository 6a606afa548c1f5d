"""Writes: what is refused and how that is said, what a patch does, and what is only tried."""

import json
from typing import Any

import pytest
from tests.ports.conformance.cluster import APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Answer, Cluster
from tests.ports.conformance.manifests import Object, config_map, deployment

from aegis.executor.cluster.spelling import spelled

STALE = "the object has been modified; please apply your changes to the latest version and try again"
TEST_FAILED = "the server rejected our request due to an error in our request"


def idle(name: str = "web", **given: Any) -> Object:
    """A Deployment that needs no pod."""
    return deployment(name, replicas=0, **given)


def main_container(workload: Object) -> Object:
    found: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return found


async def json_patch(cluster: Cluster, resource: str, name: str, *steps: Object, **query: Any) -> Answer:
    return await cluster.ask("PATCH", cluster.path(resource, name), list(steps), kind=JSON_PATCH, **query)


# Making


async def test_what_is_made_gets_what_only_the_server_gives(cluster: Cluster) -> None:
    answer = await cluster.ask("POST", cluster.path("deployments"), idle())

    assert answer.code == 201
    metadata = answer.body["metadata"]
    assert metadata["namespace"] == cluster.namespace
    assert metadata["generation"] == 1
    assert all(metadata[field] for field in ("uid", "resourceVersion", "creationTimestamp"))


async def test_what_is_not_said_is_filled_in(cluster: Cluster) -> None:
    spec = (await cluster.create("deployments", idle()))["spec"]

    assert (spec["progressDeadlineSeconds"], spec["revisionHistoryLimit"]) == (600, 10)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert spec["template"]["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"


async def test_a_name_is_made_from_its_beginning(cluster: Cluster) -> None:
    made = config_map()
    made["metadata"] = {"generateName": "drawn-"}

    first, second = [await cluster.create("configmaps", made) for _ in range(2)]

    assert first["metadata"]["name"].startswith("drawn-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_what_is_there_already_is_a_conflict(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map())

    again = await cluster.ask("POST", cluster.path("configmaps"), config_map())

    assert (again.code, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'configmaps "settings" already exists'


async def test_nothing_is_made_in_a_namespace_that_is_not_there(cluster: Cluster) -> None:
    answer = await cluster.ask("POST", cluster.path("configmaps", namespace="no-such-namespace"), config_map())

    assert (answer.code, answer.body["reason"]) == (404, "NotFound")
    assert answer.body["details"] == {"name": "no-such-namespace", "kind": "namespaces"}


async def test_what_is_invalid_is_refused_field_by_field(cluster: Cluster) -> None:
    wrong = idle()
    wrong["spec"]["replicas"] = -1
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "other"}

    answer = await cluster.ask("POST", cluster.path("deployments"), wrong)

    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["group"] == "apps"
    assert answer.body["details"]["kind"] == "Deployment"
    assert answer.body["message"].startswith('Deployment.apps "web" is invalid: [spec.replicas: Invalid value: -1: ')
    assert [(one["field"], one["reason"]) for one in answer.causes] == [
        ("spec.replicas", "FieldValueInvalid"),
        ("spec.template.metadata.labels", "FieldValueInvalid"),
    ]


async def test_a_field_that_nobody_knows_is_warned_of_or_refused(cluster: Cluster) -> None:
    odd = idle()
    odd["spec"]["replicaz"] = 1

    warned = await cluster.ask("POST", cluster.path("deployments"), odd, fieldValidation="Warn")
    refused = await cluster.ask(
        "POST", cluster.path("deployments"), {**odd, "metadata": {"name": "other"}}, fieldValidation="Strict"
    )

    assert (warned.code, refused.code) == (201, 400)
    assert warned.headers["Warning"] == r'299 - "unknown field \"spec.replicaz\""'
    assert 'unknown field "spec.replicaz"' in refused.body["message"]


async def test_what_cannot_be_read_is_a_bad_request(cluster: Cluster) -> None:
    answer = await cluster.ask("POST", cluster.path("configmaps"), b"{no json")

    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")


# Replacing


async def test_who_replaces_what_has_changed_meanwhile_is_told_so(cluster: Cluster) -> None:
    old = await cluster.create("configmaps", config_map(color="blue"))
    await cluster.patch("configmaps", "settings", {"data": {"color": "red"}})

    stale = await cluster.ask("PUT", cluster.path("configmaps", "settings"), {**old, "data": {"color": "green"}})

    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert stale.body["details"] == {"name": "settings", "kind": "configmaps"}
    assert stale.body["message"] == f'Operation cannot be fulfilled on configmaps "settings": {STALE}'
    assert (await cluster.get("configmaps", "settings"))["data"] == {"color": "red"}


async def test_a_patch_may_say_which_version_it_is_for(cluster: Cluster) -> None:
    old = await cluster.create("configmaps", config_map(color="blue"))
    await cluster.patch("configmaps", "settings", {"data": {"color": "red"}})

    change = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"color": "green"}}
    stale = await cluster.ask("PATCH", cluster.path("configmaps", "settings"), change, kind=MERGE_PATCH)

    assert (stale.code, stale.body["reason"]) == (409, "Conflict")


async def test_the_generation_counts_changes_of_what_is_wanted_only(cluster: Cluster) -> None:
    await cluster.create("deployments", idle())

    noted = await cluster.patch("deployments", "web", {"metadata": {"annotations": {"why": "because"}}})
    changed = await cluster.patch("deployments", "web", {"spec": {"minReadySeconds": 1}})

    assert changed["metadata"]["generation"] == noted["metadata"]["generation"] + 1


async def test_a_patch_that_changes_nothing_leaves_the_version_as_it_is(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", config_map(color="blue"))

    same = await cluster.patch("configmaps", "settings", {"data": {"color": "blue"}})

    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


# JSON Patch


async def test_a_json_patch_does_its_steps_in_order(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map(color="blue", size="small"))

    answer = await json_patch(
        cluster, "configmaps", "settings",
        {"op": "test", "path": "/data/color", "value": "blue"},
        {"op": "replace", "path": "/data/color", "value": "red"},
        {"op": "add", "path": "/metadata/annotations", "value": {"aegis.dev/order": "order-1"}},
        {"op": "test", "path": "/metadata/annotations/aegis.dev~1order", "value": "order-1"},
        {"op": "remove", "path": "/data/size"},
    )  # fmt: skip

    assert answer.code == 200
    assert answer.body["data"] == {"color": "red"}
    assert answer.body["metadata"]["annotations"] == {"aegis.dev/order": "order-1"}


@pytest.mark.parametrize(
    "steps",
    [
        [
            {"op": "test", "path": "/data/color", "value": "green"},
            {"op": "replace", "path": "/data/color", "value": "x"},
        ],
        [{"op": "test", "path": "/data/nope", "value": "green"}],
        [{"op": "remove", "path": "/data/nope"}],
        [{"op": "add", "path": "/nope/nope", "value": "x"}],
        [{"op": "replace", "path": "/data/color", "value": "x"}, {"op": "test", "path": "/metadata/uid", "value": "x"}],
    ],
    ids=["another value", "no value", "remove nothing", "add to nothing", "another uid"],
)
async def test_a_json_patch_with_a_step_that_cannot_be_done_does_nothing(cluster: Cluster, steps: list[Object]) -> None:
    await cluster.create("configmaps", config_map(color="blue"))

    answer = await json_patch(cluster, "configmaps", "settings", *steps)

    assert (answer.code, answer.body["reason"], answer.body["message"]) == (422, "Invalid", TEST_FAILED)
    assert (await cluster.get("configmaps", "settings"))["data"] == {"color": "blue"}


async def test_a_json_patch_may_replace_what_is_not_there(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map(color="blue"))

    step = {"op": "replace", "path": "/data/size", "value": "small"}
    answer = await json_patch(cluster, "configmaps", "settings", step)

    assert (answer.code, answer.body["data"]) == (200, {"color": "blue", "size": "small"})


async def test_what_a_json_patch_tests_is_compared_as_it_is_spelled(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map(command="a < b && c > d"))

    plain = json.dumps([{"op": "test", "path": "/data/command", "value": "a < b && c > d"}])
    as_go = plain.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
    path = cluster.path("configmaps", "settings")
    codes = [(await cluster.ask("PATCH", path, text.encode(), kind=JSON_PATCH)).code for text in (plain, as_go)]

    assert codes == [422, 200]


async def test_what_a_json_patch_tests_may_be_of_any_shape(cluster: Cluster) -> None:
    made = await cluster.create("deployments", idle(EXIT_CODE="1"))
    reversed_template = dict(reversed(made["spec"]["template"].items()))
    steps = [
        {"op": "test", "path": "/spec/template", "value": reversed_template},
        {"op": "test", "path": "/spec/replicas", "value": 0},
        {"op": "test", "path": "/spec/template/spec/containers/0/env", "value": [{"name": "EXIT_CODE", "value": "1"}]},
        {"op": "test", "path": "/spec/paused", "value": None},
    ]

    answer = await cluster.ask("PATCH", cluster.path("deployments", "web"), spelled(steps), kind=JSON_PATCH)

    assert answer.code == 200


async def test_a_json_patch_that_makes_something_invalid_is_refused_field_by_field(cluster: Cluster) -> None:
    await cluster.create("deployments", idle())

    answer = await json_patch(cluster, "deployments", "web", {"op": "replace", "path": "/spec/replicas", "value": -1})

    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert [one["field"] for one in answer.causes] == ["spec.replicas"]


async def test_a_patch_of_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    answer = await json_patch(cluster, "deployments", "nope", {"op": "remove", "path": "/spec/replicas"})

    assert (answer.code, answer.body["reason"]) == (404, "NotFound")


async def test_what_is_no_patch_is_refused(cluster: Cluster) -> None:
    await cluster.create("configmaps", config_map())
    path = cluster.path("configmaps", "settings")

    unreadable = await cluster.ask("PATCH", path, b"{no json", kind=JSON_PATCH)
    unknown = await cluster.http.patch(path, content=b"{}", headers={"Content-Type": "application/json"})

    assert (unreadable.code, unreadable.body["reason"]) == (400, "BadRequest")
    assert (unknown.status_code, unknown.json()["reason"]) == (415, "UnsupportedMediaType")


# The other patches


async def test_a_merge_patch_takes_null_for_removal_and_lists_whole(cluster: Cluster) -> None:
    await cluster.create("deployments", idle())

    change = {
        "spec": {
            "progressDeadlineSeconds": 30,
            "template": {"spec": {"containers": [{"name": "other", "image": "other:1"}], "nodeSelector": {"a": "b"}}},
        }
    }
    await cluster.patch("deployments", "web", change)
    changed = await cluster.patch("deployments", "web", {"spec": {"template": {"spec": {"nodeSelector": None}}}})

    assert changed["spec"]["progressDeadlineSeconds"] == 30
    assert [one["name"] for one in changed["spec"]["template"]["spec"]["containers"]] == ["other"]
    assert "nodeSelector" not in changed["spec"]["template"]["spec"]


async def test_a_strategic_patch_merges_lists_by_their_key(cluster: Cluster) -> None:
    await cluster.create("deployments", idle(EXIT_CODE="1"))

    container = {"name": "main", "image": "other:1", "env": [{"name": "MORE", "value": "2"}]}
    change = {"spec": {"template": {"spec": {"containers": [container]}}}}
    changed = await cluster.patch("deployments", "web", change, kind=STRATEGIC_PATCH)

    main = main_container(changed)
    assert main["image"] == "other:1"
    assert main["command"][0] == "sh"
    assert {one["name"]: one["value"] for one in main["env"]} == {"EXIT_CODE": "1", "MORE": "2"}


# Trying


async def test_trying_to_make_writes_nothing_and_says_what_would_be(cluster: Cluster) -> None:
    tried = await cluster.ask("POST", cluster.path("deployments"), idle(), dryRun="All")

    assert tried.code == 201
    assert tried.body["spec"]["progressDeadlineSeconds"] == 600
    assert tried.body["metadata"]["uid"]
    assert await cluster.find("deployments", "web") is None


async def test_trying_a_patch_writes_nothing_and_says_what_would_be(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", config_map(color="blue"))

    change = {"op": "replace", "path": "/data/color", "value": "red"}
    tried = await json_patch(cluster, "configmaps", "settings", change, dryRun="All", fieldManager="aegis-executor")

    assert (tried.code, tried.body["data"]) == (200, {"color": "red"})
    assert await cluster.get("configmaps", "settings") == made


async def test_trying_to_delete_deletes_nothing(cluster: Cluster) -> None:
    made = await cluster.create("configmaps", config_map())

    tried = await cluster.ask("DELETE", cluster.path("configmaps", "settings"), dryRun="All")

    assert tried.code == 200
    assert await cluster.get("configmaps", "settings") == made


async def test_what_would_be_refused_is_refused_when_tried(cluster: Cluster) -> None:
    await cluster.create("deployments", idle())

    invalid = await json_patch(
        cluster, "deployments", "web", {"op": "replace", "path": "/spec/replicas", "value": -1}, dryRun="All"
    )
    untrue = await json_patch(
        cluster, "deployments", "web", {"op": "test", "path": "/spec/replicas", "value": 9}, dryRun="All"
    )
    missing = await json_patch(cluster, "deployments", "nope", {"op": "remove", "path": "/spec"}, dryRun="All")

    assert (invalid.code, [one["field"] for one in invalid.causes]) == (422, ["spec.replicas"])
    assert (untrue.code, untrue.body["message"]) == (422, TEST_FAILED)
    assert missing.code == 404


async def test_a_way_to_try_that_nobody_knows_is_refused(cluster: Cluster) -> None:
    answer = await cluster.ask("POST", cluster.path("configmaps"), config_map(), dryRun="Some")

    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert await cluster.find("configmaps", "settings") is None


# Deleting


async def test_only_that_very_thing_is_deleted_where_its_uid_is_said(cluster: Cluster) -> None:
    first = await cluster.create("configmaps", config_map())
    await cluster.delete("configmaps", "settings")
    second = await cluster.create("configmaps", config_map())
    path = cluster.path("configmaps", "settings")

    wrong = await cluster.ask("DELETE", path, {"preconditions": {"uid": first["metadata"]["uid"]}})
    right = await cluster.ask("DELETE", path, {"preconditions": {"uid": second["metadata"]["uid"]}})

    assert (wrong.code, wrong.body["reason"]) == (409, "Conflict")
    assert wrong.body["message"] == (
        'Operation cannot be fulfilled on ConfigMap "settings": the UID in the precondition '
        f"({first['metadata']['uid']}) does not match the UID in record ({second['metadata']['uid']}). "
        "The object might have been deleted and then recreated"
    )
    assert right.code == 200
    assert await cluster.find("configmaps", "settings") is None


async def test_what_is_owned_goes_with_its_owner(cluster: Cluster) -> None:
    await cluster.create("deployments", idle())

    async def replicasets() -> list[Object]:
        return await cluster.list("replicasets")

    owned = (await cluster.until(replicasets))[0]
    await cluster.delete("deployments", "web")
    await cluster.gone("replicasets", owned["metadata"]["name"])

    assert await cluster.list("replicasets") == []


async def test_what_has_a_finalizer_stays_until_it_is_taken_off(cluster: Cluster) -> None:
    made = config_map()
    made["metadata"]["finalizers"] = ["aegis.dev/test"]
    await cluster.create("configmaps", made)

    await cluster.delete("configmaps", "settings")
    ending = await cluster.get("configmaps", "settings")
    await cluster.patch("configmaps", "settings", {"metadata": {"finalizers": None}})

    assert ending["metadata"]["deletionTimestamp"]
    assert await cluster.find("configmaps", "settings") is None


async def test_an_apply_without_a_manager_is_refused(cluster: Cluster) -> None:
    answer = await cluster.ask("PATCH", cluster.path("configmaps", "settings"), config_map(), kind=APPLY)

    assert (answer.code, answer.body["reason"]) == (422, "Invalid")

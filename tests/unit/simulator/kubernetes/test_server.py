"""The HTTP layer: lists, writes, refusals, subresources, discovery, the request log."""

import asyncio
from datetime import timedelta

import orjson
import pytest
from tests.unit.simulator.kubernetes.builders import (
    CONFIG,
    DEPLOYMENT,
    JSON_PATCH,
    MERGE_PATCH,
    PODS_PATH,
    STRATEGIC_PATCH,
    a_config_map,
    a_container,
    a_deployment,
    a_pod,
    an_api,
)

from aegis.kit.clock import VirtualClock
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import CONFIGMAPS, DEPLOYMENTS, HPAS, PODS
from aegis.simulator.kubernetes.weather import Weather

WEB = f"{DEPLOYMENT}/web"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


async def test_a_list_comes_in_pages() -> None:
    api = an_api()
    for name in ("c", "a", "b"):
        api.store.create(CONFIGMAPS, a_config_map(name))

    first = (await api.get(CONFIG, limit="2")).json
    second = (await api.get(CONFIG, limit="2", **{"continue": first["metadata"]["continue"]})).json

    names = [[item["metadata"]["name"] for item in page["items"]] for page in (first, second)]
    assert names == [["a", "b"], ["c"]]
    assert first["metadata"]["remainingItemCount"] == 1
    assert "continue" not in second["metadata"]


async def test_a_list_names_its_kind_and_version() -> None:
    listed = (await an_api().get(DEPLOYMENT)).json

    assert (listed["kind"], listed["apiVersion"], listed["items"]) == ("DeploymentList", "apps/v1", [])


async def test_a_table_has_the_columns_kubectl_prints() -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment())

    table = (await api.get(DEPLOYMENT, headers=TABLE)).json

    titles = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert titles == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    assert table["rows"][0]["cells"] == ["web", "0/2", 0, 0, "0s", "web", "web:1", "app=web"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"spec": {"replicas": 7}}, MERGE_PATCH),
        ({"spec": {"replicas": 7}}, STRATEGIC_PATCH),
        ([{"op": "replace", "path": "/spec/replicas", "value": 7}], JSON_PATCH),
    ],
)
async def test_every_kind_of_patch_is_taken(content: object, kind: str) -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment())

    reply = await api.patch(WEB, content, kind)

    assert (reply.code, reply.json["spec"]["replicas"], reply.json["metadata"]["generation"]) == (200, 7, 2)


async def test_an_unknown_kind_of_patch_is_not() -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment())

    assert (await api.patch(WEB, {}, "application/poetry")).code == 415


async def test_a_patch_with_an_old_version_conflicts() -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment())

    refused = await api.patch(WEB, {"metadata": {"resourceVersion": "1"}})

    assert refused.code == 409
    assert refused.message.startswith('Operation cannot be fulfilled on deployments.apps "web": the object has been')


async def test_a_dry_run_answers_and_stores_nothing() -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment(replicas=2))

    patched = await api.patch(WEB, {"spec": {"replicas": 9}}, dryRun="All")
    deleted = await api.delete(WEB, {"dryRun": ["All"]})
    invalid = await api.patch(WEB, {"spec": {"replicas": -1}}, dryRun="All")

    assert (patched.code, patched.json["spec"]["replicas"]) == (200, 9)
    assert (deleted.code, invalid.code) == (200, 422)
    assert api.store.get(DEPLOYMENTS, "shop", "web")["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"spec": {"replicas": -1}},
            'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            {"spec": {"selector": {"matchLabels": {"app": "other"}}}},
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        (
            {
                "spec": {
                    "selector": {
                        "matchLabels": {"app": None},
                        "matchExpressions": [{"key": "app", "operator": "Exists"}],
                    }
                }
            },
            "field is immutable",
        ),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "spec.template.spec.containers: Required value"),
        (
            {"spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}},
            "spec.template.spec.containers[0].image: Required value",
        ),
    ],
)
async def test_a_meaningless_deployment_is_invalid(change: object, message: str) -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment())

    refused = await api.patch(WEB, change)

    assert (refused.code, refused.json["reason"]) == (422, "Invalid")
    assert message in refused.message
    assert refused.json["details"]["causes"]


async def test_a_request_above_its_limit_is_invalid() -> None:
    api = an_api()
    resources = {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}

    refused = await api.create(DEPLOYMENT, a_deployment(containers=[a_container(resources=resources)]))

    assert refused.code == 422
    assert "must be less than or equal to memory limit of 1Gi" in refused.message


async def test_a_name_must_be_a_dns_name() -> None:
    refused = await an_api().create(CONFIG, a_config_map("Not_A_Name"))

    assert refused.code == 422
    assert "a lowercase RFC 1123 subdomain must consist of" in refused.message


async def test_a_pod_changes_little_once_it_is() -> None:
    api = an_api()
    api.store.create(PODS, a_pod())

    image = await api.patch(
        f"{PODS_PATH}/web-1", {"spec": {"containers": [a_container(image="web:2")]}}, STRATEGIC_PATCH
    )
    policy = await api.patch(f"{PODS_PATH}/web-1", {"spec": {"restartPolicy": "Never"}})

    assert (image.code, policy.code) == (200, 422)
    assert "pod updates may not change fields other than" in policy.message


async def test_unknown_fields_are_refused_warned_of_or_dropped() -> None:
    api = an_api()
    wrong = a_deployment()
    wrong["spec"]["replicaz"] = 1

    strict = await api.create(DEPLOYMENT, wrong, fieldValidation="Strict")
    ignored = await api.create(DEPLOYMENT, wrong, fieldValidation="Ignore", dryRun="All")
    warned = await api.create(DEPLOYMENT, wrong, fieldValidation="Warn")
    patched = await api.patch(WEB, {"spec": {"replicaz": 1}}, fieldValidation="Strict")

    assert strict.code == 400
    assert strict.message.endswith('strict decoding error: unknown field "spec.replicaz"')
    assert (ignored.code, ignored.warnings) == (201, [])
    assert warned.warnings == ['299 - "unknown field \\"spec.replicaz\\""']
    assert "replicaz" not in warned.json["spec"]
    assert patched.code == 422


async def test_a_value_of_the_wrong_type_is_a_bad_request() -> None:
    wrong = a_deployment()
    wrong["spec"]["replicas"] = "two"

    refused = await an_api().create(DEPLOYMENT, wrong)

    assert refused.code == 400
    assert "cannot unmarshal string into Go struct field Deployment.spec.replicas" in refused.message


async def test_a_namespace_must_exist() -> None:
    refused = await an_api().create("/api/v1/namespaces/nowhere/configmaps", {"metadata": {"name": "a"}})

    assert (refused.code, refused.message) == (404, 'namespaces "nowhere" not found')


async def test_a_status_is_reported_not_wished_for() -> None:
    api = an_api()

    created = await api.create(PODS_PATH, a_pod(ready=True))
    reported = await api.patch(f"{PODS_PATH}/web-1/status", {"status": {"phase": "Running"}, "spec": {"x": 1}})

    assert created.json["status"]["phase"] == "Pending"
    assert reported.json["status"]["phase"] == "Running"


async def test_scale_is_read_and_written_in_its_own_form() -> None:
    api = an_api()
    api.store.create(DEPLOYMENTS, a_deployment(replicas=2))

    read = (await api.get(f"{WEB}/scale")).json
    replaced = await api.replace(f"{WEB}/scale", {**read, "spec": {"replicas": 5}})
    negative = await api.patch(f"{WEB}/scale", {"spec": {"replicas": -1}})
    stale = await api.replace(f"{WEB}/scale", {**read, "spec": {"replicas": 6}})

    assert (read["kind"], read["spec"]["replicas"], read["status"]["selector"]) == ("Scale", 2, "app=web")
    assert replaced.json["spec"]["replicas"] == 5
    assert (negative.code, stale.code) == (422, 409)
    assert api.store.get(DEPLOYMENTS, "shop", "web")["spec"]["replicas"] == 5


class Diary:
    def logs(self, namespace: str, pod: str, container: str, previous: bool) -> str:  # noqa: FBT001
        return f"{'earlier' if previous else 'now'} in {container}\nlast line\n"


async def test_logs_are_text_from_the_runtime() -> None:
    api = an_api(runtime=Diary())
    terminated = {"lastState": {"terminated": {"exitCode": 1}}, "name": "web", "state": {"running": {}}}
    api.store.create(PODS, {**a_pod(), "status": {"containerStatuses": [terminated]}})
    path = f"{PODS_PATH}/web-1/log"

    now, previous = await api.get(path), await api.get(path, previous="true", tailLines="1")

    assert now.body == b"now in web\nlast line\n"
    assert previous.body == b"last line\n"
    assert now.headers["content-type"].startswith("text/plain")


async def test_logs_of_what_never_ran_are_refused_as_a_kubelet_does() -> None:
    api = an_api(runtime=Diary())
    waiting = {"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff"}}, "restartCount": 0}
    api.store.create(PODS, {**a_pod(), "status": {"containerStatuses": [waiting]}})
    path = f"{PODS_PATH}/web-1/log"

    now, previous, other = [await api.get(path, **query) for query in ({}, {"previous": "true"}, {"container": "x"})]

    assert now.message == 'container "web" in pod "web-1" is waiting to start: ImagePullBackOff'
    assert previous.message == 'previous terminated container "web" in pod "web-1" not found'
    assert other.message == "container x is not valid for pod web-1"
    assert {reply.code for reply in (now, previous, other)} == {400}


async def test_exec_says_that_it_is_not_offered() -> None:
    api = an_api()
    api.store.create(PODS, a_pod())

    refused = await api.create(f"{PODS_PATH}/web-1/exec", {})

    assert refused.code == 403
    assert "exec is not offered by this simulated cluster" in refused.message


async def test_a_pod_is_bound_to_a_node_once() -> None:
    api = an_api()
    await api.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    api.store.create(PODS, a_pod())
    binding = {"target": {"kind": "Node", "name": "n1"}}

    first = await api.create(f"{PODS_PATH}/web-1/binding", binding)
    second = await api.create(f"{PODS_PATH}/web-1/binding", binding)

    assert (first.code, second.code) == (201, 409)
    assert api.store.get(PODS, "shop", "web-1")["spec"]["nodeName"] == "n1"


async def test_hpas_are_known_under_both_versions() -> None:
    api = an_api()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    path = "/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers"

    created = await api.create(path, {"metadata": {"name": "web"}, "spec": spec})

    stored = api.store.get(HPAS, "shop", "web")
    assert created.json["apiVersion"] == "autoscaling/v1"
    assert created.json["spec"]["targetCPUUtilizationPercentage"] == 50
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50


async def test_events_are_known_under_both_groups() -> None:
    api = an_api()
    pod = api.store.create(PODS, a_pod())
    api.store.record_event(involved=pod, type="Normal", reason="Started", message="it runs", component="kubelet")

    old = await api.get("/api/v1/namespaces/shop/events", fieldSelector="involvedObject.name=web-1")
    new = await api.get("/apis/events.k8s.io/v1/namespaces/shop/events")

    assert [event["message"] for event in old.json["items"]] == ["it runs"]
    assert [(event["note"], event["regarding"]["name"]) for event in new.json["items"]] == [("it runs", "web-1")]


class Meter:
    def node(self, name: str) -> dict[str, str] | None:
        return {"cpu": "250m", "memory": "1Gi"}

    def pod(self, namespace: str, name: str) -> dict[str, dict[str, str]] | None:
        return {"web": {"cpu": "25m", "memory": "64Mi"}} if name == "web-1" else None


async def test_metrics_come_from_whoever_measures() -> None:
    api = an_api(usage=Meter())
    for name in ("web-1", "new"):
        api.store.create(PODS, a_pod(name))
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"

    listed, unmeasured = await api.get(path), await api.get(f"{path}/new")

    assert [item["containers"][0]["usage"]["cpu"] for item in listed.json["items"]] == ["25m"]
    assert unmeasured.code == 404


async def test_without_a_meter_metrics_are_unavailable() -> None:
    assert (await an_api().get("/apis/metrics.k8s.io/v1beta1/nodes")).code == 503


async def test_discovery_is_not_sent_twice() -> None:
    api = an_api()
    accept = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}

    first = await api.get("/apis", headers=accept)
    second = await api.get("/apis", headers={**accept, "if-none-match": first.headers["etag"]})

    assert first.json["kind"] == "APIGroupDiscoveryList"
    assert "metrics.k8s.io" in [group["metadata"]["name"] for group in first.json["items"]]
    assert (second.code, second.body) == (304, b"")


async def test_older_clients_discover_group_by_group() -> None:
    api = an_api()

    groups, apps = await api.get("/apis"), await api.get("/apis/apps/v1")

    assert groups.json["kind"] == "APIGroupList"
    assert {"deployments", "deployments/scale"} <= {each["name"] for each in apps.json["resources"]}


async def test_an_unknown_resource_is_not_found_in_plain_text() -> None:
    reply = await an_api().get("/apis/example.com/v1/namespaces/shop/foos")

    assert (reply.code, reply.body) == (404, b"404 page not found\n")


async def test_each_request_is_written_down_once() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")
    await api.patch(WEB, {"spec": {"replicas": 3}}, dryRun="All")
    await api.patch(WEB, {"spec": {"replicas": -3}})
    await api.patch(f"{WEB}/scale", {"spec": {"replicas": 3}})

    lines = [(each.verb, each.subresource, each.patch_type, each.dry_run, each.code) for each in api.app.requests]
    writes = [(each.verb, each.resource, each.name) for each in api.app.requests.writes(user="admin")]

    assert lines == [
        ("create", "", "", False, 201),
        ("patch", "", "merge", True, 200),
        ("patch", "", "merge", False, 422),
        ("patch", "scale", "merge", False, 200),
    ]
    assert writes == [("create", "deployments", ""), ("patch", "deployments", "web")]


async def test_bad_weather_fails_requests_and_says_when_to_come_back() -> None:
    weather = Weather(error_rate=1.0, error_code=429, retry_after_s=3)
    api = an_api(weather=weather)

    failed = await api.get(PODS_PATH)
    weather.error_rate = 0.0

    assert (failed.code, failed.headers["retry-after"]) == (429, "3")
    assert (await api.get(PODS_PATH)).code == 200


async def test_bad_weather_takes_time_on_the_clusters_clock() -> None:
    api = an_api(weather=Weather(latency=timedelta(seconds=10)))
    clock = api.store.clock
    assert isinstance(clock, VirtualClock)

    asking = asyncio.create_task(api.get(PODS_PATH))
    await asyncio.sleep(0)
    await clock.advance(timedelta(seconds=9))
    was_waiting = not asking.done()
    await clock.advance(timedelta(seconds=2))

    assert was_waiting
    assert (await asking).code == 200


async def test_a_bug_is_an_internal_error_not_a_dead_server(caplog: pytest.LogCaptureFixture) -> None:
    api = an_api()

    def break_down(*_: object) -> None:
        raise RuntimeError("boom")

    api.store.admission.append(break_down)

    reply = await api.create(CONFIG, a_config_map())

    assert reply.code == 500
    assert "boom" in caplog.text


async def test_a_body_that_cannot_be_read_is_a_bad_request() -> None:
    reply = await an_api().call("POST", CONFIG, b"{nonsense", {"content-type": "application/json"})

    assert reply.code == 400


async def test_times_in_yaml_stay_text() -> None:
    api = an_api()
    body = b"metadata: {name: a, annotations: {at: '2026-01-05'}}\ndata: {when: 2026-01-05T00:00:00Z}\n"

    reply = await api.call("POST", CONFIG, body, {"content-type": "application/yaml"})

    assert reply.json["data"] == {"when": "2026-01-05T00:00:00Z"}


async def test_a_collection_is_deleted_by_selector() -> None:
    api = an_api()
    for name, app in (("a", "web"), ("b", "web"), ("c", "api")):
        api.store.create(PODS, a_pod(name, labels={"app": app}))

    reply = await api.delete(PODS_PATH, labelSelector="app=web")

    assert reply.code == 200
    assert [pod["metadata"]["name"] for pod in api.store.list(PODS)] == ["c"]


def test_a_refusal_is_a_status_object() -> None:
    status = ApiError(404, "NotFound", "no", details={"name": "a"}).status()

    assert orjson.dumps(status)
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", 404)

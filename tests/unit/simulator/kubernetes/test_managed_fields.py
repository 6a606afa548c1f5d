"""Who owns which field, after updates, patches and server-side apply."""

from typing import Any

from tests.unit.simulator.kubernetes.builders import (
    APPLY_PATCH,
    CONFIG,
    DEPLOYMENT,
    JSON_PATCH,
    STRATEGIC_PATCH,
    Api,
    a_config_map,
    a_deployment,
    an_api,
)

from aegis.simulator.kubernetes.managed_fields import from_fields_v1, path_text, to_fields_v1

Object = dict[str, Any]

WEB = f"{DEPLOYMENT}/web"
SETTINGS = f"{CONFIG}/settings"
IMAGE = '.spec.template.spec.containers[name="web"].image'


async def owners(api: Api, path: str = WEB) -> dict[tuple[str, str], set[str]]:
    """Return the fields each manager owns, by manager and operation."""
    entries = (await api.get(path)).json["metadata"].get("managedFields", [])
    return {
        (entry["manager"], entry["operation"]): {path_text(each) for each in from_fields_v1(entry["fieldsV1"])}
        for entry in entries
    }


async def owner_of(api: Api, field: str, path: str = WEB) -> set[str]:
    return {manager for (manager, _), fields in (await owners(api, path)).items() if field in fields}


def applied(image: str, replicas: int | None = None) -> Object:
    wanted = a_deployment(containers=[{"name": "web", "image": image}])
    del wanted["spec"]["replicas"]
    if replicas is not None:
        wanted["spec"]["replicas"] = replicas
    return wanted


def image_patch(image: str) -> list[Object]:
    return [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]


def test_paths_survive_being_written() -> None:
    paths = frozenset([("f:spec", "f:replicas"), ("f:list", 'k:{"name":"web"}', "."), ("f:list",)])

    assert from_fields_v1(to_fields_v1(paths - {("f:list",)})) == paths - {("f:list",)}


async def test_whoever_creates_an_object_owns_what_it_says() -> None:
    api = an_api()

    await api.create(DEPLOYMENT, a_deployment(), fieldManager="kubectl-create")

    fields = (await owners(api))["kubectl-create", "Update"]
    assert {IMAGE, ".spec.replicas", '.spec.template.spec.containers[name="web"]'} <= fields
    assert not any(field.startswith((".metadata.name", ".status", ".kind")) for field in fields)


async def test_the_manager_is_the_user_agent_when_nobody_names_one() -> None:
    api = an_api()

    await api.create(CONFIG, a_config_map())

    assert await owner_of(api, ".data.color", SETTINGS) == {"tests"}


async def test_a_patch_takes_the_field_from_its_owner() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")

    await api.patch(WEB, image_patch("web:2"), JSON_PATCH, fieldManager="aegis")

    assert await owner_of(api, IMAGE) == {"aegis"}
    assert await owner_of(api, ".spec.replicas") == {"flux"}


async def test_putting_the_old_value_back_leaves_the_last_writer_as_owner() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")

    await api.patch(WEB, image_patch("web:2"), JSON_PATCH, fieldManager="aegis")
    await api.patch(WEB, image_patch("web:1"), JSON_PATCH, fieldManager="aegis")

    assert await owner_of(api, IMAGE) == {"aegis"}


async def test_a_removed_field_belongs_to_nobody() -> None:
    api = an_api()
    await api.create(CONFIG, a_config_map(data={"a": "1", "b": "2"}), fieldManager="flux")

    await api.patch(SETTINGS, {"data": {"a": None}}, fieldManager="aegis")

    assert await owner_of(api, ".data.a", SETTINGS) == set()
    assert ("aegis", "Update") not in await owners(api, SETTINGS)


async def test_a_container_added_by_a_strategic_patch_is_its_adders() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}

    await api.patch(WEB, sidecar, STRATEGIC_PATCH, fieldManager="istio")

    assert await owner_of(api, '.spec.template.spec.containers[name="side"]') == {"istio"}
    assert await owner_of(api, IMAGE) == {"flux"}


async def test_scaling_owns_the_replicas_through_its_subresource() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")

    await api.patch(f"{WEB}/scale", {"spec": {"replicas": 4}}, fieldManager="aegis")

    entries = (await api.get(WEB)).json["metadata"]["managedFields"]
    scaling = next(entry for entry in entries if entry["manager"] == "aegis")
    assert scaling["subresource"] == "scale"
    assert scaling["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert await owner_of(api, ".spec.replicas") == {"aegis"}


async def test_one_empty_entry_forgets_all_owners() -> None:
    api = an_api()
    await api.create(CONFIG, a_config_map(), fieldManager="flux")

    await api.patch(SETTINGS, {"metadata": {"managedFields": [{}]}}, fieldManager="aegis")

    assert await owners(api, SETTINGS) == {}


async def test_applying_owns_only_what_was_applied() -> None:
    api = an_api()

    reply = await api.apply(WEB, applied("web:1"), manager="argocd")

    fields = (await owners(api))["argocd", "Apply"]
    assert reply.code == 201
    assert IMAGE in fields
    assert ".spec.replicas" not in fields
    assert reply.json["spec"]["replicas"] == 1


async def test_applying_over_another_manager_conflicts_and_says_with_whom() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")

    refused = await api.apply(WEB, applied("web:2"), manager="argocd")

    who = 'conflict with "flux" using apps/v1'
    assert refused.code == 409
    assert refused.message == f"Apply failed with 1 conflict: {who}: {IMAGE}"
    assert refused.json["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": who, "field": IMAGE}]


async def test_force_takes_the_fields() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")

    reply = await api.apply(WEB, applied("web:2"), manager="argocd", force="true")

    assert reply.code == 200
    assert await owner_of(api, IMAGE) == {"argocd"}


async def test_agreeing_is_sharing() -> None:
    api = an_api()
    await api.create(DEPLOYMENT, a_deployment(), fieldManager="flux")

    await api.apply(WEB, applied("web:1"), manager="argocd")

    assert await owner_of(api, IMAGE) == {"argocd", "flux"}


async def test_what_is_no_longer_applied_goes_unless_somebody_else_owns_it() -> None:
    api = an_api()
    await api.apply(SETTINGS, a_config_map(data={"a": "1", "b": "2", "c": "3"}), manager="argocd")
    await api.apply(SETTINGS, a_config_map(data={"b": "2"}), manager="flux")

    reply = await api.apply(SETTINGS, a_config_map(data={"a": "1"}), manager="argocd")

    assert reply.json["data"] == {"a": "1", "b": "2"}


async def test_a_container_no_longer_applied_is_removed_whole() -> None:
    api = an_api()
    two = a_deployment(containers=[{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}])
    await api.apply(WEB, two, manager="argocd")

    reply = await api.apply(WEB, applied("web:1"), manager="argocd")

    names = [each["name"] for each in reply.json["spec"]["template"]["spec"]["containers"]]
    assert names == ["web"]


async def test_applying_the_same_again_changes_nothing() -> None:
    api = an_api()
    first = await api.apply(WEB, applied("web:1"), manager="argocd")

    second = await api.apply(WEB, applied("web:1"), manager="argocd")

    assert second.json["metadata"]["resourceVersion"] == first.json["metadata"]["resourceVersion"]


async def test_somebody_must_apply() -> None:
    api = an_api()

    refused = await api.patch(WEB, applied("web:1"), APPLY_PATCH)

    assert refused.code == 422
    assert "is required for apply patch" in refused.message

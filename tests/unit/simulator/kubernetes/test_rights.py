"""Tokens and RBAC: who is let in, and what they may do."""

from typing import Any

from tests.unit.simulator.kubernetes.builders import (
    CONFIG,
    DEPLOYMENT,
    PODS_PATH,
    Api,
    a_config_map,
    a_deployment,
    a_pod,
    an_api,
)

from aegis.simulator.kubernetes.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    DEPLOYMENTS,
    PODS,
    ROLEBINDINGS,
    ROLES,
)
from aegis.simulator.kubernetes.users import ADMIN, User, Users, service_account

Object = dict[str, Any]


def users() -> Users:
    return Users({"root": ADMIN, "robot": service_account("aegis", "executor"), "ann": User("ann", ("dev",))})


def an_api_of(token: str, *rules: Object, cluster_wide: bool = False, subject: Object | None = None) -> Api:
    """Return a client as the user of `token`, who is bound to these rules in the namespace `shop`."""
    api = an_api(users=users(), token=token)
    subject = subject or {"kind": "ServiceAccount", "namespace": "aegis", "name": "executor"}
    role, binding = (CLUSTERROLES, CLUSTERROLEBINDINGS) if cluster_wide else (ROLES, ROLEBINDINGS)
    metadata = {"name": "test", "namespace": "shop"}
    api.store.create(role, {"metadata": metadata, "rules": list(rules)})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role.kind, "name": "test"}
    api.store.create(binding, {"metadata": metadata, "subjects": [subject], "roleRef": reference})
    api.store.create(DEPLOYMENTS, a_deployment())
    api.store.create(PODS, a_pod())
    return api


def rule(verbs: list[str], resources: list[str], group: str = "", **more: Any) -> Object:
    return {"verbs": verbs, "apiGroups": [group], "resources": resources, **more}


async def test_without_tokens_everybody_is_admin() -> None:
    api = an_api()

    reply = await api.create(CONFIG, a_config_map())

    assert reply.code == 201


async def test_an_unknown_token_is_nobody() -> None:
    api = an_api(users=users(), token="wrong")

    refused = await api.get(PODS_PATH)

    assert (refused.code, refused.json["reason"]) == (401, "Unauthorized")


async def test_without_a_token_one_is_anonymous_and_may_see_the_version_only() -> None:
    api = an_api(users=users())

    assert (await api.get("/version")).json["gitVersion"] == "v1.37.2"
    assert (await api.get(PODS_PATH)).code == 403


async def test_a_refusal_says_who_may_not_do_what_where() -> None:
    api = an_api_of("robot")

    listing = await api.get(PODS_PATH)
    patching = await api.patch(f"{DEPLOYMENT}/web", {})
    nodes = await api.get("/api/v1/nodes")

    who = 'User "system:serviceaccount:aegis:executor" cannot'
    assert listing.message == (f'pods is forbidden: {who} list resource "pods" in API group "" in the namespace "shop"')
    assert patching.message == (
        f'deployments.apps "web" is forbidden: {who} patch resource "deployments" in API group "apps" '
        'in the namespace "shop"'
    )
    assert nodes.message == (f'nodes is forbidden: {who} list resource "nodes" in API group "" at the cluster scope')
    assert {reply.code for reply in (listing, patching, nodes)} == {403}


async def test_a_role_allows_in_its_namespace_only() -> None:
    api = an_api_of("robot", rule(["list"], ["pods"]))

    assert (await api.get(PODS_PATH)).code == 200
    assert (await api.get("/api/v1/namespaces/default/pods")).code == 403
    assert (await api.get("/api/v1/pods")).code == 403


async def test_a_cluster_role_bound_cluster_wide_allows_everywhere() -> None:
    api = an_api_of("robot", rule(["list"], ["pods"]), cluster_wide=True)

    assert (await api.get("/api/v1/pods")).code == 200


async def test_verbs_are_told_apart() -> None:
    api = an_api_of("robot", rule(["get"], ["pods"]))

    assert (await api.get(f"{PODS_PATH}/web-1")).code == 200
    assert (await api.get(PODS_PATH)).code == 403
    assert (await api.delete(f"{PODS_PATH}/web-1")).code == 403


async def test_a_subresource_is_a_right_of_its_own() -> None:
    api = an_api_of("robot", rule(["patch"], ["deployments/scale"], "apps"))

    scaled = await api.patch(f"{DEPLOYMENT}/web/scale", {"spec": {"replicas": 3}})
    patched = await api.patch(f"{DEPLOYMENT}/web", {"spec": {"replicas": 3}})

    assert (scaled.code, patched.code) == (200, 403)


async def test_a_right_may_be_limited_to_names() -> None:
    api = an_api_of("robot", rule(["get", "list"], ["pods"], resourceNames=["web-1"]))

    assert (await api.get(f"{PODS_PATH}/web-1")).code == 200
    assert (await api.get(f"{PODS_PATH}/web-2")).code == 403
    assert (await api.get(PODS_PATH)).code == 403
    assert (await api.get(PODS_PATH, fieldSelector="metadata.name=web-1")).code == 200


async def test_stars_mean_everything() -> None:
    api = an_api_of("robot", rule(["*"], ["*"], "*"))

    assert (await api.create(CONFIG, a_config_map())).code == 201
    assert (await api.patch(f"{DEPLOYMENT}/web/scale", {"spec": {"replicas": 1}})).code == 200


async def test_groups_and_users_are_subjects_too() -> None:
    by_group = an_api_of("ann", rule(["list"], ["pods"]), subject={"kind": "Group", "name": "dev"})
    by_name = an_api_of("ann", rule(["list"], ["pods"]), subject={"kind": "User", "name": "ann"})

    assert (await by_group.get(PODS_PATH)).code == 200
    assert (await by_name.get(PODS_PATH)).code == 200


async def test_one_may_ask_what_one_may() -> None:
    api = an_api_of("robot", rule(["list"], ["pods"]))
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    async def may(verb: str) -> bool:
        asked = {"spec": {"resourceAttributes": {"namespace": "shop", "verb": verb, "resource": "pods"}}}
        allowed: bool = (await api.create(path, asked)).json["status"]["allowed"]
        return allowed

    assert await may("list")
    assert not await may("delete")


async def test_one_may_ask_who_one_is() -> None:
    api = an_api_of("robot")

    reply = await api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})

    assert reply.json["status"]["userInfo"]["username"] == "system:serviceaccount:aegis:executor"


async def test_an_admin_may_act_as_another() -> None:
    api = an_api_of("root")

    refused = await api.get(PODS_PATH, headers={"impersonate-user": "system:serviceaccount:aegis:executor"})

    assert refused.code == 403


async def test_the_request_log_is_the_admins() -> None:
    api = an_api_of("robot", rule(["list"], ["pods"]))
    await api.get(PODS_PATH)

    refused = await api.get("/debug/requests")
    shown = await Api(api.app, token="root").get("/debug/requests")

    assert refused.code == 403
    assert [(line["verb"], line["resource"], line["code"]) for line in shown.json["requests"]] == [
        ("list", "pods", 200)
    ]

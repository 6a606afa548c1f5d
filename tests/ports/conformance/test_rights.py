"""Rights: who somebody is, what they may do, and how they are told that they may not."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.ports.conformance.cluster import JSON_PATCH, Cluster, connected_as
from tests.ports.conformance.manifests import Object, config_map, deployment

from aegis.catalogue.rbac import RULES_OF
from aegis.cli.rights import missing, needed

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ROBOT = "robot"


def name_of(cluster: Cluster) -> str:
    return f"system:serviceaccount:{cluster.namespace}:{ROBOT}"


@contextlib.asynccontextmanager
async def robot(cluster: Cluster, rules: Sequence[Object] = ()) -> AsyncIterator[Cluster]:
    """Speak as a service account that these rules hold for, in the test's namespace."""
    await cluster.create("serviceaccounts", {"metadata": {"name": ROBOT}})
    if rules:
        await allow(cluster, rules)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    issued = (await cluster.ask("POST", cluster.path("serviceaccounts/token", ROBOT), asked)).body
    async with connected_as(cluster, issued["status"]["token"]) as speaker:
        yield speaker


async def allow(cluster: Cluster, rules: Sequence[Object]) -> None:
    await cluster.create("roles", {"metadata": {"name": ROBOT}, "rules": list(rules)})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROBOT}
    subject = {"kind": "ServiceAccount", "name": ROBOT, "namespace": cluster.namespace}
    await cluster.create("rolebindings", {"metadata": {"name": ROBOT}, "roleRef": role, "subjects": [subject]})


def rule(resource: str, *verbs: str, group: str = "") -> Object:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


async def test_a_token_that_nobody_has_is_unauthorized(cluster: Cluster) -> None:
    async with connected_as(cluster, "nonsense") as stranger:
        answer = await stranger.ask("GET", stranger.path("pods"))

    assert (answer.code, answer.body["reason"], answer.body["message"]) == (401, "Unauthorized", "Unauthorized")


async def test_who_says_nothing_is_nobody_and_may_do_nothing(cluster: Cluster) -> None:
    async with connected_as(cluster, None) as nobody:
        answer = await nobody.ask("GET", nobody.path("pods"))

    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    assert 'User "system:anonymous" cannot list resource "pods"' in answer.body["message"]


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_who_may_not_read_is_told_who_they_are_and_what_they_may_not(cluster: Cluster, verb: str) -> None:
    async with robot(cluster) as refused:
        query = {"watch": "true"} if verb == "watch" else {}
        answer = await refused.ask("GET", refused.path("deployments"), **query)

    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["message"] == (
        f'deployments.apps is forbidden: User "{name_of(cluster)}" cannot {verb} resource "deployments" '
        f'in API group "apps" in the namespace "{cluster.namespace}"'
    )
    assert answer.body["details"] == {"group": "apps", "kind": "deployments"}


async def test_who_may_not_read_everywhere_is_told_so(cluster: Cluster) -> None:
    async with robot(cluster, [rule("pods", "list")]) as refused:
        here = await refused.ask("GET", refused.path("pods"))
        everywhere = await refused.ask("GET", refused.path("pods", namespace=""))
        watched = await refused.ask("GET", refused.path("pods", namespace=""), watch="true")

    assert (here.code, everywhere.code, watched.code) == (200, 403, 403)
    assert everywhere.body["message"].endswith('cannot list resource "pods" in API group "" at the cluster scope')


async def test_who_may_not_write_is_told_so_even_when_only_trying(cluster: Cluster) -> None:
    await cluster.create("deployments", deployment(replicas=0))
    change = [{"op": "replace", "path": "/spec/replicas", "value": 1}]

    async with robot(cluster, [rule("deployments", "get", group="apps")]) as refused:
        read = await refused.ask("GET", refused.path("deployments", "web"))
        meant = await refused.ask("PATCH", refused.path("deployments", "web"), change, kind=JSON_PATCH)
        tried = await refused.ask("PATCH", refused.path("deployments", "web"), change, kind=JSON_PATCH, dryRun="All")
        evicted = await refused.ask("POST", refused.path("pods/eviction", "nope"), {"metadata": {"name": "nope"}})

    assert [one.code for one in (read, meant, tried, evicted)] == [200, 403, 403, 403]
    assert 'cannot patch resource "deployments" in API group "apps"' in meant.body["message"]
    assert 'cannot create resource "pods/eviction" in API group ""' in evicted.body["message"]


async def test_rights_hold_from_when_they_are_given_until_they_are_taken(cluster: Cluster) -> None:
    async with robot(cluster) as changing:
        path = changing.path("configmaps", "settings")
        await cluster.create("configmaps", config_map())

        async def allowed(code: int) -> bool:
            return (await changing.ask("GET", path)).code == code

        before = await changing.ask("GET", path)
        await allow(cluster, [rule("configmaps", "get")])
        await cluster.until(lambda: allowed(200))
        await cluster.delete("rolebindings", ROBOT)
        await cluster.until(lambda: allowed(403))

    assert before.code == 403


async def test_a_right_may_be_for_one_name_only(cluster: Cluster) -> None:
    for name in ("one", "two"):
        await cluster.create("configmaps", config_map(name))

    async with robot(cluster, [{**rule("configmaps", "get"), "resourceNames": ["one"]}]) as limited:
        codes = [(await limited.ask("GET", limited.path("configmaps", name))).code for name in ("one", "two")]

    assert codes == [200, 403]


async def test_anybody_may_ask_what_they_may_do(cluster: Cluster) -> None:
    async with robot(cluster, [rule("pods", "list")]) as asking:
        answers = {}
        for verb in ("list", "delete"):
            attributes = {"verb": verb, "group": "", "resource": "pods", "namespace": cluster.namespace}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
            answers[verb] = await asking.ask("POST", REVIEWS, review)

    assert {verb: (one.code, one.body["status"]["allowed"]) for verb, one in answers.items()} == {
        "list": (201, True),
        "delete": (201, False),
    }


@pytest.mark.parametrize("service", sorted(RULES_OF))
async def test_what_aegis_asks_for_is_what_it_gets(cluster: Cluster, service: str) -> None:
    rules = RULES_OF[service]()
    rights = [one for one in needed(rules, [cluster.namespace]) if one.namespace]

    async with robot(cluster, rules) as account:
        refused = await missing(account.http, rights)
        more = await missing(account.http, needed([rule("secrets", "get")], [cluster.namespace]))

    assert refused == []
    assert len(more) == 1

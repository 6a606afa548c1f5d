"""`aegis doctor --kubeconfig` asks an API server what it is and what the services may do, and tells what is missing."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.conftest import Cli
from tests.unit.simulator.kubernetes.builders import an_api

from aegis.catalogue import rbac
from aegis.cli.doctor import refuse_unusable
from aegis.kit.embedded import free_port
from aegis.simulator.kubernetes.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    NAMESPACES,
    ROLEBINDINGS,
    ROLES,
)
from aegis.simulator.kubernetes.server import ApiServer
from aegis.simulator.kubernetes.serving import Served, kubeconfig, self_signed, serving
from aegis.simulator.kubernetes.users import Users, service_account

TOKENS = {service: f"token-of-{service}" for service in rbac.RULES_OF}


class Cluster:
    def __init__(self, api: ApiServer, folder: Path, url: str) -> None:
        self.api = api
        self.store = api.store
        self.folder = folder
        self.url = url

    def give(self, service: str, rules: list[dict[str, Any]], *, namespace: str = "") -> None:
        """Bind a service to these rules, everywhere or in one namespace."""
        role, binding = rbac.cluster_role(service, rules), rbac.cluster_role_binding(service, namespace="aegis")
        if not namespace:
            self.store.create(CLUSTERROLES, role)
            self.store.create(CLUSTERROLEBINDINGS, binding)
            return
        for one in (role, binding):
            one["metadata"] |= {"namespace": namespace, "name": f"{one['metadata']['name']}-{namespace}"}
        role["kind"] = "Role"
        binding["roleRef"] |= {"kind": "Role", "name": role["metadata"]["name"]}
        self.store.create(ROLES, role)
        self.store.create(ROLEBINDINGS, binding)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A folder of kubeconfigs, one for each service, that may do nothing yet."""
    users = Users({token: service_account("aegis", service) for service, token in TOKENS.items()})
    api = an_api(users=users)
    async with serving(api.app, tls=True) as served:
        for service, token in TOKENS.items():
            (tmp_path / f"{service}.kubeconfig").write_text(kubeconfig(served, token=token))
        yield Cluster(api.app, tmp_path, served.url)


async def versions(cli: Cli, folder: Path) -> list[dict[str, str]]:
    found = json.loads((await asyncio.to_thread(cli.run, "doctor", "--kubeconfig", str(folder), "-o", "json")).stdout)
    return [one for one in found if one["check"].startswith("API server")]


async def told(cli: Cli, folder: Path, *arguments: str) -> dict[str, list[dict[str, str]]]:
    """Return what the doctor finds of each service's rights."""
    asked = ("doctor", "--kubeconfig", str(folder), *arguments, "--output", "json")
    found = json.loads((await asyncio.to_thread(cli.run, *asked)).stdout)
    return {service: [one for one in found if one["check"] == f"rights of {service}"] for service in TOKENS}


def without(rules: list[dict[str, Any]], resource: str, verb: str) -> list[dict[str, Any]]:
    return [
        rule | {"verbs": [each for each in rule["verbs"] if (rule["resources"], each) != ([resource], verb)]}
        for rule in rules
    ]


async def test_with_what_aegis_rbac_prints_nothing_is_missing(alone: Cli, cluster: Cluster) -> None:
    for service, rules in rbac.RULES_OF.items():
        cluster.give(service, rules())

    for arguments in ((), ("--namespace", "shop")):
        for [found] in (await told(alone, cluster.folder, *arguments)).values():
            assert (found["result"], found["found"].startswith("all ")) == ("ok", True)


async def test_the_operators_config_map_and_its_absence_are_named(alone: Cli, cluster: Cluster) -> None:
    cluster.give("executor", rbac.executor_rules())

    async def of_config_map() -> tuple[str, str]:
        asked = ("doctor", "--kubeconfig", str(cluster.folder), "--output", "json")
        found = json.loads((await asyncio.to_thread(alone.run, *asked)).stdout)
        [one] = [one for one in found if one["check"] == "ConfigMap aegis/aegis-guardrails"]
        return one["result"], one["found"]

    assert await of_config_map() == ("ok", "there is none: no pause, freeze or policy floor of an operator's")

    cluster.store.create(NAMESPACES, {"metadata": {"name": "aegis"}})
    metadata = {"name": "aegis-guardrails", "namespace": "aegis"}
    cluster.store.create(CONFIGMAPS, {"metadata": metadata, "data": {"paused": "true", "freeze": "[]"}})
    assert await of_config_map() == ("ok", "says: freeze, paused")

    cluster.store.delete(CONFIGMAPS, "aegis", "aegis-guardrails")
    cluster.store.create(CONFIGMAPS, {"metadata": metadata, "data": {"policy-floor": "raise_memry: 1"}})
    result, why = await of_config_map()
    assert (result, "policy-floor: raise_memry is unknown" in why) == ("missing", True)

    cluster.store.delete(CLUSTERROLES, None, "aegis-executor")
    result, why = await of_config_map()
    assert (result, "403" in why) == ("missing", True)


async def test_what_is_missing_is_named_with_the_rule_that_gives_it(alone: Cli, cluster: Cluster) -> None:
    cluster.give("ai-engine", rbac.ai_engine_rules())
    cluster.give("executor", without(without(rbac.executor_rules(), "deployments", "patch"), "pods/eviction", "create"))

    found = await told(alone, cluster.folder)

    assert [one["result"] for one in found["ai-engine"]] == ["ok"]
    assert {one["found"] for one in found["executor"]} == {
        "may not patch deployments.apps in all namespaces", "may not create pods/eviction in all namespaces",
    }  # fmt: skip
    [hint] = [one["hint"] for one in found["executor"] if "eviction" in one["found"]]
    rule = yaml.safe_load(hint.removeprefix("add to its role: ").partition(";")[0])
    cluster.store.delete(CLUSTERROLES, None, "aegis-executor")
    cluster.store.create(
        CLUSTERROLES,
        rbac.cluster_role("executor", [*without(rbac.executor_rules(), "pods/eviction", "create"), rule]),
    )
    assert [one["result"] for one in (await told(alone, cluster.folder))["executor"]] == ["ok"]


async def test_rights_in_one_namespace_are_told_from_rights_everywhere(alone: Cli, cluster: Cluster) -> None:
    everywhere = [rule for rule in rbac.ai_engine_rules() if rule["resources"][0] in ("nodes", "namespaces")]
    cluster.give("ai-engine", everywhere)
    cluster.give("ai-engine", rbac.ai_engine_rules(), namespace="shop")

    in_shop = (await told(alone, cluster.folder, "--namespace", "shop"))["ai-engine"]
    in_both = (await told(alone, cluster.folder, "--namespace", "shop", "--namespace", "billing"))["ai-engine"]

    assert [one["result"] for one in in_shop] == ["ok"]
    assert "may not list pods in billing" in {one["found"] for one in in_both}
    assert not any(one["found"].endswith("in shop") for one in in_both)


async def test_a_cluster_that_does_not_say_is_told_as_such(alone: Cli, cluster: Cluster) -> None:
    file = cluster.folder / "executor.kubeconfig"
    file.write_text(kubeconfig(Served(f"http://127.0.0.1:{free_port()}", None), token="x"))
    strange = cluster.folder / "ai-engine.kubeconfig"
    strange.write_text(strange.read_text().replace(TOKENS["ai-engine"], "unknown"))

    found = await told(alone, cluster.folder)

    assert "does not answer" in found["executor"][0]["found"]
    assert "answers 401" in found["ai-engine"][0]["found"]
    file.unlink()
    assert "executor.kubeconfig" in await asyncio.to_thread(
        alone.refuses, "doctor", "--kubeconfig", str(cluster.folder)
    )


# Its version, and whether it lets us in at all


async def test_the_version_is_a_line_of_its_own(alone: Cli, cluster: Cluster) -> None:
    [found] = await versions(alone, cluster.folder)

    assert found == {
        "check": "API server, Kubernetes 1.28 or newer", "result": "ok", "found": "v1.37.2", "hint": "",
    }  # fmt: skip


async def test_an_older_server_is_missing_what_is_needed(alone: Cli, cluster: Cluster) -> None:
    cluster.api.version = {"major": "1", "minor": "27+", "gitVersion": "v1.27.16-eks-a737599"}

    for found in await versions(alone, cluster.folder):
        assert found["result"] == "missing"
        assert "is Kubernetes v1.27.16-eks-a737599, and Aegis needs Kubernetes 1.28 or newer" in found["found"]


async def test_aegis_does_not_start_on_an_older_server(alone: Cli, cluster: Cluster) -> None:
    cluster.api.version = {"major": "1", "minor": "27", "gitVersion": "v1.27.16"}

    refusal = await asyncio.to_thread(alone.refuses, "up", "--kubeconfig", str(cluster.folder))

    assert "the API server is Kubernetes v1.27.16, and Aegis needs Kubernetes 1.28 or newer" in refusal


@pytest.mark.parametrize("service", sorted(TOKENS))
async def test_aegis_does_not_start_with_a_token_that_nobody_has(alone: Cli, cluster: Cluster, service: str) -> None:
    file = cluster.folder / f"{service}.kubeconfig"
    file.write_text(file.read_text().replace(TOKENS[service], "unknown"))

    refusal = await asyncio.to_thread(alone.refuses, "up", "--kubeconfig", str(cluster.folder))

    assert f"error: {file}: the API server answered 401: Unauthorized" in refusal


async def test_aegis_does_not_start_where_no_server_answers_or_another_one_does(alone: Cli, cluster: Cluster) -> None:
    file = cluster.folder / "executor.kubeconfig"
    known = file.read_text()
    strange = self_signed("127.0.0.1", now=cluster.store.clock.now()).certificate
    for wrong in (Served(f"https://127.0.0.1:{free_port()}", strange), Served(cluster.url, strange)):
        file.write_text(kubeconfig(wrong, token=TOKENS["executor"]))
        refusal = await asyncio.to_thread(alone.refuses, "up", "--kubeconfig", str(cluster.folder))
        assert f"error: {file}: the API server does not answer: ConnectError" in refusal

    file.write_text(known)
    await refuse_unusable(cluster.folder)


async def test_looking_whether_a_cluster_will_do_writes_nothing_into_its_log(cluster: Cluster) -> None:
    """Not even a review: the AI Engine's account is one that only reads."""
    await refuse_unusable(cluster.folder)

    assert list(cluster.api.requests) == []

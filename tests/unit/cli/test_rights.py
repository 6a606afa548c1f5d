"""`aegis doctor --kubeconfig` asks an API server what the services may do, and tells what is missing."""

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
from aegis.kit.embedded import free_port
from aegis.simulator.kubernetes.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from aegis.simulator.kubernetes.serving import Served, kubeconfig, serving
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import Users, service_account

TOKENS = {service: f"token-of-{service}" for service in rbac.RULES_OF}


class Cluster:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder

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
        yield Cluster(api.store, tmp_path)


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

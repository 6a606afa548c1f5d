"""What `aegis rbac` prints, and what `aegis up --kubeconfig` takes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.conftest import Cli
from typer.testing import CliRunner

from aegis.catalogue.actions import ACTIONS
from aegis.cli.main import app


def printed(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["rbac", *arguments])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.output))


def allowed(documents: list[dict[str, Any]], service: str) -> set[tuple[str, str, str]]:
    role = next(one for one in documents if one["kind"] == "ClusterRole" and one["metadata"]["name"] == service)
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_each_service_gets_an_account_of_its_own_bound_to_its_own_role() -> None:
    documents = printed("--namespace", "healing")

    accounts = {one["metadata"]["name"] for one in documents if one["kind"] == "ServiceAccount"}
    bindings = {
        (subject["name"], subject["namespace"], one["roleRef"]["name"])
        for one in documents
        if one["kind"] == "ClusterRoleBinding"
        for subject in one["subjects"]
    }
    assert accounts == {"ai-engine", "executor"}
    assert bindings == {(name, "healing", f"aegis-{name}") for name in accounts}


def test_only_the_executor_may_change_anything_and_only_what_actions_need() -> None:
    documents = printed()
    reads = {"get", "list", "watch"}

    written = {one for one in allowed(documents, "aegis-executor") if one[2] not in reads}

    needed = {
        (verbs.group, verbs.resource, verb)
        for facts in ACTIONS.values()
        for verbs in facts.verbs
        for verb in verbs.verbs
        if verb not in reads
    }
    assert written == needed | {("", "events", "create"), ("", "events", "patch")}
    assert {verb for _, _, verb in allowed(documents, "aegis-ai-engine")} == reads


def test_a_folder_that_lacks_a_services_kubeconfig_is_refused_by_name(alone: Cli, tmp_path: Path) -> None:
    (tmp_path / "ai-engine.kubeconfig").touch()

    assert "executor.kubeconfig" in alone.refuses("up", "--kubeconfig", str(tmp_path))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("apiVersion: v1", "it lacks clusters, contexts, users, current-context"),
        ("{contexts: [{}], users: [{}], current-context: c}", "it lacks clusters"),
        ("", "it must be an object with clusters"),
        ("{", "it is no YAML"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_told_what_is_missing(
    alone: Cli, tmp_path: Path, content: str, why: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)

    for command in ("up", "doctor"):
        said = alone.refuses(command, "--kubeconfig", str(file))
        assert f"error: cannot read {file} as a kubeconfig: {why}" in said


def test_a_machine_gets_the_rights_as_one_list(alone: Cli) -> None:
    assert alone.json("rbac")["items"] == printed()

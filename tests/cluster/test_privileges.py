"""Least privilege, from the API server's own log of the whole run: who asked for what, and was anything refused."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ports.conformance.requests import requests_in_audit_log, says_something, unlisted
from typer.testing import CliRunner

from aegis.cli.main import app
from aegis.clients.api_server import VERSION
from aegis.executor.settings import PROTECTED_NAMESPACES
from testbed.driver.audit_log import ACCOUNTS, READING, Asked, asked_by_aegis

AI_ENGINE, EXECUTOR = f"{ACCOUNTS}ai-engine", f"{ACCOUNTS}executor"


@pytest.fixture(scope="module")
def asked(audit_log: Path) -> list[Asked]:
    """Everything that Aegis asked since the cluster was started, in this run and the ones before."""
    return list(asked_by_aegis(audit_log))


def right(one: Asked) -> tuple[str, str, str]:
    return one.verb, one.group, one.resource


def documented(service: str) -> set[tuple[str, str, str]]:
    """Return what `aegis rbac` lets a service do."""
    printed = CliRunner().invoke(app, ["rbac"]).stdout
    return set(_rights(role for role in yaml.safe_load_all(printed) if role["metadata"]["name"] == f"aegis-{service}"))


def _rights(objects: Iterator[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for role in objects:
        for rule in role.get("rules") or []:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from ((verb, group, resource) for verb in rule["verbs"])


def test_the_whole_run_is_in_the_log(asked: list[Asked]) -> None:
    """Or the other tests here would prove nothing."""
    writes = {right(one) for one in asked if one.user == EXECUTOR and one.verb not in READING}

    assert writes >= {("patch", "apps", "deployments"), ("create", "", "pods/eviction"), ("create", "", "events")}


def test_only_two_services_have_an_account(asked: list[Asked]) -> None:
    """The Backend has none, and made no call."""
    assert {one.user for one in asked} == {AI_ENGINE, EXECUTOR}


def test_the_ai_engine_only_reads(asked: list[Asked]) -> None:
    assert {one.verb for one in asked if one.user == AI_ENGINE} <= READING


@pytest.mark.parametrize("service", ["ai-engine", "executor"])
def test_a_service_used_nothing_that_is_not_documented(asked: list[Asked], service: str) -> None:
    used = {right(one) for one in asked if one.user == ACCOUNTS + service and one.resource}

    assert used - documented(service) == set()


def test_beside_resources_nothing_but_the_version_is_read(asked: list[Asked]) -> None:
    """Every account may: no rule is needed for it."""
    assert {(one.verb, one.path) for one in asked if not one.resource} <= {("get", VERSION)}


def test_nothing_was_refused_for_want_of_a_right(asked: list[Asked]) -> None:
    assert [one for one in asked if one.decision == "forbid"] == []


def test_no_protected_namespace_was_written_to(asked: list[Asked]) -> None:
    written = {
        one.namespace for one in asked if one.verb not in READING and one.code < 300 and one.resource != "events"
    }

    assert written
    assert not [name for name in written for pattern in PROTECTED_NAMESPACES if fnmatchcase(name, pattern)]


def test_every_kind_of_request_is_one_that_the_conformance_suite_tries(audit_log: Path) -> None:
    assert unlisted(filter(says_something, requests_in_audit_log(audit_log))) == []

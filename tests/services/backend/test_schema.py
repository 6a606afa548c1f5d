"""Schemathesis: whatever fits the OpenAPI description, or just does not, is answered as it says there."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.running import running
from tests.servers import KEYS, Templates
from tests.services.backend.rig import SERVICES, Rig
from tests.services.backend.test_access import PUBLIC, RULES

from aegis.kit.database import Database
from aegis.kit.http import PROBLEM
from aegis.simulator.together.people import token_of

EXAMPLES = {schemathesis.GenerationMode.POSITIVE: 4, schemathesis.GenerationMode.NEGATIVE: 4}
"""Per operation: what fits the description, and what just does not."""
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def address(templates: Templates) -> Iterator[str]:
    url = asyncio.run(templates.backend())
    database = Database(url)
    with running(Rig(database).backend.app, close=database.close) as found:
        yield found.url
    asyncio.run(templates.drop(url))


def credential(method: str, path: str) -> dict[str, str]:
    """Return that of somebody who gets past the door. Whoever logs out is needed for nothing else."""
    if (method, path) in PUBLIC:
        return {}
    name = "bob" if path == "/api/v1/sessions/current" else RULES[method, path][0]
    return {"Authorization": f"Bearer {KEYS.service[name] if name in SERVICES else token_of(name)}"}


def _is_a_wait(value: Any) -> bool:
    try:
        return float(value) > 0
    except (TypeError, ValueError):
        return False


def explore(operation: Any, mode: Any, headers: dict[str, str]) -> int:
    """Send what the mode generates for an operation; return how many requests that were."""
    asked = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES[mode], derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def answers(case: Any) -> None:
        nonlocal asked
        if _is_a_wait(case.query.get("wait_s")):
            case.query["wait_s"] = 0  # nobody waits for nothing here
        response = case.call(headers=headers)
        asked += 1
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == PROBLEM
            assert {"type", "title", "status", "detail"} <= set(response.json())

    answers()
    return asked


def can_be_wrong(operation: Any) -> bool:
    """Whether an operation takes anything that its description could refuse: a path may be any text."""
    return bool(list(operation.body) or list(operation.query))


@pytest.mark.parametrize("mode", EXAMPLES)
def test_every_operation_answers_as_it_is_described(address: str, mode: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == len(RULES) + len(PUBLIC)
    if mode is schemathesis.GenerationMode.NEGATIVE:
        operations = [one for one in operations if can_be_wrong(one)]

    asked = [explore(one, mode, credential(one.method.upper(), one.path)) for one in operations]

    assert len(asked) > 20
    assert all(asked)

"""Who may call what: a table that every route has to be in."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route
from tests.services.backend.rig import SERVICES, Rig, problem_of

PEOPLE = ("ada", "ole", "ann", "vic", "eve")
"""Admin, operator, approver and viewer everywhere; approver of one other namespace."""
EVERYONE = (*PEOPLE, *SERVICES)
READERS_EVERYWHERE = ("ada", "ole", "ann", "vic")
ADMIN = ("ada",)

PUBLIC = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("POST", "/api/v1/sessions"),
}
"""What needs no credential: what tells nothing, and what gets one."""

DOCUMENTATION = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}

RULES: dict[tuple[str, str], tuple[str, ...]] = {
    ("DELETE", "/api/v1/sessions/current"): PEOPLE,
    ("GET", "/api/v1/me"): EVERYONE,
    ("GET", "/api/v1/people"): ADMIN,
    ("POST", "/api/v1/people"): ADMIN,
    ("PATCH", "/api/v1/people/{name}"): ADMIN,
    ("POST", "/api/v1/incidents/reports"): ("ai-engine",),
    ("POST", "/api/v1/alerts"): ("alertmanager",),
    ("GET", "/api/v1/incidents"): PEOPLE,
    ("GET", "/api/v1/incidents/counts"): PEOPLE,
    ("GET", "/api/v1/incidents/{incident_id}"): PEOPLE,
    ("POST", "/api/v1/incidents/{incident_id}/acknowledge"): ("ada", "ole", "ann", "eve"),
    ("POST", "/api/v1/proposals"): ("ai-engine",),
    ("GET", "/api/v1/work"): ("executor",),
    ("POST", "/api/v1/rehearsals/{rehearsal_id}/result"): ("executor",),
    ("POST", "/api/v1/orders/{order_id}/outcomes"): ("executor",),
    ("POST", "/api/v1/announcements/{announcement_id}/done"): ("executor",),
    ("GET", "/api/v1/outcomes"): ("ai-engine",),
    ("GET", "/api/v1/remediations"): PEOPLE,
    ("GET", "/api/v1/remediations/counts"): PEOPLE,
    ("POST", "/api/v1/remediations"): ("ada", "ole"),
    ("GET", "/api/v1/remediations/{remediation_id}"): PEOPLE,
    ("GET", "/api/v1/remediations/{remediation_id}/explanation"): PEOPLE,
    ("POST", "/api/v1/remediations/{remediation_id}/approve"): ("ada", "ann", "eve"),
    ("POST", "/api/v1/remediations/{remediation_id}/reject"): ("ada", "ann", "eve"),
    ("POST", "/api/v1/remediations/{remediation_id}/undo"): ("ada", "ole"),
    ("POST", "/api/v1/remediations/{remediation_id}/keep"): ("ada", "ole"),
    ("GET", "/api/v1/policies"): PEOPLE,
    ("POST", "/api/v1/policies/test"): PEOPLE,
    ("GET", "/api/v1/policies/{name}/versions"): PEOPLE,
    ("PUT", "/api/v1/policies/{name}"): ADMIN,
    ("DELETE", "/api/v1/policies/{name}"): ADMIN,
    ("GET", "/api/v1/pause"): EVERYONE,
    ("POST", "/api/v1/pause"): ("ada", "ole", "ann", "eve"),
    ("POST", "/api/v1/resume"): ADMIN,
    ("PUT", "/api/v1/storm"): ("executor",),
    ("GET", "/api/v1/storm"): PEOPLE,
    ("GET", "/api/v1/notifications"): READERS_EVERYWHERE,
    ("GET", "/api/v1/audit/entries"): READERS_EVERYWHERE,
    ("GET", "/api/v1/audit/export"): READERS_EVERYWHERE,
    ("GET", "/api/v1/audit/key"): EVERYONE,
    ("GET", "/api/v1/audit/head"): EVERYONE,
    ("GET", "/api/v1/audit/checkpoint"): ("executor",),
    ("POST", "/api/v1/audit/checkpoint/witness"): ("executor",),
}
"""Who gets past the door of each route. Behind it, some look at the namespace as well."""


def routes(found: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, Route | APIRoute):
            yield from ((method, route.path) for method in route.methods or () if route.path not in DOCUMENTATION)
        else:  # a router that FastAPI has included and not yet unfolded
            yield from routes(route.original_router.routes)


async def call(rig: Rig, name: str, method: str, path: str) -> Any:
    filled = path.replace("{", "x-").replace("}", "")
    return await rig.as_(name).request(method, filled, json={} if method in ("POST", "PUT", "PATCH") else None)


async def test_every_route_has_a_rule(rig: Rig) -> None:
    assert set(routes(rig.backend.app.routes)) == PUBLIC | set(RULES)


async def test_without_a_credential_nothing_is_answered(rig: Rig) -> None:
    for method, path in RULES:
        refusal = problem_of(await call(rig, "", method, path), 401)

        assert "aegis login" in refusal["hint"], path


NO_CREDENTIALS = (
    "Bearer nonsense",
    "Bearer ",
    "Basic YWRhOmFkYQ==",
    "Bearer aegis-service.executor.nonsense",
    "Bearer aegis-service.nobody.x",
    "Bearer aegis-service.",
    "session-of-ada",
)


async def test_a_credential_that_is_none_is_as_good_as_none(rig: Rig) -> None:
    for credential in NO_CREDENTIALS:
        async with rig.client({"Authorization": credential}) as client:
            for path in ("/api/v1/me", "/api/v1/work", "/api/v1/people"):
                answer = await client.get(path)

                problem_of(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", EVERYONE)
async def test_only_those_named_get_past_the_door(rig: Rig, name: str) -> None:
    # Ending one's session comes last, or nothing after it would be told from not being known.
    for method, path in sorted(RULES, key=lambda route: route[1] == "/api/v1/sessions/current"):
        answer = await call(rig, name, method, path)

        if name in RULES[method, path]:
            assert answer.status_code not in (401, 403), f"{name} {method} {path}: {answer.text}"
        else:
            refusal = problem_of(answer, 403)
            assert name in refusal["detail"], f"{name} {method} {path}"


async def test_what_is_public_tells_nothing_and_changes_nothing(rig: Rig) -> None:
    assert (await rig.anybody().get("/health")).json() == {"status": "ok"}
    assert (await rig.anybody().get("/ready")).json() == {"status": "ready"}
    assert "aegis_remediations" in (await rig.anybody().get("/metrics")).text
    assert (await rig.anybody().post("/api/v1/sessions", json={})).status_code == 422

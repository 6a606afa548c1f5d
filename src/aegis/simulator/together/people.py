"""People with accounts at the Backend, and what they can do through its API."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import orjson

ROLES = {
    "ada": [{"role": "admin", "namespaces": ["*"]}],
    "ole": [{"role": "operator", "namespaces": ["*"]}],
    "ann": [{"role": "approver", "namespaces": ["*"]}],
    "bob": [{"role": "approver", "namespaces": ["*"]}],
    "vic": [{"role": "viewer", "namespaces": ["*"]}],
    "eve": [{"role": "approver", "namespaces": ["elsewhere"]}],
}


async def let_in(database: "asyncpg.Connection[Any]", *, at: datetime) -> None:
    """Add everybody with a session each: logging in hashes passwords slowly on purpose."""
    for name, grants in ROLES.items():
        await database.execute(
            "INSERT INTO people (name, password_hash, grants, disabled, created_at) VALUES ($1, '-', $2, false, $3)",
            name, orjson.dumps(grants).decode(), at,
        )  # fmt: skip
        await database.execute(
            "INSERT INTO sessions (token_hash, person, expires_at) VALUES ($1, $2, $3)",
            hashlib.sha256(token_of(name).encode()).hexdigest(), name, at + timedelta(days=365),
        )  # fmt: skip


def token_of(name: str) -> str:
    return f"session-of-{name}"


@dataclass(frozen=True)
class Person:
    """Somebody in front of the Backend's API. Every method returns the answer, whatever it is."""

    name: str
    http: httpx.AsyncClient

    async def pause(self, reason: str = "just to be sure") -> httpx.Response | None:
        return await self._say("POST", "/api/v1/pause", {"reason": reason})

    async def resume(self, reason: str = "all is well") -> httpx.Response | None:
        return await self._say("POST", "/api/v1/resume", {"reason": reason})

    async def approve(self, remediation_id: str, plan_hash: str) -> httpx.Response | None:
        return await self._say("POST", f"/api/v1/remediations/{remediation_id}/approve", {"plan_hash": plan_hash})

    async def reject(self, remediation_id: str) -> httpx.Response | None:
        return await self._say("POST", f"/api/v1/remediations/{remediation_id}/reject", {"comment": "not now"})

    async def conclude(self, remediation_id: str, purpose: str) -> httpx.Response | None:
        """Order to `undo` or to `keep` what was done."""
        return await self._say("POST", f"/api/v1/remediations/{remediation_id}/{purpose}", {})

    async def request(self, *, namespace: str, kind: str, name: str, action: dict[str, Any]) -> httpx.Response | None:
        body = {"namespace": namespace, "kind": kind, "name": name, "action": action, "reason": "I know it"}
        return await self._say("POST", "/api/v1/remediations", body)

    async def save_policy(self, name: str, source: str) -> httpx.Response | None:
        return await self._say("PUT", f"/api/v1/policies/{name}", {"source": source})

    async def remediations(self, **query: str) -> list[dict[str, Any]]:
        """Return what the Backend shows; nothing where it does not answer."""
        answer = await self._say("GET", "/api/v1/remediations?limit=200", None, params=query)
        return list(answer.json()["remediations"]) if answer is not None and answer.is_success else []

    async def _say(
        self, method: str, path: str, body: Any, *, params: dict[str, str] | None = None
    ) -> httpx.Response | None:
        try:
            return await self.http.request(method, path, json=body, params=params)
        except httpx.TransportError:
            return None  # people try again, or do not

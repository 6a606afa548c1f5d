"""How the AI Engine and the Executor call the Backend."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import orjson

from aegis.clients.asking import ask_with_key
from aegis.contracts.audit import Checkpoint
from aegis.contracts.incidents import IncidentReport
from aegis.contracts.outcomes import Outcome
from aegis.contracts.plans import RehearsalResult
from aegis.contracts.proposals import Proposal
from aegis.contracts.work import Pause, Storm, Work
from aegis.kit.http import ask


class BackendClient:
    """Every call may raise TemporaryError (try again: all of them are idempotent) or another AegisError.

    The httpx client carries base address and service key (`Authorization: Bearer …`).
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def report(self, report: IncidentReport) -> None:
        await self._ask("POST", "/api/v1/incidents/reports", body=report.model_dump_json().encode())

    async def propose(self, proposal: Proposal) -> str:
        """Return the remediation's id: a new one, or the one that is under way for the same."""
        body = proposal.model_dump_json().encode()
        answer = await self._ask("POST", "/api/v1/proposals", body=body)
        return str(answer.json()["remediation_id"])

    async def fetch_work(self, *, replica: str, wait: timedelta) -> Work:
        """Wait up to `wait` (of real time) for something to do; what is returned is claimed for `replica`."""
        seconds = wait.total_seconds()
        params = {"replica": replica, "wait_s": seconds}
        answer = await self._ask("GET", "/api/v1/work", params=params, timeout=seconds + 10)
        return Work.model_validate_json(answer.content)

    async def report_rehearsal(self, result: RehearsalResult) -> None:
        body = result.model_dump_json().encode()
        await self._ask("POST", f"/api/v1/rehearsals/{result.rehearsal_id}/result", body=body)

    async def report_outcome(self, outcome: Outcome) -> None:
        body = outcome.model_dump_json().encode()
        await self._ask("POST", f"/api/v1/orders/{outcome.order_id}/outcomes", body=body)

    async def report_announced(self, announcement_ids: Sequence[str]) -> None:
        for announcement_id in announcement_ids:
            await self._ask("POST", f"/api/v1/announcements/{announcement_id}/done")

    async def pause(self) -> Pause:
        return Pause.model_validate_json((await self._ask("GET", "/api/v1/pause")).content)

    async def outcomes_after(self, after: str, *, limit: int = 100) -> tuple[tuple[Outcome, ...], str]:
        """Return what came of proposals, oldest first, and what to pass as `after` the next time."""
        answer = (await self._ask("GET", "/api/v1/outcomes", params={"after": after, "limit": limit})).json()
        return tuple(Outcome.model_validate(item) for item in answer["outcomes"]), str(answer["after"])

    async def report_storm(self, storm: Storm) -> None:
        await self._ask("PUT", "/api/v1/storm", body=storm.model_dump_json().encode())

    async def newest_checkpoint(self) -> Checkpoint | None:
        """Return the newest audit checkpoint that nobody has countersigned yet."""
        answer = await self._ask("GET", "/api/v1/audit/checkpoint")
        return Checkpoint.model_validate_json(answer.content) if answer.json() is not None else None

    async def countersign(self, sequence: int, public_key: str, signature: str) -> None:
        body = orjson.dumps({"sequence": sequence, "public_key": public_key, "signature": signature})
        # Not by `_ask`: that another key is the trail's witness is an answer, and no reason to try again.
        await ask(self._http, "POST", "/api/v1/audit/checkpoint/witness", body=body)

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        hint = "AEGIS_BACKEND_KEY here must be the key of this service in its AEGIS_SERVICE_KEYS."
        return await ask_with_key(self._http, method, path, whom="the Backend", hint=hint, **options)

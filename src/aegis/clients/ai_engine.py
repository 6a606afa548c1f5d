"""How the Executor asks the AI Engine whether it helped, and the Backend who it is that people name."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from aegis.clients.asking import ask_with_key
from aegis.contracts.targets import Named, WorkloadRef
from aegis.contracts.verifications import Verification, VerificationRequest


class AiEngineClient:
    """The httpx client carries base address and caller key (`Authorization: Bearer …`)."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def verify(self, request: VerificationRequest, *, timeout: timedelta) -> Verification:  # noqa: ASYNC109
        """Raises TemporaryError where there is no answer in time: the caller then does not know."""
        answer = await self._ask(
            "POST",
            "/api/v1/verifications",
            body=request.model_dump_json().encode(),
            timeout=timeout.total_seconds(),
        )
        return Verification.model_validate_json(answer.content)

    async def find(self, workload: WorkloadRef) -> Named:
        """Return the very object that people mean by this name now; NotFoundError where there is none."""
        parts = (workload.namespace, workload.kind, workload.name)
        path = "/api/v1/targets/" + "/".join(quote(part, safe="") for part in parts)
        return Named.model_validate_json((await self._ask("GET", path)).content)

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        hint = "AEGIS_AI_ENGINE_KEY here must be one whose hash is in its AEGIS_CALLER_KEYS."
        return await ask_with_key(self._http, method, path, whom="the AI Engine", hint=hint, **options)

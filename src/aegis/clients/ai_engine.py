"""How the Executor asks the AI Engine whether it helped, and the Backend who it is that people name."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from aegis.contracts.targets import Named, WorkloadRef
from aegis.contracts.verifications import Verification, VerificationRequest
from aegis.kit.errors import ForbiddenError, TemporaryError, UnauthenticatedError
from aegis.kit.http import ask


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
        try:
            return await ask(self._http, method, path, **options)
        except (UnauthenticatedError, ForbiddenError) as error:
            # Not for whoever asked us: our key is wrong, or not known yet. Until it is, there is no answer.
            raise TemporaryError(
                f"the AI Engine does not let us in: {error.message}",
                hint="AEGIS_AI_ENGINE_KEY here must be one whose hash is in its AEGIS_CALLER_KEYS.",
            ) from error

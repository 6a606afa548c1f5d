"""The bad days of an API server, for tests to order: slow, failing, hanging up. Calm by default."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta

from aegis.kit.clock import Clock
from aegis.simulator.kubernetes.errors import ApiError

_REASONS = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}


@dataclass
class Weather:
    """Change the fields at any time; each request looks at them anew."""

    latency: timedelta = timedelta()
    error_rate: float = 0.0
    error_code: int = 503
    retry_after_s: int | None = None
    watches_refused: bool = False
    _cut: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_over(self, clock: Clock, rng: random.Random) -> None:
        """Delay a request, or fail it.

        Raises:
            ApiError: `error_code`, as often as `error_rate` says.
        """
        if self.latency:
            await clock.sleep(self.latency)
        if self.error_rate and rng.random() < self.error_rate:
            raise self._error()

    def cut_watches(self) -> None:
        """Hang up on every watch that is open now."""
        self._cut.set()
        self._cut = asyncio.Event()

    @property
    def cut(self) -> asyncio.Event:
        """Set once the watches open now are to end."""
        return self._cut

    def _error(self) -> ApiError:
        headers = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        details = {} if self.retry_after_s is None else {"retryAfterSeconds": self.retry_after_s}
        reason = _REASONS.get(self.error_code, "InternalError")
        message = "the server is currently unable to handle the request"
        return ApiError(self.error_code, reason, message, details=details, headers=headers)

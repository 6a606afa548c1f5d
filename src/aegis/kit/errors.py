"""Every error Aegis raises on purpose.

* AegisError
  - InvalidError           422  the request is well formed and means nothing we can do
  - RefusedError                whoever raises one says what to do instead
    + NotFoundError        404  the thing asked for does not exist
    + ConflictError        409  the thing exists, but not in a state that allows this
    + ForbiddenError       403  we know who is asking, and the answer is no
  - UnauthenticatedError   401  we do not know who is asking
  - TooManyError           429  asked too often
  - UpstreamError          502  something Aegis depends on misbehaved
    + TemporaryError       503  ... and is worth retrying

A policy that says no is not an error: it is a Decision. A guardrail that says
no is not an error: it is an Outcome. Errors are for what nobody decided.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from aegis.kit.mistakes import Mistake


class AegisError(Exception):
    """An error with a status for HTTP, and a hint about what to do next."""

    status: ClassVar[int] = 500
    retry_after_s: float | None = None
    """Worth trying again after so long, where it is at all."""

    def __init__(
        self, message: str, *, hint: str = "", field: str = "", value: object = None, mistakes: Sequence[Mistake] = ()
    ) -> None:
        """Take one wrong field, or every one of several as `mistakes`."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.mistakes = mistakes or ([Mistake((field,), message, value)] if field else [])

    @property
    def field(self) -> str:
        """The first wrong field, if there is one."""
        return self.mistakes[0].field if self.mistakes else ""

    @property
    def value(self) -> object:
        return self.mistakes[0].value if self.mistakes else None

    @property
    def code(self) -> str:
        """Stable name for API clients, e.g. `not_found`."""
        name = type(self).__name__.removesuffix("Error")
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class InvalidError(AegisError):
    status = 422


class RefusedError(AegisError):
    """No mistake in what was sent, so no field to correct: what to do instead has to be said."""

    def __init__(
        self, message: str, *, hint: str, field: str = "", value: object = None, mistakes: Sequence[Mistake] = ()
    ) -> None:
        super().__init__(message, hint=hint, field=field, value=value, mistakes=mistakes)


class NotFoundError(RefusedError):
    status = 404


class ConflictError(RefusedError):
    status = 409


class UnauthenticatedError(AegisError):
    status = 401


class ForbiddenError(RefusedError):
    status = 403


class TooManyError(AegisError):
    status = 429

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 60.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class UpstreamError(AegisError):
    status = 502


class TemporaryError(UpstreamError):
    """Worth trying again, after `retry_after_s` seconds."""

    status = 503
    retry_after_s: float

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s

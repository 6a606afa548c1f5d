"""What every contract has in common."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

TEXT_MAX = 4000


def _storable(text: str) -> str:
    """Replace the one character that PostgreSQL cannot hold: a container's last words may have it."""
    return text.replace("\0", "\ufffd")


Name = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[^\x00]*$")]
Text = Annotated[str, StringConstraints(max_length=TEXT_MAX), AfterValidator(_storable)]
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2500, 1, 1, tzinfo=UTC))
]  # fmt: skip
"""Far from the ends of the calendar, so that durations can be added to it."""


class Contract(BaseModel):
    """A value that crosses a service boundary. Readers ignore fields they do not know."""

    # Infinity and not-a-number are no JSON: they would come back as null.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class StrictContract(Contract):
    """A value that can change the cluster. Readers refuse fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

"""Steps and when they happen."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from aegis.simulator.world.faults import Step


class TimedStep(BaseModel):
    """A step and when it happens, in seconds after the world began; written flat in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float = Field(ge=0)
    note: str = ""
    step: Step

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "step" in given:
            return given
        own = {key: given[key] for key in ("at_s", "note") if key in given}
        return {**own, "step": {key: value for key, value in given.items() if key not in own}}


PLAN: TypeAdapter[tuple[TimedStep, ...]] = TypeAdapter(tuple[TimedStep, ...])

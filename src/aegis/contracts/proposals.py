"""What somebody would do, and why: the AI Engine, or a person."""

from typing import Self

from pydantic import Field, model_validator

from aegis.contracts.actions import Action
from aegis.contracts.base import Moment, Name, StrictContract, Text
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.targets import TargetRef


class Proposal(StrictContract):
    """One typed action on one target for one incident."""

    id: Name
    incident_key: Name
    target: TargetRef
    owner: TargetRef
    """The workload that owns the target; the target itself where it is no pod."""
    action: Action
    cause: CauseKind
    confidence: float = Field(ge=0, le=1)
    rationale: Text
    signals: tuple[Name, ...] = ()
    """The canonical signals that must be back in their band for the action to have helped."""
    proposed_by: Name
    """The actor: `service:ai-engine`, or `person:<name>`."""
    proposed_at: Moment
    data_as_of: Moment
    """The time of the oldest observation this rests on."""
    ladder: tuple[Action, ...] = ()
    """What is proposed next if this is undone, denied by policy or expires, one after the other.

    The AI Engine names nothing here: where its remedy did not help, the next follows from a new diagnosis, or a person.
    """

    @model_validator(mode="after")
    def _is_of_its_owner(self) -> Self:
        """Whoever names another owner would have mode, Git, quota and cooldown looked up at the wrong object."""
        if self.target.kind != "Pod" and self.target != self.owner:
            raise ValueError(f"the owner of {self.target} is itself, and not {self.owner}")
        if self.target.place != self.owner.place:
            raise ValueError(f"{self.owner} is in another cluster or namespace than {self.target}, and cannot own it")
        return self

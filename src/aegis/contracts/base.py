"""What every contract has in common."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Text = Annotated[str, StringConstraints(max_length=4000)]
Moment = AwareDatetime


class Contract(BaseModel):
    """A value that crosses a service boundary. Readers ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StrictContract(Contract):
    """A value that can change the cluster. Readers refuse fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

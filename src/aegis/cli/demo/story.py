"""A story as it stands in a file: what goes wrong in a cluster, what people do, and how it must end."""

import reprlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aegis.cli.files import read_text
from aegis.contracts.actions import ActionKind
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.remediations import RemediationState
from aegis.kit.errors import InvalidError
from aegis.kit.mistakes import mistake_of
from aegis.kit.yaml import YamlError, read_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(_Strict):
    """A moment in a story: all that is named must hold."""

    after_s: float = 0
    """Seconds of the story's clock since its first fault."""
    remediation: tuple[RemediationState, ...] = ()
    """Some remediation is in one of these states."""
    incident: bool = False
    """Some incident is open."""
    done: str = ""
    """Another act with this name is done."""


class Act(_Strict):
    """Something that a person does through the public API, or that befalls a process."""

    name: str = ""
    when: When = When()
    request: ActionKind | None = None
    """`person` requests this action on the first case's target."""
    parameters: dict[str, Any] = {}
    approve: bool = False
    must_fail: Literal["forbidden", "conflict", "not_found", "invalid"] | None = None
    """The API must refuse it, and for this: not because it is away."""
    person: str = "admin"
    kill: Literal["backend", "ai-engine", "executor"] | None = None
    """The process is killed, and started again as a kubelet would."""
    step: dict[str, Any] | None = None
    """A step in the world (`aegis.simulator.world.faults`)."""


class Expected(_Strict):
    """How the story must end."""

    result: str
    """A remediation's last state, `untouched` (nothing was written), or `quiet` (nothing was even ordered)."""
    cause: CauseKind | None = None
    cause_at: str = ""
    """The workload that must be named as the cause; `@store` and the like are parts of the topology."""
    action: ActionKind | None = None
    reason: str = ""
    """Must occur in what the refusal, denial or block says."""
    passed: tuple[RemediationState, ...] = ()
    """States the remediation must have been in on the way."""
    notified: dict[str, int] = {}
    """How many notifications of which kind there must be."""
    writes: int | None = None
    """How many writes to workloads the API server's log must show; undoing is one, letting go of fields none."""


class Person(_Strict):
    name: str
    role: Literal["viewer", "operator", "approver", "admin"]


class Case(_Strict):
    """One thing that goes wrong in a story, and how that must end."""

    name: str = ""
    fault: str
    """What goes wrong, in a few words."""
    target: str = ""
    """What it happens to: a part (`@client`), the nth Deployment (`#2`), or namespace/name."""
    at_s: float
    """When, in seconds after Aegis is up."""
    expect: Expected


class Story(_Strict):
    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    scenario: dict[str, Any] = {}
    """`aegis.simulator.world.scenario`, less name, seed and steps."""
    steps: tuple[dict[str, Any], ...]
    """What happens in the world (`aegis.simulator.world.faults`), `at_s` seconds after Aegis is up.

    `@client`, `#2` and the like stand for workloads, `{#2.namespace}` and `{#2.name}` for their names.
    """
    cases: tuple[Case, ...] = Field(min_length=1)
    people: tuple[Person, ...] = ()
    policies: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    rate: float = Field(default=30, gt=0, le=100)
    """Seconds of the story per second of yours, unless the command says otherwise."""
    within_s: float = 1500
    """The story's longest time after its first fault."""
    settled_for_s: float = 0
    """How long it must stay as it ended."""

    @property
    def first_fault_s(self) -> float:
        return min(case.at_s for case in self.cases)


def load_story(file: Path) -> Story:
    """Read a story.

    Raises:
        InvalidError: names the file, the field and what is wrong with it.
    """
    try:
        document = read_yaml(read_text(file, "story"))
    except YamlError as error:
        raise InvalidError(f"story {file} is no YAML: {error}", field="story", value=str(file)) from error
    try:
        return Story.model_validate(document)
    except ValidationError as error:
        first = mistake_of(error.errors()[0])
        raise InvalidError(
            f"story {file}: {first.field} {first.message} (got {reprlib.repr(first.value)})",
            field=first.field or "story",
            hint="docs of the fields stand in aegis.cli.demo.story.",
        ) from error


def find_stories(folder: Path) -> list[Story]:
    """Read all stories of a folder, in the order of their numbers."""
    files = sorted(folder.glob("*/story.yaml"))
    if not files:
        raise InvalidError(
            f"no stories in {folder}",
            field="--examples",
            value=str(folder),
            hint="`--examples FOLDER` names one with a folder for each story, and its `story.yaml` in it.",
        )
    return [load_story(file) for file in files]

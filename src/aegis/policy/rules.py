"""Policies as people write them: YAML documents, checked field by field before anybody relies on them."""

import reprlib
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from aegis.contracts.actions import ActionKind
from aegis.contracts.decisions import Effect
from aegis.contracts.diagnoses import CauseKind
from aegis.kit.errors import InvalidError
from aegis.policy.conditions import Condition, ConditionError, compile_condition

REMEMBERED = 4096
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
ApproverRole = Literal["approver", "admin"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Approvals(_Strict):
    """How many people must say yes, and of which role."""

    count: int = Field(default=1, ge=1, le=5)
    role: ApproverRole = "approver"


class Rule(_Strict):
    """One sentence of a policy: for these actions, there, when this holds, the effect is this."""

    name: RuleName
    effect: Effect
    actions: tuple[ActionKind, ...] = ()
    """Which actions it speaks of; empty means every one."""
    causes: tuple[CauseKind, ...] = ()
    namespaces: tuple[str, ...] = ()
    """Shell patterns, such as `shop-*`; empty means every namespace."""
    when: str = "true"
    """A CEL condition."""
    approvals: Approvals = Approvals()
    because: str = ""
    """Said to whoever asks why."""

    @field_validator("when")
    @classmethod
    def _compiles(cls, source: str) -> str:
        try:
            compile_condition(source)
        except ConditionError as error:
            raise ValueError(str(error)) from error
        return source

    @cached_property
    def condition(self) -> Condition:
        return compile_condition(self.when)

    def speaks_of(self, *, action: ActionKind, cause: CauseKind, namespace: str) -> bool:
        return (
            (not self.actions or action in self.actions)
            and (not self.causes or cause in self.causes)
            and (not self.namespaces or any(fnmatchcase(namespace, pattern) for pattern in self.namespaces))
        )


class Metadata(_Strict):
    name: RuleName


class Spec(_Strict):
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rule names must be unique; used twice: {', '.join(twice)}")
        return self


class Policy(_Strict):
    """A named set of rules; the Backend keeps its versions."""

    api_version: Literal["aegis.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Policy"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name

    @cached_property
    def _speaking(self) -> dict[tuple[ActionKind, CauseKind, str], tuple[Rule, ...]]:
        return {}

    def rules_that_speak_of(self, *, action: ActionKind, cause: CauseKind, namespace: str) -> tuple[Rule, ...]:
        """Return them as the document has them; worked out once for each combination."""
        key = (action, cause, namespace)
        found = self._speaking.get(key)
        if found is None:
            rules = self.spec.rules
            found = tuple(
                rule for rule in rules if rule.speaks_of(action=action, cause=cause, namespace=namespace)
            )  # fmt: skip
            if len(self._speaking) >= REMEMBERED:
                self._speaking.clear()
            self._speaking[key] = found
        return found


def parse_policy(text: str) -> Policy:
    """Read one YAML document.

    Raises:
        InvalidError: names the field, the value and what is wrong with it (a condition: its line and column).
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a date that is none; RecursionError: brackets without end.
        raise InvalidError(f"not YAML: {error}", field="policy", hint="Send one YAML document.") from error
    if not isinstance(document, dict):
        raise InvalidError("a policy is a YAML mapping", field="policy", value=_shown(document))
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = _path(document, first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidError(
            f"{field}: {message} (got {_shown(first['input'])})",
            field=field,
            value=_shown(first["input"]),
            hint="`aegis policies test FILE` checks a policy without saving it.",
        ) from error


def _path(document: Any, location: tuple[int | str, ...]) -> str:
    """Write a location as people do: `spec.rules[2](allow-restarts).when`."""
    path, here = "", document
    for part in location:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
        if isinstance(part, int):
            name = here.get("name") if isinstance(here, dict) else None
            path += f"[{part}]" + (f"({name})" if name else "")
        else:
            path += f".{part}" if path else part
    return path


def _shown(value: object) -> str:
    # Not all of it: with a YAML alias of aliases, a short text stands for more than memory holds.
    return reprlib.repr(value)[:200]

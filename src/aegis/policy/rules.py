"""Policies as people write them: YAML documents, checked field by field before anybody relies on them."""

import reprlib
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self

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
from aegis.contracts.base import Text
from aegis.contracts.decisions import Effect
from aegis.contracts.diagnoses import CauseKind
from aegis.kit.errors import InvalidError
from aegis.kit.mistakes import Mistake, mistake_of, path_of
from aegis.kit.yaml import YamlError, line_of, read_yaml
from aegis.policy.conditions import Condition, ConditionError, compile_condition

REMEMBERED = 4096
_HINT = "`aegis policies test FILE` checks a policy without saving it."
RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
NamespacePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*?\[\]!-]{1,63}$")]
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
    namespaces: tuple[NamespacePattern, ...] = ()
    """Shell patterns, such as `shop-*`; empty means every namespace."""
    when: str = "true"
    """A CEL condition."""
    approvals: Approvals = Approvals()
    because: Text = ""
    """Said to whoever asks why."""

    @field_validator("when")
    @classmethod
    def _compiles(cls, source: str) -> str:
        try:
            compile_condition(source)
        except ConditionError as error:
            raise ValueError(f"is no condition: {error}") from error
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
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _there_is_one_rule_of_each_name(self) -> Self:
        if not self.rules:
            raise ValueError("has no rules")
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"has several rules of one name: {', '.join(twice)}")
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
        InvalidError: names every wrong field, its line, its value and what is wrong with it (a condition: the line
            and column in it).
    """
    try:
        document = read_yaml(text)
    except YamlError as error:
        raise InvalidError(f"not a YAML document: {error}", field="policy", hint=_HINT) from error
    if not isinstance(document, dict):
        raise InvalidError("a policy is a YAML mapping", field="policy", value=_shown(document), hint=_HINT)
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        mistakes = [_placed(text, document, mistake_of(each)) for each in error.errors()]
        said = [one.message for one in mistakes]
        message = said[0] if len(said) == 1 else f"{len(said)} mistakes:\n  " + "\n  ".join(said)
        raise InvalidError(message, mistakes=mistakes, hint=_HINT) from error


def _placed(text: str, document: Any, mistake: Mistake) -> Mistake:
    """Say where in the text it is, too."""
    field = _path(document, mistake.location)
    got = f" (got {_shown(mistake.value)})" if mistake.value is not None else ""
    message = f"line {line_of(text, mistake.location)}: {field} {mistake.message}{got}"
    return Mistake((field,), message, _shown(mistake.value) if got else None)


def _path(document: Any, location: tuple[int | str, ...]) -> str:
    """Write a location with the names of rules: `spec.rules[2](allow-restarts).when`."""
    path, here = "", document
    for part in location:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
        path += path_of([part]) if isinstance(part, int) else f".{part}"
        if isinstance(part, int) and isinstance(here, dict) and "name" in here:
            path += f"({here['name']})"
    return path.removeprefix(".")


def _shown(value: object) -> str:
    # Not all of it: with a YAML alias of aliases, a short text stands for more than memory holds.
    return reprlib.repr(value)[:200]

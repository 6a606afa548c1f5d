"""Conditions of rules: CEL, Kubernetes' own expression language, type-checked when a policy is saved."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

_STRINGS = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)

VARIABLES: dict[str, cel.Type] = {
    "workload.cluster": cel.Type.STRING,
    "workload.namespace": cel.Type.STRING,
    "workload.kind": cel.Type.STRING,
    "workload.name": cel.Type.STRING,
    "workload.labels": _STRINGS,
    "workload.namespace_labels": _STRINGS,
    "workload.replicas": cel.Type.INT,
    "workload.healthy": cel.Type.INT,
    "workload.owned_by": cel.Type.STRING,
    "action": cel.Type.STRING,
    "cause": cel.Type.STRING,
    "confidence": cel.Type.DOUBLE,
    "mode": cel.Type.STRING,
    "proposed_by": cel.Type.STRING,
    "plan.reversible": cel.Type.BOOL,
    "plan.disturbs": cel.Type.INT,
    "plan.changes": cel.Type.INT,
    "now": cel.Type.TIMESTAMP,
}
"""What a condition may mention."""

_ENVIRONMENT = cel.NewEnv(variables=VARIABLES)
_WHERE = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<message>.*)")


class Truth(Enum):
    """What a condition says. It is undecided where it cannot be evaluated, as with a label that is not there."""

    TRUE = "true"
    FALSE = "false"
    UNDECIDED = "undecided"


class ConditionError(ValueError):
    """A condition that does not compile; says where."""

    def __init__(self, message: str, *, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column


class Known:
    """Facts as CEL reads them: made once for all conditions that are asked about them."""

    __slots__ = ("activation",)

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.activation = _ENVIRONMENT.Activation(facts)


@dataclass(frozen=True)
class Condition:
    source: str
    _expression: Any

    def holds(self, facts: Known) -> Truth:
        # What cannot be evaluated has an error for a value, and is neither true nor false.
        value = self._expression.eval(facts.activation).value()
        if value is True:
            return Truth.TRUE
        return Truth.FALSE if value is False else Truth.UNDECIDED


@lru_cache(maxsize=4096)
def compile_condition(source: str) -> Condition:
    """Compile and type-check.

    Raises:
        ConditionError: it does not parse, mentions what does not exist, or is not a yes-or-no question.
    """
    try:
        expression = _ENVIRONMENT.compile(source)
    except RuntimeError as error:
        found = _WHERE.search(str(error))
        if found is None:
            raise ConditionError(str(error), line=1, column=1) from error
        line, column = int(found["line"]), int(found["column"])
        message = found["message"].split(" (in container")[0]
        if message.startswith("undeclared reference"):
            message += f"; known are {', '.join(VARIABLES)}"
        raise ConditionError(message, line=line, column=column) from error
    if expression.return_type() != cel.Type.BOOL:
        kind = expression.return_type().name().lower()
        raise ConditionError(f"is a {kind}, and must be a bool", line=1, column=1)
    return Condition(source, expression)

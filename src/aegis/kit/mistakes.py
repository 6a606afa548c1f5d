"""What is wrong with a value that somebody gave, in words for whoever gave it: not in those of the library."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_Context = Mapping[str, Any]
_ENUM = re.compile(r"<[\w.]+: ('[^']*')>")
_WITHOUT_A_VALUE = frozenset({"missing", "json_invalid", "union_tag_not_found"})

_SAID: dict[str, Callable[[_Context], str]] = {
    "missing": lambda _: "is missing",
    "extra_forbidden": lambda _: "is not known here",
    "value_error": lambda about: str(about["error"]),
    "json_invalid": lambda about: f"is not JSON: {about['error']}",
    "union_tag_invalid": lambda about: "is not one of " + _ENUM.sub(r"\1", about["expected_tags"]),
    "union_tag_not_found": lambda _: "is missing",
    "enum": lambda about: f"is not one of {about['expected']}",
    "literal_error": lambda about: f"is not one of {about['expected']}",
    "string_type": lambda _: "must be text",
    "string_unicode": lambda _: "must be Unicode text",
    "string_too_short": lambda about: f"must be at least {about['min_length']} long",
    "string_too_long": lambda about: f"must be at most {about['max_length']} long",
    "string_pattern_mismatch": lambda about: f"must look like {about['pattern']}",
    "too_short": lambda about: f"must have at least {about['min_length']}",
    "too_long": lambda about: f"must have at most {about['max_length']}",
    "greater_than": lambda about: f"must be more than {about['gt']}",
    "greater_than_equal": lambda about: f"must be at least {about['ge']}",
    "less_than": lambda about: f"must be less than {about['lt']}",
    "less_than_equal": lambda about: f"must be at most {about['le']}",
    "finite_number": lambda _: "must be a finite number",
    "timezone_aware": lambda _: "must say its time zone",
}
_MUST_BE = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "date": "a date",
    "time": "a length of time such as PT30S",
}
"""By how the library's names for a wrong type begin: `int_parsing`, `int_type`, `list_type`."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where, and what. `value` is None where there is none to show."""

    location: tuple[int | str, ...]
    message: str
    value: Any = None

    @property
    def field(self) -> str:
        return path_of(self.location)


def mistake_of(error: Mapping[str, Any]) -> Mistake:
    """Read one of a ValidationError's `errors()`."""
    kind, about, location = error["type"], error.get("ctx") or {}, error["loc"]
    value = None if kind in _WITHOUT_A_VALUE else error["input"]
    if kind.startswith("union_tag"):  # what is wrong is the field that says which of several shapes is meant
        location, value = (*location, about["discriminator"].strip("'")), about.get("tag")
    return Mistake(location, _in_words(kind, about, error["msg"]), value)


def path_of(location: Iterable[int | str]) -> str:
    """Write a location as people do.

    >>> path_of(("grants", 2, "role"))
    'grants[2].role'
    """
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _in_words(kind: str, about: _Context, message: str) -> str:
    if kind in _SAID:
        return _SAID[kind](about)
    wanted = _MUST_BE.get(kind.partition("_")[0])
    return f"must be {wanted}" if wanted else message.replace("Input should", "must")

"""JSON Pointers (RFC 6901), as patches use them."""

from typing import Any


def value_at(thing: Any, pointer: str) -> Any:
    """Return what a JSON Pointer points at; None where that is nothing.

    >>> value_at({"a": [{"b/c": 1}]}, "/a/0/b~1c"), value_at({"a": [1]}, "/a/7")
    (1, None)
    """
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            thing = thing[int(key)] if isinstance(thing, list) else thing[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return thing

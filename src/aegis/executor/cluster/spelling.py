"""JSON spelled as an API server spells it, byte for byte: it compares the bytes of what a JSON Patch tests."""

from typing import Any

import orjson

# These can only be in strings. Go escapes them so that JSON may stand in HTML and JavaScript.
_AS_GO_DOES = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    "\u2028".encode(): rb"\u2028",
    "\u2029".encode(): rb"\u2029",
}


def spelled(value: Any) -> bytes:
    r"""Return JSON in the API server's own spelling.

    >>> spelled(["test -n $A && exec web >log"]).decode()
    '["test -n $A \\u0026\\u0026 exec web \\u003elog"]'
    """
    written = orjson.dumps(value)
    for plain, escaped in _AS_GO_DOES.items():
        written = written.replace(plain, escaped)
    return written

"""Facts recorded from a real API server, read when first asked for."""

from functools import cache
from importlib import resources
from typing import Any

import orjson


@cache
def recorded(name: str) -> bytes:
    """Return one file of `data/`."""
    return (resources.files(__package__) / "data" / name).read_bytes()


@cache
def recorded_json(name: str) -> Any:
    """Return one JSON file of `data/`; shared, so not to be changed."""
    return orjson.loads(recorded(name))

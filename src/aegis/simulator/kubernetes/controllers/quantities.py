"""Amounts and percentages as plain numbers, read once and remembered."""

import math
from functools import lru_cache
from typing import Any

from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.kubernetes.quantities import quantity


@lru_cache(maxsize=4096)
def _amount(text: str) -> float:
    return float(quantity(text))


def amount(value: Any) -> float:
    """Read a quantity.

    >>> amount("250m"), amount("2Ki"), amount(None)
    (0.25, 2048.0, 0.0)
    """
    return 0.0 if value is None else _amount(str(value))


def requested(pod: Object, resource: str) -> float:
    """Return what the scheduler reserves for a pod."""
    return sum(amount(dig(each, "resources", "requests", resource)) for each in pod["spec"]["containers"])


def share_of(value: Any, total: int, *, round_up: bool) -> int:
    """Read a count or a percentage of `total`, as maxSurge and maxUnavailable are written.

    >>> share_of("25%", 3, round_up=True), share_of("25%", 3, round_up=False), share_of(2, 3, round_up=True)
    (1, 0, 2)
    """
    if isinstance(value, str) and value.endswith("%"):
        exact = total * float(value[:-1]) / 100
        return math.ceil(exact) if round_up else math.floor(exact)
    return int(value)

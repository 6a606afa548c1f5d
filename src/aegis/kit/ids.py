"""Identifiers: sortable by time, unguessable enough, made from an injected source."""

import random
from datetime import datetime
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that reads alike


class IdSource(Protocol):
    def new(self, prefix: str, at: datetime) -> str:
        """Return `<prefix>-<26 characters>`; later ids sort after earlier ones (ULID's order)."""
        ...


class RandomIds:
    """Ids from any random source: `random.SystemRandom()` in production, a seed in a test."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def new(self, prefix: str, at: datetime) -> str:
        millis = int(at.timestamp() * 1000)
        return f"{prefix}-{_base32(millis, 10)}{_base32(self._rng.getrandbits(80), 16)}"


def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))

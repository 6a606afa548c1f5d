"""Passwords and keys: hashed with argon2id, compared in constant time; keys that matched are remembered."""

import asyncio
import hashlib
from collections import OrderedDict

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's minimum for argon2id
_REMEMBERED = 256


def hash_secret(secret: str) -> str:
    return _HASHER.hash(secret)


async def matches(secret: str, hashed: str) -> bool:
    """Compare in a thread, since argon2 is slow on purpose."""
    return await asyncio.to_thread(_is_match, secret, hashed)


class KnownKeys:
    """Service keys that matched an argon2id hash, remembered as a SHA-256 of both: services ask many times a second.

    Revoking works at once all the same: the hash to compare with comes from the database every time.
    """

    def __init__(self) -> None:
        self._matched: OrderedDict[str, None] = OrderedDict()

    def remember(self, key: str, hashed: str) -> None:
        """Remember that they match; what was not asked for longest is forgotten for it."""
        self._matched[_pair(key, hashed)] = None
        while len(self._matched) > _REMEMBERED:
            self._matched.popitem(last=False)

    def remembers(self, key: str, hashed: str) -> bool:
        pair = _pair(key, hashed)
        if pair not in self._matched:
            return False
        self._matched.move_to_end(pair)
        return True

    async def matches(self, key: str, hashed: str) -> bool:
        """Compare, unless this very pair matched before."""
        if self.remembers(key, hashed):
            return True
        if not await matches(key, hashed):
            return False
        self.remember(key, hashed)
        return True


def _pair(key: str, hashed: str) -> str:
    return hashlib.sha256(f"{hashed}\n{key}".encode()).hexdigest()


def _is_match(secret: str, hashed: str) -> bool:
    try:
        return _HASHER.verify(hashed, secret)
    except (VerificationError, InvalidHashError):
        return False


KNOWN_KEYS = KnownKeys()
"""This process's: what was checked when it started need not be checked again at the first request."""

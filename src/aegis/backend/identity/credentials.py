"""Passwords and keys: hashed with argon2id, compared in constant time, remembered for a moment."""

import asyncio
import hashlib
from collections import OrderedDict

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's minimum for argon2id
_REMEMBERED = 256


def hash_secret(secret: str) -> str:
    return _HASHER.hash(secret)


class SecretChecker:
    """Checks secrets against argon2id hashes.

    A match is remembered (as a SHA-256 of both), because services ask many times a second and argon2 is slow on
    purpose. Revoking works at once all the same: the hash to compare with comes from the database every time.
    """

    def __init__(self) -> None:
        self._matched: OrderedDict[str, None] = OrderedDict()

    async def matches(self, secret: str, hashed: str) -> bool:
        """Compare in a thread, since it takes long; unless this very pair matched before."""
        remembered = hashlib.sha256(f"{hashed}\n{secret}".encode()).hexdigest()
        if remembered in self._matched:
            return True
        if not await asyncio.to_thread(_is_match, secret, hashed):
            return False
        self._matched[remembered] = None
        while len(self._matched) > _REMEMBERED:
            self._matched.popitem(last=False)
        return True


def _is_match(secret: str, hashed: str) -> bool:
    try:
        return _HASHER.verify(hashed, secret)
    except (VerificationError, InvalidHashError):
        return False


CHECKER = SecretChecker()
"""This process's: what was checked when it started need not be checked again at the first request."""

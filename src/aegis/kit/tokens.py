"""Bearer tokens: made, read from a request, and kept as hashes."""

import hashlib
import secrets

from aegis.kit.errors import UnauthenticatedError


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Hash a token of 256 random bits: nothing to guess, so a fast hash does."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer_token(authorization: str, *, hint: str) -> str:
    """Return the token of an Authorization header; UnauthenticatedError, with the hint, where there is none."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("no credential", hint=hint)
    return token

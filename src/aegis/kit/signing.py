"""Sign and check bytes with Ed25519. A key's id is the start of its public half's SHA-256."""

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class PublicKey:
    """The half that anybody may have: it checks."""

    def __init__(self, raw: bytes) -> None:
        """Take the 32 raw bytes of an Ed25519 public key; ValueError if they are not."""
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self._raw = raw
        self.id = hashlib.sha256(raw).hexdigest()[:16]

    @classmethod
    def from_text(cls, text: str) -> "PublicKey":
        """Read `to_text`'s form (base64); ValueError if it is not that."""
        return cls(base64.b64decode(text, validate=True))

    def to_text(self) -> str:
        return base64.b64encode(self._raw).decode()

    def is_signed(self, payload: bytes, signature: str) -> bool:
        try:
            self._key.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """The half that must not leave its owner: it signs."""

    def __init__(self, raw: bytes) -> None:
        """Take the 32 raw bytes of an Ed25519 private key; ValueError if they are not."""
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self.id = self.public.id

    @classmethod
    def from_text(cls, text: str) -> "PrivateKey":
        """Read 32 bytes in base64; ValueError if it is not that."""
        return cls(base64.b64decode(text, validate=True))

    def sign(self, payload: bytes) -> str:
        return base64.b64encode(self._key.sign(payload)).decode()

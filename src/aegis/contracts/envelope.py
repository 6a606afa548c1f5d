"""How signed things travel: exact bytes, who signed them, for whom. Verified before parsed."""

import base64
from collections.abc import Mapping

from pydantic import Field

from aegis.contracts.base import Contract, Name
from aegis.kit.signing import PrivateKey, PublicKey

VERSION = 1
READABLE_VERSIONS = (0, 1)
"""This version and the one before it: an order written just before an upgrade must be readable after it."""


class Envelope(Contract):
    """The signature covers version, key, cluster, audience and payload, so none can be exchanged for another."""

    version: int = Field(ge=0)
    key_id: Name
    cluster_id: Name
    audience: Name
    payload: str
    """Base64 of the exact bytes."""
    signature: str


class EnvelopeRefusedError(Exception):
    """The envelope is not for us, not from whom it says, or not as it was sent."""


def seal(payload: bytes, *, key: PrivateKey, cluster_id: str, audience: str) -> Envelope:
    """Wrap and sign `payload` for one audience in one cluster."""
    return Envelope(
        version=VERSION,
        key_id=key.id,
        cluster_id=cluster_id,
        audience=audience,
        payload=base64.b64encode(payload).decode(),
        signature=key.sign(_signed(VERSION, key.id, cluster_id, audience, payload)),
    )


def open_envelope(envelope: Envelope, *, keys: Mapping[str, PublicKey], cluster_id: str, audience: str) -> bytes:
    """Return the payload's exact bytes, if all about the envelope is right.

    Raises:
        EnvelopeRefusedError: says what is not: version, cluster, audience, key or signature.
    """
    if envelope.version not in READABLE_VERSIONS:
        raise EnvelopeRefusedError(f"envelope version {envelope.version} is not one of {READABLE_VERSIONS}")
    if envelope.cluster_id != cluster_id:
        raise EnvelopeRefusedError(f"envelope is for cluster {envelope.cluster_id}, not {cluster_id}")
    if envelope.audience != audience:
        raise EnvelopeRefusedError(f"envelope is for {envelope.audience}, not {audience}")
    key = keys.get(envelope.key_id)
    if key is None:
        raise EnvelopeRefusedError(f"envelope is signed by the unknown key {envelope.key_id}")
    payload = _decoded(envelope.payload)
    signed = _signed(envelope.version, envelope.key_id, envelope.cluster_id, envelope.audience, payload)
    if not key.is_signed(signed, envelope.signature):
        raise EnvelopeRefusedError("the signature does not match")
    return payload


def _decoded(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except ValueError as error:
        raise EnvelopeRefusedError("the payload is not base64") from error


def _signed(version: int, key_id: str, cluster_id: str, audience: str, payload: bytes) -> bytes:
    header = "\n".join(["aegis-envelope", str(version), key_id, cluster_id, audience, ""])
    return header.encode() + payload

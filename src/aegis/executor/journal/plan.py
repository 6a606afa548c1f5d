"""A plan to the byte: what the hash is over, what is encrypted and kept, and what will be sent."""

import base64
import hashlib
import os
from dataclasses import dataclass

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aegis.contracts.plans import Plan
from aegis.contracts.proposals import Proposal
from aegis.executor.ports import ExactRequest

VERSION = 1
READABLE_VERSIONS = (0, 1)
_NONCE_BYTES = 12


@dataclass(frozen=True)
class ExactPlan:
    """The requests of an action and of its undo, bound to the order whose stamp they carry."""

    order_id: str
    target_uid: str
    request: ExactRequest
    undo: ExactRequest | None
    version: int = VERSION
    """Of the document that the hash is over: one that an earlier release wrote keeps its hash."""

    def to_bytes(self) -> bytes:
        """Return the bytes that the plan's hash is over; the same plan always gives the same bytes."""
        document = {
            "version": self.version,
            "order_id": self.order_id,
            "target_uid": self.target_uid,
            "request": _document(self.request),
            "undo": _document(self.undo) if self.undo is not None else None,
        }
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True)
class KeptPlan:
    """A plan as the Executor keeps it: the proposal that was rehearsed, the exact bytes, and what people were shown.

    The hash is over the bytes alone, and not every setting of an action shows in them: the checks of an order look at
    its proposal, so the plan keeps its own to compare.
    """

    proposal: Proposal
    exact: ExactPlan
    shown: Plan


def exact_plan_from(payload: bytes) -> ExactPlan:
    """Read `to_bytes` of this release or the previous one."""
    document = orjson.loads(payload)
    if document["version"] not in READABLE_VERSIONS:
        raise ValueError(f"a plan of version {document['version']} cannot be read")
    undo = document["undo"]
    return ExactPlan(
        order_id=document["order_id"],
        target_uid=document["target_uid"],
        request=_request(document["request"]),
        undo=_request(undo) if undo is not None else None,
        version=document["version"],
    )


class PlanCipher:
    """AES-256-GCM; the plan's hash is bound in, so that no stored plan can be exchanged for another."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, plan: KeptPlan) -> bytes:
        exact = base64.b64encode(plan.exact.to_bytes()).decode()
        payload = orjson.dumps([plan.proposal.model_dump_json(), exact, plan.shown.model_dump_json()])
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, payload, plan.exact.hash.encode())

    def decrypt(self, plan_hash: str, stored: bytes) -> KeptPlan:
        """Raises cryptography's InvalidTag if the bytes are not those of that plan."""
        payload = self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], plan_hash.encode())
        proposal, exact, shown = orjson.loads(payload)
        return KeptPlan(
            Proposal.model_validate_json(proposal),
            exact_plan_from(base64.b64decode(exact)),
            Plan.model_validate_json(shown),
        )


def _document(request: ExactRequest) -> dict[str, str]:
    return {
        "method": request.method,
        "path": request.path,
        "content_type": request.content_type,
        "body": base64.b64encode(request.body).decode(),
    }


def _request(document: dict[str, str]) -> ExactRequest:
    return ExactRequest(
        document["method"], document["path"], document["content_type"], base64.b64decode(document["body"])
    )

"""Notifications as signed HTTP posts: the receiver checks with the Backend's public key who sent them."""

from dataclasses import dataclass

import httpx

from aegis.kit.clock import Clock
from aegis.kit.errors import InvalidError, TemporaryError
from aegis.kit.signing import PrivateKey

SIGNATURE_HEADER = "Aegis-Signature"
_REFUSES_THIS_ONE = frozenset({400, 413, 415, 422})
"""What a receiver says of the message itself: the same one would be refused again, and hold up all behind it."""


@dataclass(frozen=True)
class WebhookReceiver:
    http: httpx.AsyncClient
    url: str
    key: PrivateKey
    clock: Clock

    async def deliver(self, body: bytes) -> None:
        """Post it, signed over time and body.

        Raises:
            InvalidError: the receiver refuses this very message.
            TemporaryError: whatever else is not a 2xx is tried again: people must hear of it.
        """
        at = int(self.clock.now().timestamp())
        signature = self.key.sign(f"{at}.".encode() + body)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: f"t={at},key={self.key.id},ed25519={signature}",
        }
        try:
            response = await self.http.post(self.url, content=body, headers=headers, timeout=10)
        except httpx.TransportError as error:
            raise TemporaryError(f"the webhook does not answer: {error}") from error
        if response.status_code in _REFUSES_THIS_ONE:
            raise InvalidError(f"the webhook answered {response.status_code}")
        if not response.is_success:
            raise TemporaryError(f"the webhook answered {response.status_code}")

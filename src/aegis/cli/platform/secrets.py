"""The secrets that one installation needs, made strong and made once."""

import base64
import secrets
from dataclasses import dataclass, field

from aegis.kit.signing import PrivateKey
from aegis.kit.tokens import new_token, token_hash

KEY_BYTES = 32


def random_key() -> str:
    """Return 32 random bytes in base64: a key as settings and `PrivateKey` take them."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _service_key(service: str) -> str:
    return f"aegis-service.{service}.{new_token()}"


def _caller_key(service: str) -> str:
    return f"aegis-caller.{service}.{new_token()}"


@dataclass(frozen=True)
class Secrets:
    """The private half of the signing key is for the Backend only; the Executor gets the public one."""

    signing_key: str = field(default_factory=random_key)
    witness_key: str = field(default_factory=random_key)
    data_key: str = field(default_factory=random_key)
    ai_engine_key: str = field(default_factory=lambda: _service_key("ai-engine"))
    executor_key: str = field(default_factory=lambda: _service_key("executor"))
    backends_caller_key: str = field(default_factory=lambda: _caller_key("backend"))
    executors_caller_key: str = field(default_factory=lambda: _caller_key("executor"))
    """What Backend and Executor show the AI Engine."""
    alertmanager_key: str = field(default_factory=lambda: _service_key("alertmanager"))
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def public_key(self) -> str:
        return PrivateKey.from_text(self.signing_key).public.to_text()

    @property
    def witness_public_key(self) -> str:
        return PrivateKey.from_text(self.witness_key).public.to_text()

    @property
    def service_keys(self) -> str:
        """As the Backend's settings take them."""
        keys = {"ai-engine": self.ai_engine_key, "executor": self.executor_key, "alertmanager": self.alertmanager_key}
        return ",".join(f"{service}={key}" for service, key in keys.items())

    @property
    def caller_keys(self) -> str:
        """As the AI Engine's settings take them."""
        keys = {"backend": self.backends_caller_key, "executor": self.executors_caller_key}
        return ",".join(f"{caller}={token_hash(key)}" for caller, key in keys.items())

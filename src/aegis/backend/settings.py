"""What can be configured of the Backend, each with why its default is what it is."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from aegis.kit.signing import PublicKey


class BackendSettings(BaseSettings):
    """Read from the environment: `AEGIS_` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", extra="ignore")

    environment: Literal["development", "staging", "production"] = "development"
    """Production refuses any clock but the system's, and placeholder secrets."""
    host: str = "127.0.0.1"
    """Where to listen; manifests say 0.0.0.0, a laptop should not."""
    port: int = Field(default=3000, ge=1, le=65535)
    """The port number of API and metrics, from the user's document."""
    clock: str = "system"
    """`system`, or `scaled:<epoch>:<rate>` or `paced:<file>` in demos; every process must have the same."""
    log_level: Literal["debug", "info", "warning", "warn", "error"] = "info"
    """How much to say; `warn` is what the user's document writes for production."""
    log_format: Literal["json", "console"] = "json"
    """For machines by default."""
    cluster_id: str = Field(default="default", min_length=1)
    """Names the cluster in every order, so that an order for one is worth nothing in another."""
    database_url: SecretStr = SecretStr("postgresql://aegis_backend@127.0.0.1:5432/aegis_backend")
    """The Backend's own database, as a role that may not rewrite the audit trail."""
    migration_database_url: SecretStr | None = None
    """The same database as its owner; where it is given, this process migrates before it starts."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Holds only what may be lost: rate-limit counters."""
    ai_engine_url: str = "http://127.0.0.1:8000"
    """Whom to ask for the UID of a workload that a person names."""
    ai_engine_key: SecretStr
    """The caller key that the AI Engine knows the Backend by."""
    signing_key: SecretStr
    """Ed25519, 32 bytes in base64. Orders and checkpoints are signed with it; nobody else has it."""
    witness_public_key: str = ""
    """The Executor's public witness key (base64), the only one that countersigns; if not given, the first one seen."""
    service_keys: SecretStr = SecretStr("")
    """`ai-engine=<key>,executor=<key>`: the services' keys are made known at start, hashed."""
    first_admin_password: SecretStr | None = None
    """Makes the person `admin` at the first start, and is never read again."""
    order_lifetime: timedelta = Field(default=timedelta(minutes=10), le=timedelta(minutes=15))
    """How long an order may wait for a guardrail before it expires; at most 15 minutes."""
    approval_lifetime: timedelta = timedelta(minutes=15)
    """A yes is for now, not for later."""
    rehearsal_lifetime: timedelta = timedelta(minutes=5)
    """A plan older than this is of a cluster that has moved on."""
    claim_lifetime: timedelta = timedelta(seconds=60)
    """What a replica fetched and did not answer by then is handed out again."""
    silence_limit: timedelta = timedelta(minutes=15)
    """An Executor that says nothing for so long past a deadline is reported to a person."""
    step_interval: timedelta = timedelta(seconds=1)
    """How often to look for something to decide."""
    session_lifetime: timedelta = timedelta(hours=12)
    """A working day."""
    webhook_url: str = ""
    """Where notifications are posted, signed; empty means they are only kept and shown."""
    webhook_capacity: int = Field(default=1000, ge=1)
    """How many alerts one Alertmanager message may hold; one with more is refused whole rather than losing some."""

    @field_validator("witness_public_key")
    @classmethod
    def _is_a_public_key(cls, text: str) -> str:
        if text:
            try:
                PublicKey.from_text(text)
            except ValueError as error:
                raise ValueError("is not an Ed25519 public key in base64") from error
        return text

    @model_validator(mode="after")
    def _production_is_serious(self) -> Self:
        if self.environment == "production":
            if self.clock != "system":
                raise ValueError("AEGIS_CLOCK must be `system` when AEGIS_ENVIRONMENT=production")
            placeholders = [
                name
                for name in ("signing_key", "service_keys", "ai_engine_key", "database_url")
                if "CHANGE_ME" in getattr(self, name).get_secret_value().upper()
            ]
            if placeholders:
                names = ", ".join(f"AEGIS_{name.upper()}" for name in placeholders)
                raise ValueError(f"{names} still holds a placeholder: give it a secret of its own")
        return self

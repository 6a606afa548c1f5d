"""What can be configured of the AI Engine, each with why its default is what it is."""

import re
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_HASH = re.compile(r"[0-9a-f]{64}")


class AiEngineSettings(BaseSettings):
    """Read from the environment: `AEGIS_` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", extra="ignore")

    environment: Literal["development", "staging", "production"] = "development"
    """Production refuses any clock but the system's, and placeholder secrets."""
    host: str = "127.0.0.1"
    """Where to listen; manifests say 0.0.0.0, a laptop should not."""
    port: int = Field(default=8000, ge=1, le=65535)
    """The port number from the user's document."""
    clock: str = "system"
    """`system`, or `scaled:<epoch>:<rate>` or `paced:<file>` in demos; every process must have the same."""
    log_level: Literal["debug", "info", "warning", "warn", "error"] = "info"
    """How much to say."""
    log_format: Literal["json", "console"] = "json"
    """For machines by default."""
    cluster_id: str = Field(default="default", min_length=1)
    """Names the cluster in every report and target; the same in all three services."""
    database_url: SecretStr = SecretStr("postgresql://aegis_ai_engine@127.0.0.1:5432/aegis_ai_engine")
    """The AI Engine's own database: incidents it follows, what it has learned, what must still be told."""
    migration_database_url: SecretStr | None = None
    """The same database as its owner; where it is given, this process migrates before it starts."""
    backend_url: str = "http://127.0.0.1:3000"
    """Whom to report incidents and proposals to."""
    backend_key: SecretStr
    """The service key that the Backend knows the AI Engine by."""
    caller_keys: str = ""
    """`backend=<hash>,executor=<hash>`: who may call, by the SHA-256 (hex) of a key of their own; empty means nobody.

    A key is 32 random bytes or more, so a fast hash does, and the AI Engine cannot call anybody in another's name.
    """
    kubeconfig: str = ""
    """A kubeconfig file; empty means the service account of the pod we run in."""
    prometheus_url: str = ""
    """Anything that speaks Prometheus' HTTP API; empty means the Kubernetes API and metrics-server alone."""
    prometheus_token: SecretStr | None = None
    """A bearer token, where the metrics system asks for one."""
    metrics_interval: timedelta = Field(default=timedelta(seconds=15), ge=timedelta(seconds=1))
    """How often to ask for the newest signals: what most systems scrape at. Older than three of these is missing."""
    step_interval: timedelta = timedelta(seconds=5)
    """How often to look at objects and conclude: Kubernetes shows most faults within seconds."""
    snapshot_interval: timedelta = timedelta(seconds=60)
    """How much learning a killed process may lose."""
    backfill: timedelta = timedelta(hours=1)
    """How much past to learn from at the first start, so that it can speak at once."""
    watch_timeout: timedelta = Field(default=timedelta(seconds=30), ge=timedelta(seconds=5))
    """After this a watch is begun anew, so that a connection that died silently is noticed (real time)."""

    @model_validator(mode="after")
    def _production_is_serious(self) -> Self:
        if self.environment != "production":
            return self
        if self.clock != "system":
            raise ValueError("AEGIS_CLOCK must be `system` when AEGIS_ENVIRONMENT=production")
        placeholders = [
            f"AEGIS_{name.upper()}"
            for name in ("backend_key", "database_url")
            if "CHANGE_ME" in getattr(self, name).get_secret_value().upper()
        ]
        if placeholders:
            raise ValueError(f"{', '.join(placeholders)} still holds a placeholder: give it a secret of its own")
        return self

    @field_validator("caller_keys")
    @classmethod
    def _are_hashes(cls, given: str) -> str:
        for name, hashed in _pairs(given):
            if not name or not _HASH.fullmatch(hashed):
                raise ValueError(f"{name or 'a caller'} needs the SHA-256 of a key, 64 hexadecimal digits")
        return given

    @property
    def callers(self) -> dict[str, str]:
        """Return who may call: the hash of each one's key, by name."""
        return dict(_pairs(self.caller_keys))

    @property
    def stale_after(self) -> timedelta:
        """What is older than three metric steps is out of date."""
        return self.metrics_interval * 3

    @property
    def cluster_stale_after(self) -> timedelta:
        """A watch that was begun anew in time has been heard of by then, however quiet the cluster is."""
        return self.watch_timeout * 1.5


def _pairs(setting: str) -> list[tuple[str, str]]:
    """Read `name=hash,name=hash`."""
    pairs = (part.partition("=") for part in setting.split(",") if part.strip())
    return [(name.strip(), hashed.strip().lower()) for name, _, hashed in pairs]

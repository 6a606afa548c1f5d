"""What can be configured of the Executor. No setting, role or policy makes it ignore a guardrail."""

import base64
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DATA_KEY_BYTES = 32

PROTECTED_NAMESPACES = (
    "kube-*", "aegis", "aegis-*", "monitoring", "prometheus*", "argocd", "argo-*", "flux-system", "cert-manager",
    "ingress-nginx", "calico-*", "cilium*", "tigera-*", "istio-system", "linkerd*", "gatekeeper-system", "kyverno",
    "openshift-*", "cattle-*",
)  # fmt: skip


class ExecutorSettings(BaseSettings):
    """Read from the environment: `AEGIS_` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", extra="ignore")

    environment: Literal["development", "staging", "production"] = "development"
    """Production refuses any clock but the system's, and placeholder secrets."""
    host: str = "127.0.0.1"
    """Where health, metrics and read-only status are served; no command is accepted there."""
    port: int = Field(default=4000, ge=1, le=65535)
    """The port number from the user's document."""
    clock: str = "system"
    """`system`, or `scaled:<epoch>:<rate>` or `paced:<file>` in demos; every process must have the same."""
    log_level: Literal["debug", "info", "warning", "warn", "error"] = "info"
    """How much to say."""
    log_format: Literal["json", "console"] = "json"
    """For machines by default."""
    replica: str = "executor-0"
    """This replica's name, in claims and logs; the pod's name in a cluster."""
    cluster_id: str = Field(default="default", min_length=1)
    """Orders for any other cluster are refused."""
    database_url: SecretStr = SecretStr("postgresql://aegis_executor@127.0.0.1:5432/aegis_executor")
    """The Executor's own database: plans, journal, reservations."""
    migration_database_url: SecretStr | None = None
    """The same database as its owner; where it is given, this process migrates before it starts."""
    backend_url: str = "http://127.0.0.1:3000"
    """Where rehearsals and orders are fetched from."""
    backend_key: SecretStr
    """The service key that the Backend knows the Executor by."""
    ai_engine_url: str = "http://127.0.0.1:8000"
    """Whom to ask whether the signals are back to usual."""
    ai_engine_key: SecretStr
    """The caller key that the AI Engine knows the Executor by."""
    order_keys: str
    """The public keys (base64, comma-separated) whose orders are carried out: the Backend's, old and new."""
    witness_key: SecretStr
    """Ed25519, 32 bytes in base64: countersigns the Backend's audit checkpoints."""
    data_key: SecretStr
    """32 bytes in base64: plans hold values of the cluster, so they are encrypted at rest."""
    kubeconfig: str = ""
    """A kubeconfig file; empty means the service account of the pod we run in."""
    own_namespace: str = "aegis"
    """Where the ConfigMap with the operator's pause and guardrails is."""
    guardrails_config_map: str = "aegis-guardrails"
    """Keys: `paused`, `freeze`, `policy-floor`, `approver-keys`. Whoever has kubectl can stop us with it."""
    namespaces: str = "*"
    """Shell patterns, comma-separated: nothing outside is touched, whatever its labels say."""
    protected_namespaces: str = ",".join(PROTECTED_NAMESPACES)
    """Shell patterns, comma-separated: never touched, whatever their labels say."""
    metrics_step: timedelta = timedelta(seconds=15)
    """The interval of the signals; a proposal on data older than three of them is inconclusive."""
    cooldown: timedelta = timedelta(minutes=5)
    """Quiet time per owner and action after an action."""
    budget: int = Field(default=5, ge=1)
    """How many actions may be taken in the whole cluster within `budget_window`."""
    budget_window: timedelta = timedelta(minutes=10)
    """See `budget`."""
    storm_minimum: int = Field(default=5, ge=1)
    """Fewer unhealthy workloads than this are never a storm."""
    storm_share: float = Field(default=0.3, gt=0, le=1)
    """Unhealthy workloads, as a share of all, at which Aegis stops acting and calls a person."""
    storm_quiet: timedelta = timedelta(minutes=5)
    """How long it has to be quiet before a storm is over."""
    disturb_share: float = Field(default=0.25, gt=0, le=1)
    """The share of a workload's healthy pods that may be taken away at once (but always one)."""
    healthy_minimum: float = Field(default=0.51, ge=0, le=1)
    """The share of a workload's healthy pods that must be left while an action disturbs it."""
    fetch_wait: timedelta = timedelta(seconds=1)
    """How long (real time) one long poll waits at the Backend."""
    step_interval: timedelta = timedelta(seconds=1)
    """How often to look at what is under way."""
    look_interval: timedelta = timedelta(seconds=5)
    """How often a blocked or settling order is looked at."""
    monitor_interval: timedelta = timedelta(seconds=10)
    """How often the whole cluster's health is read for the storm brake."""
    claim_lifetime: timedelta = timedelta(seconds=60)
    """After this, another replica takes over what a dead one left."""

    @property
    def held_interval(self) -> timedelta:
        """How often what is held is looked at."""
        return 6 * self.look_interval

    @property
    def longest_wait(self) -> timedelta:
        """After so long at the latest everything that is under way is looked at again."""
        return max(self.claim_lifetime, self.held_interval)

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if self.environment == "production":
            if self.clock != "system":
                raise ValueError("AEGIS_CLOCK must be `system` when AEGIS_ENVIRONMENT=production")
            secrets = ("backend_key", "ai_engine_key", "witness_key", "data_key")
            left = [name for name in secrets if "CHANGE_ME" in getattr(self, name).get_secret_value().upper()]
            if left:
                names = ", ".join(f"AEGIS_{name.upper()}" for name in left)
                raise ValueError(f"{names} still holds a placeholder: give it a secret of its own")
        if len(base64.b64decode(self.data_key.get_secret_value())) != DATA_KEY_BYTES:
            raise ValueError(f"AEGIS_DATA_KEY must be {DATA_KEY_BYTES} bytes in base64")
        return self

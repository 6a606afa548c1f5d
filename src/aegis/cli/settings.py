"""What can be configured of the command line."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class CliSettings(BaseSettings):
    """Read from the environment: `AEGIS_` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", extra="ignore")

    url: str = ""
    """The Backend's address; empty means the one that `aegis login` or `aegis up` remembered."""
    token: str = ""
    """A session's token; empty means the remembered one."""
    home: Path = Path.home() / ".aegis"
    """Where sessions are remembered, readable by nobody else."""
    own_namespace: str = "aegis"
    """The Executor's: where its ConfigMap of the operator's guardrails is."""
    guardrails_config_map: str = "aegis-guardrails"
    """The Executor's, too: the name of that ConfigMap."""

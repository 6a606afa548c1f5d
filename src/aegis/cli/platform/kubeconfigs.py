"""What people give as `--kubeconfig`: one file for all services, or a folder with one for each."""

from pathlib import Path

from aegis.catalogue.rbac import RULES_OF
from aegis.kit.errors import InvalidError


def kubeconfig_of(service: str, given: Path) -> Path:
    return given / f"{service}.kubeconfig" if given.is_dir() else given


def refuse_missing(given: Path) -> None:
    """Raise InvalidError unless there is one for each service that works on a cluster."""
    wanted = dict.fromkeys(kubeconfig_of(service, given) for service in RULES_OF)
    missing = [str(file) for file in wanted if not file.is_file()]
    if missing:
        raise InvalidError(
            f"there is no kubeconfig {', '.join(missing)}",
            field="--kubeconfig",
            value=str(given),
            hint="docs/guides/real-cluster.md says how to make one for each service.",
        )

"""What people give as `--kubeconfig`: one file for all services, or a folder with one for each."""

from pathlib import Path

import yaml

from aegis.catalogue.rbac import RULES_OF
from aegis.cli.files import read_text
from aegis.kit.errors import InvalidError

_NEEDED = ("clusters", "contexts", "users", "current-context")


def kubeconfig_of(service: str, given: Path) -> Path:
    return given / f"{service}.kubeconfig" if given.is_dir() else given


def refuse_missing(given: Path) -> None:
    """Raise InvalidError unless there is one for each service that works on a cluster, with all that it needs."""
    wanted = dict.fromkeys(kubeconfig_of(service, given) for service in RULES_OF)
    missing = [str(file) for file in wanted if not file.is_file()]
    if missing:
        raise InvalidError(
            f"there is no kubeconfig {', '.join(missing)}",
            field="--kubeconfig",
            value=str(given),
            hint="docs/guides/real-cluster.md says how to make one for each service.",
        )
    for file in wanted:
        _refuse_incomplete(file)


def _refuse_incomplete(file: Path) -> None:
    try:
        found = yaml.safe_load(read_text(file, "--kubeconfig"))
    except yaml.YAMLError as error:
        raise _no_kubeconfig(file, f"it is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise _no_kubeconfig(file, f"it must be an object with {', '.join(_NEEDED)}")
    missing = [name for name in _NEEDED if not found.get(name)]
    if missing:
        raise _no_kubeconfig(file, f"it lacks {', '.join(missing)}")


def _no_kubeconfig(file: Path, why: str) -> InvalidError:
    return InvalidError(
        f"cannot read {file} as a kubeconfig: {why}", field="--kubeconfig", value=str(file),
        hint=f"`kubectl --kubeconfig {file} get namespaces` should work with the same file.",
    )  # fmt: skip

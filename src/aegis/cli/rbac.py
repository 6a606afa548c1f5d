"""The command `aegis rbac`: what the services must be allowed to do on a cluster."""

import sys
from typing import Annotated

import typer
import yaml

from aegis.catalogue import rbac as catalogue
from aegis.cli.output import Format, Output, print_json


def rbac(
    namespace: Annotated[str, typer.Option(help="Where the service accounts live.")] = "aegis",
    output: Output = Format.TABLE,
) -> None:
    """Print service accounts and roles for `kubectl apply -f -`: what the actions need, and nothing else."""
    found = catalogue.manifests(namespace=namespace)
    if output is Format.JSON:
        print_json({"apiVersion": "v1", "kind": "List", "items": found})
    else:
        sys.stdout.write(yaml.safe_dump_all(found, sort_keys=False))

"""Which kubectl people can use here: the one on PATH, else the one that `make kubectl` built."""

import shutil
import sys
from pathlib import Path

BUILT = Path(sys.prefix) / "tools" / "kubectl"
"""`.venv/tools/kubectl`, where the Makefile wants it."""


def find_kubectl(built: Path = BUILT) -> str | None:
    """Return what to type for it, or None where there is none."""
    if shutil.which("kubectl"):
        return "kubectl"
    return str(built) if shutil.which(built) else None

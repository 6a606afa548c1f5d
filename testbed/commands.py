"""Programs of this machine, run to their end: what they said stands in the error if they fail."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed.errors import TestbedError

SHOWN = 3000


def run(command: Sequence[str | Path], *, folder: Path | None = None) -> str:
    """Run a command and return what it printed."""
    texts = [str(part) for part in command]
    done = subprocess.run(texts, check=False, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise TestbedError(f"`{' '.join(texts)}` failed: {said[-SHOWN:]}")
    return done.stdout

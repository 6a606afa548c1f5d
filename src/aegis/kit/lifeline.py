"""Children that do not outlive us, however we end: even a kill that nobody can catch leaves nothing behind."""

import signal
import subprocess
from pathlib import Path

_WATCH = """
while read -r _; do :; done
kill -"$1" "$2"
[ -z "$3" ] && exit
tries=100
while kill -0 "$2" && [ "$tries" -gt 0 ]; do tries=$((tries - 1)); sleep 0.1; done
rm -rf -- "$3"
"""
"""The shell reads until the other end of its pipe is closed, as the system does for a process that is no more."""


class Lifeline:
    """Holds a child; when this process ends without `let_go`, the child is sent a signal, and its folder removed."""

    def __init__(self, pid: int, number: signal.Signals, *, folder: Path | None = None) -> None:
        # In a session of its own: a Ctrl-C in a terminal is for us, and we tell our children.
        self._watcher = subprocess.Popen(  # noqa: S603 (a fixed script)
            ["/bin/sh", "-c", _WATCH, "lifeline", str(number.value), str(pid), str(folder or "")],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def let_go(self) -> None:
        """The child has ended, or is looked after by somebody else."""
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()

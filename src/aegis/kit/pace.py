"""A fast clock that several processes share, and that one of them may slow down while it runs."""

import asyncio
import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

# Serial number, the machine's seconds, the clock's seconds at that moment, rate; and the serial number once more.
_LAYOUT = struct.Struct("=QdddQ")
_LONGEST_NAP_S = 0.25


class PacedClock:
    """Reads what a `Pace` in another process has set.

    The clock never stands still and never jumps: a new rate counts from the moment it is set.
    """

    def __init__(self, file: Path) -> None:
        """Open the file that a `Pace` has made.

        Raises:
            ValueError: there is no such file, or it is not one.
        """
        try:
            with file.open("rb") as opened:
                self._shared = mmap.mmap(opened.fileno(), _LAYOUT.size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ValueError(f"clock file {file} cannot be read: {error}") from error

    def now(self) -> datetime:
        machine, reached, rate = _read(self._shared)
        return datetime.fromtimestamp(reached + (time.time() - machine) * rate, UTC)

    async def sleep(self, duration: timedelta) -> None:
        end = self.now() + duration
        # In naps, as the rate may change meanwhile.
        while (left_s := (end - self.now()).total_seconds()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left_s / _read(self._shared)[2], _LONGEST_NAP_S))


class Pace:
    """Sets how fast everybody's `PacedClock` runs; one process at a time may change it."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), _LAYOUT.size)

    @classmethod
    def begin(cls, file: Path, *, epoch: float, rate: float) -> "Pace":
        """Make the file; the clock shows `epoch` (seconds since 1970) as of now."""
        file.write_bytes(_LAYOUT.pack(1, time.time(), epoch, rate, 1))
        return cls(file)

    @property
    def rate(self) -> float:
        return _read(self._shared)[2]

    def change(self, rate: float) -> None:
        """Run at another rate from this moment on."""
        now = time.time()
        serial = int(_LAYOUT.unpack(self._shared[:])[0]) + 1
        machine, reached, old = _read(self._shared)
        self._shared[:] = _LAYOUT.pack(serial, now, reached + (now - machine) * old, rate, serial)


def _read(shared: mmap.mmap) -> tuple[float, float, float]:
    while True:
        before, machine, reached, rate, after = _LAYOUT.unpack(shared[:])
        if before == after:  # else it is being written at this very moment
            return machine, reached, rate

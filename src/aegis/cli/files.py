"""Files and folders that people name: what cannot be read or written is told in words."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from aegis.kit.errors import InvalidError


@contextlib.contextmanager
def told(file: Path, what: str, field: str) -> Iterator[None]:
    """Say of a file that it cannot be read (or written), and why."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InvalidError(f"cannot {what} {file}: it is not UTF-8 text", field=field, value=str(file)) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidError(f"cannot {what} {file}: {why}", field=field, value=str(file)) from error


def read_text(file: Path, field: str = "file") -> str:
    with told(file, "read", field):
        return file.read_text(encoding="utf-8")


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """Write beside a file and take its place when all is written; until then, and if it fails, it stays as it is."""
    if file.exists() and not file.is_file():  # a pipe or a device has nothing to lose, and no place beside it
        with file.open("wb") as out:
            yield out
        return
    file = file.resolve()
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if file.exists():
            shutil.copymode(file, beside)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def writable_folder(folder: Path, field: str) -> Path:
    """Return a folder that is there by now, and in which files can be made."""
    with told(folder, "write to", field):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".aegis"
        probe.touch()
        probe.unlink()
    return folder

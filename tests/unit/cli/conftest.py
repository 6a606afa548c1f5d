"""The commands, run as people run them, against a Backend on a real port."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.running import Running, running
from tests.servers import KEYS, Templates
from tests.services.backend.rig import Rig
from typer.testing import CliRunner

from aegis.cli.main import app
from aegis.kit.database import Database
from aegis.kit.signing import PrivateKey
from aegis.simulator.together.people import token_of


@dataclass
class Cli:
    """`run("status")` is what `aegis status` prints, as somebody who is logged in."""

    home: Path
    url: str = ""

    def run(self, *arguments: str, name: str = "ada", **environment: str) -> Result:
        given = {"AEGIS_HOME": str(self.home), "AEGIS_URL": self.url, "AEGIS_TOKEN": token_of(name) if name else ""}
        return CliRunner().invoke(app, arguments, env=given | {"COLUMNS": "200"} | environment)

    def tells(self, *arguments: str, name: str = "ada") -> str:
        """Return what a command that must succeed prints."""
        result = self.run(*arguments, name=name)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str, name: str = "ada") -> Any:
        """Return the one JSON document that a command prints."""
        return json.loads(self.tells(*arguments, "--output", "json", name=name))

    def refuses(self, *arguments: str, name: str = "ada") -> str:
        """Return what a command that must fail says on standard error."""
        result = self.run(*arguments, name=name)
        assert result.exit_code == 1, result.output
        told = " ".join(result.stderr.split())
        assert "error: " in told, result.output
        return told


@dataclass
class Installed(Cli):
    """With a Backend to talk to, and `rig` to let things happen there."""

    rig: Rig = None  # type: ignore[assignment]
    service: Running = None  # type: ignore[assignment]

    def do(self, story: Any) -> Any:
        return self.service.do(story)


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """Without a Backend."""
    return Cli(tmp_path / "home")


@pytest.fixture
def cli(templates: Templates, tmp_path: Path) -> Iterator[Installed]:
    url = asyncio.run(templates.backend())
    database = Database(url, pool_size=3)
    rig = Rig(database)

    async def close() -> None:
        await rig.close()
        await database.close()

    with running(rig.backend.app, close=close) as service:
        yield Installed(tmp_path / "home", service.url, rig, service)
    asyncio.run(templates.drop(url))


Answering = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def answering() -> Answering:
    """Return how to start something that is no Backend: it gives the same answer to every question."""
    return _answering


@contextlib.contextmanager
def _answering(
    body: str, *, status: int = 200, content_type: str = "text/html", length: int | None = None
) -> Iterator[str]:
    """Yield the address; a `length` other than the body's is an answer that breaks off."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def public_key() -> str:
    return PrivateKey.from_text(KEYS.signing).public.to_text()

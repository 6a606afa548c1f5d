"""The commands, run as people run them, against a Backend on a real port."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
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


@pytest.fixture
def public_key() -> str:
    return PrivateKey.from_text(KEYS.signing).public.to_text()

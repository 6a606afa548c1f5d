"""Which kubectl is used: `make kubectl` and `aegis up` say it."""

import subprocess
from pathlib import Path

import pytest

from aegis.cli.platform.kubectl import BUILT, find_kubectl
from aegis.cli.up import _break_and_watch

REPOSITORY = Path(__file__).parents[3]
SCRIPT = REPOSITORY / "scripts" / "kubectl.sh"


def program(folder: Path) -> Path:
    """Put something that can be run as kubectl into a folder."""
    folder.mkdir(parents=True)
    file = folder / "kubectl"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def printed(tools: Path, *path: Path) -> str:
    where = ":".join(map(str, (*path, "/usr/bin", "/bin")))
    made = subprocess.run(["bash", SCRIPT, tools], env={"PATH": where}, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def test_the_script_says_which_kubectl_is_used(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin")

    assert printed(tmp_path / "tools", on_path.parent) == f"kubectl: {on_path}, on PATH"

    built = program(tmp_path / "tools")
    assert printed(built.parent) == f"kubectl: {built}"
    assert printed(built.parent, on_path.parent) == f"kubectl: {built}"


def test_what_people_are_to_type_is_the_path_of_the_one_that_was_built_where_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_kubectl(tmp_path / "tools" / "kubectl") is None

    built = program(tmp_path / "tools")
    assert find_kubectl(built) == str(built)
    lines = _break_and_watch(str(built), tmp_path, "shop", "web")
    assert f"{built} label namespace shop aegis.dev/mode=auto" in lines
    assert any(line.startswith(f"{built} -n shop set image deployment/web") for line in lines)

    program(tmp_path / "bin")
    assert find_kubectl(built) == "kubectl"


def test_the_readme_says_where_the_one_that_is_built_is() -> None:
    assert "`.venv/tools/kubectl`" in (REPOSITORY / "README.md").read_text()
    assert BUILT.parts[-2:] == ("tools", "kubectl")

"""What is built stays, what was cut short does not count, and a build that fails says why. Go is a pretend one here."""

from pathlib import Path

import pytest

from testbed import errors
from testbed.layout import UNFINISHED, Cache
from testbed.programs import ADDONS, ETCD, KWOK, ensure_programs

GO_THAT_BUILDS = r"""#!/bin/sh
echo "$@" >> "$0.asked"
while [ "$1" != "-o" ]; do shift; done
echo "go: downloading example.com/thing v1.0.0" >&2
for package in "$@"; do case $package in */v3) echo built > "$2/server";; */kwok) echo built > "$2/kwok";; esac; done
"""
GO_THAT_FAILS = """#!/bin/sh
echo "main.go:7:2: undefined: Everything" >&2
exit 1
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    folder = tmp_path / "cache"
    folder.mkdir()
    return Cache(folder)


def pretend_go(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    go = folder / "bin" / "go"
    go.parent.mkdir()
    go.write_text(script)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    return go


def test_only_what_is_missing_is_built_and_each_program_has_its_name(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = pretend_go(GO_THAT_BUILDS, tmp_path, monkeypatch)
    said: list[str] = []

    ensure_programs(cache, ADDONS, [ETCD], said.append)
    folder = ensure_programs(cache, ADDONS, [ETCD, KWOK], said.append)

    assert sorted(each.name for each in folder.iterdir()) == [ETCD, KWOK]
    first, second = Path(f"{go}.asked").read_text().splitlines()
    assert "etcd" in first
    assert "etcd" not in second
    assert said[0].startswith("building etcd from modules/addons")


def test_a_build_that_fails_says_what_go_said_and_leaves_nothing(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_go(GO_THAT_FAILS, tmp_path, monkeypatch)

    with pytest.raises(errors.TestbedError, match="undefined: Everything"):
        ensure_programs(cache, ADDONS, [ETCD], [].append)

    assert [each for each in cache.folder.rglob("*") if each.is_file()] == []


def test_what_is_not_whole_yet_has_a_name_by_which_it_is_found_again(cache: Cache) -> None:
    with cache.unfinished() as folder:
        assert folder.parent == cache.folder
        assert folder.name.startswith(UNFINISHED)

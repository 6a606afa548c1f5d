"""No command ends in a traceback because of a file or a folder that somebody named."""

from pathlib import Path

import pytest
import yaml
from tests.unit.cli.conftest import Answering, Cli

from aegis.kit.embedded import free_port

BINARY = b"\xff\xfe\x00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`binary` is no text, `file` is no folder, `stories` and `labels` hold what is no text."""
    (tmp_path / "binary").write_bytes(BINARY)
    (tmp_path / "binary").chmod(0o600)
    (tmp_path / "file").touch()
    (tmp_path / "stories" / "01-x").mkdir(parents=True)
    (tmp_path / "stories" / "01-x" / "story.yaml").write_bytes(BINARY)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "labels.json").write_bytes(BINARY)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("policies test {}/binary", "cannot read {}/binary: it is not UTF-8 text"),
        ("policies test {}", "cannot read {}: Is a directory"),
        ("policies save {}/none", "cannot read {}/none: No such file"),
        ("audit export {}/none/x", "cannot write {}/none/x: No such file"),
        ("audit verify {} --key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "cannot read {}: Is a directory"),
        ("audit verify {}/file --key {}/binary", "--key '{}/binary' is not an Ed25519 public key"),
        ("approver-keys new ann {}/file/x", "cannot write {}/file/x: Not a directory"),
        ("approver-keys show ann {}/binary", "cannot read {}/binary: it is not UTF-8 text"),
        ("replay {}/labels", "cannot read {}/labels/labels.json: it is not UTF-8 text"),
        ("replay {}/binary", "is no recording: Not a gzipped file"),
        ("demo --examples {}/stories", "cannot read {}/stories/01-x/story.yaml: it is not UTF-8 text"),
        ("demo --examples examples --keep {}/file/x", "cannot write to {}/file/x: Not a directory"),
        ("up --logs {}/file", "cannot write to {}/file: "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_words(alone: Cli, folder: Path, command: str, said: str) -> None:
    told = alone.refuses(*command.replace("{}", str(folder)).split())

    assert said.replace("{}", str(folder)) in told


def test_an_export_that_fails_or_breaks_off_leaves_the_earlier_one(
    alone: Cli, tmp_path: Path, answering: Answering
) -> None:
    file = tmp_path / "trail"
    file.write_text("the earlier one")

    alone.url = f"http://127.0.0.1:{free_port()}"
    assert "no answer" in alone.refuses("audit", "export", str(file))
    with answering('{"entry": {}}\n', content_type="application/x-ndjson", length=1000) as alone.url:
        assert "no answer" in alone.refuses("audit", "export", str(file))

    assert file.read_text() == "the earlier one"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_takes_the_earlier_ones_place_and_rights(alone: Cli, tmp_path: Path, answering: Answering) -> None:
    file, link = tmp_path / "trail", tmp_path / "link"
    file.touch(mode=0o600)
    link.symlink_to(file)

    with answering('{"entry": {}}\n', content_type="application/x-ndjson") as alone.url:
        alone.tells("audit", "export", str(link))
        alone.tells("audit", "export", "/dev/null")

    assert (file.read_text(), file.stat().st_mode & 0o777) == ('{"entry": {}}\n', 0o600)
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_a_cluster_that_does_not_answer_is_told_before_anything_is_started(alone: Cli, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    server = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{free_port()}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "x"}}
    config = {"current-context": "c", "clusters": [server], "contexts": [context], "users": [user]}
    file.write_text(yaml.safe_dump(config))

    told = alone.refuses("up", "--kubeconfig", str(file))

    assert f"error: {file}: the API server does not answer" in told
    assert f"hint: `kubectl --kubeconfig {file} get namespaces` should work" in told

"""What people ask the testbed for, and what it is built of."""

from pathlib import Path

import pytest

from testbed import __main__ as command_line
from testbed import errors
from testbed.layout import Cache, State
from testbed.programs import (
    ADDONS,
    CONTROL_PLANE,
    COREDNS,
    ETCD,
    KUBE_ROUTER,
    KUBECTL,
    KWOK,
    METRICS_SERVER,
    NODE,
    PROVISIONER,
    RELEASES,
    VOLUMES,
)


def test_up_is_the_newest_release_with_a_node_and_its_addons() -> None:
    command, name, wanted = command_line.parse(["up"])

    assert (command, name) == ("up", None)
    assert str(wanted) == "Kubernetes v1.37.2: control plane, one node, add-ons"


def test_an_older_release_and_pretend_nodes_are_had_for_the_asking() -> None:
    _, _, wanted = command_line.parse(["up", "--release", "1.28", "--control-plane-only", "--kwok-nodes", "5"])

    assert str(wanted) == "Kubernetes v1.28.15: control plane, 5 pretend nodes"


@pytest.mark.parametrize("arguments", [["up", "--release", "1.5"], ["up", "--kwok-nodes", "-1"], ["sideways"]])
def test_what_is_not_to_be_had_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command_line.parse(arguments)

    assert refused.value.code == 2


def test_logs_are_asked_for_by_name() -> None:
    assert command_line.parse(["logs", "kubelet"])[:2] == ("logs", "kubelet")


def test_an_archive_that_is_not_there_is_not_imported(tmp_path: Path) -> None:
    testbed = command_line.Testbed(Cache(tmp_path / "cache"), State(tmp_path / "state"))

    with pytest.raises(errors.TestbedError, match=r"there is no archive .*missing\.tar"):
        testbed.bring(tmp_path / "missing.tar")


def test_an_image_is_brought_to_a_cluster_that_is_up_and_to_no_other(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.touch()
    testbed = command_line.Testbed(Cache(tmp_path / "cache"), State(tmp_path / "state"))

    with pytest.raises(errors.TestbedError, match="no cluster is up"):
        testbed.bring(archive)


def test_logs_of_a_cluster_that_never_was_are_refused_by_name(tmp_path: Path) -> None:
    testbed = command_line.Testbed(Cache(tmp_path / "cache"), State(tmp_path / "state"))

    with pytest.raises(errors.TestbedError, match="no log of kubelet"):
        testbed.logs("kubelet")


def test_the_log_of_an_addon_is_found_as_that_of_a_program_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = State(tmp_path)
    state.logs.mkdir()
    (state.logs / "kubelet.log").write_text("the kubelet's\n")
    coredns = state.pod_logs / "kube-system_coredns-1_uid" / "coredns"
    coredns.mkdir(parents=True)
    (coredns / "0.log").write_text("that of DNS\n")

    command_line.Testbed(Cache(tmp_path), state).logs("coredns")

    shown = capsys.readouterr().out
    assert "that of DNS" in shown
    assert "the kubelet's" not in shown


def test_every_program_is_pinned_by_a_module() -> None:
    for release in RELEASES.values():
        assert set(release.module.packages()) == {KUBECTL, *CONTROL_PLANE, *NODE}
    assert set(ADDONS.packages()) == {ETCD, KUBE_ROUTER, KWOK, COREDNS, METRICS_SERVER}
    assert set(VOLUMES.packages()) == {PROVISIONER}


def test_each_module_has_a_place_of_its_own_in_the_cache() -> None:
    modules = [ADDONS, VOLUMES, *(release.module for release in RELEASES.values())]

    keys = {module.key() for module in modules}

    assert len(keys) == len(modules)
    assert {len(key) for key in keys} == {16}


def test_kubernetes_programs_are_told_which_release_they_are() -> None:
    for release in RELEASES.values():
        assert f"k8s.io/component-base/version.gitVersion={release.version}" in release.module.linker_flags()
    assert ADDONS.linker_flags() == "-s -w"

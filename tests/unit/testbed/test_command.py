"""What people ask the testbed for, and what it is built of."""

import pytest

from testbed.__main__ import parse
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
    command, name, wanted = parse(["up"])

    assert (command, name) == ("up", None)
    assert str(wanted) == "Kubernetes v1.37.2: control plane, one node, add-ons"


def test_an_older_release_and_pretend_nodes_are_had_for_the_asking() -> None:
    _, _, wanted = parse(["up", "--release", "1.28", "--control-plane-only", "--kwok-nodes", "5"])

    assert str(wanted) == "Kubernetes v1.28.15: control plane, 5 pretend nodes"


@pytest.mark.parametrize("arguments", [["up", "--release", "1.5"], ["up", "--kwok-nodes", "-1"], ["sideways"]])
def test_what_is_not_to_be_had_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(arguments)

    assert refused.value.code == 2


def test_logs_are_asked_for_by_name() -> None:
    assert parse(["logs", "kubelet"])[:2] == ("logs", "kubelet")


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

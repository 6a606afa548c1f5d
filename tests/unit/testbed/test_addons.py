"""The add-ons' manifests, what Prometheus is told to scrape, and the stand-in for kube-state-metrics."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from aegis.catalogue.signals import PREFIX, SIGNALS
from testbed.addons import MANIFESTS, RECORDING_RULES, prometheus_config
from testbed.images import program_image
from testbed.kwok import node
from testbed.layout import DNS_ADDRESS, State
from testbed.node import kubelet_config
from testbed.programs import COREDNS, METRICS_SERVER, PROVISIONER, RELEASES
from testbed.state_metrics import owners, restarts, targets

LABELS = {
    "workload": {"namespace", "kind", "workload"},
    "revision": {"namespace", "kind", "workload", "revision"},
    "call": {"namespace", "kind", "workload", "peer_namespace", "peer_kind", "peer_workload"},
}


def manifests() -> list[dict[str, Any]]:
    return [each for file in sorted(MANIFESTS.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]


def containers(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RECORDING_RULES.read_text())["groups"]
    return group["rules"]


def test_every_manifest_is_an_object_with_a_name() -> None:
    for manifest in manifests():
        assert manifest["apiVersion"]
        assert manifest["kind"]
        assert manifest["metadata"]["name"]


def test_addons_run_images_that_are_made_here_and_are_never_pulled() -> None:
    found = [one for manifest in manifests() for one in containers(manifest)]

    assert {one["image"] for one in found} == {program_image(each) for each in (COREDNS, METRICS_SERVER, PROVISIONER)}
    assert {one["imagePullPolicy"] for one in found} == {"Never"}


def test_dns_has_the_address_that_the_kubelet_tells_to_pods() -> None:
    (service,) = (one for one in manifests() if one["kind"] == "Service" and one["metadata"]["name"] == "kube-dns")

    assert service["spec"]["clusterIP"] == DNS_ADDRESS


def test_everybody_who_is_given_rights_is_given_a_role_that_exists() -> None:
    roles = {(one["kind"], one["metadata"]["name"]) for one in manifests() if one["kind"].endswith("Role")}
    builtin = {("ClusterRole", "system:auth-delegator"), ("Role", "extension-apiserver-authentication-reader")}

    bound = {(one["roleRef"]["kind"], one["roleRef"]["name"]) for one in manifests() if one["kind"].endswith("Binding")}

    assert bound <= roles | builtin


def test_every_recorded_signal_is_one_that_the_ai_engine_knows_with_its_labels() -> None:
    known = {signal.metric: LABELS[signal.scope] for signal in SIGNALS}
    recorded = [rule for rule in rules() if rule["record"].startswith(PREFIX)]

    assert len(recorded) == 10
    for rule in recorded:
        grouped = [set(re.split(r",\s*", found)) for found in re.findall(r"by \(([^)]*)\)", rule["expr"])]
        assert grouped
        assert all(labels == known[rule["record"]] for labels in grouped), rule["record"]


def test_prometheus_scrapes_the_kubelet_with_the_rules_loaded(tmp_path: Path) -> None:
    config = yaml.safe_load(yaml.safe_dump(prometheus_config(State(tmp_path))))

    jobs = {each["job_name"]: each for each in config["scrape_configs"]}
    assert jobs["kubelet/cadvisor"]["metrics_path"] == "/metrics/cadvisor"
    assert jobs["kubelet/cadvisor"]["tls_config"]["ca_file"] == f"{tmp_path}/certificates/ca.crt"
    assert config["rule_files"] == [str(State(tmp_path).recording_rules)]


@pytest.mark.parametrize(("release", "told"), [("1.37", True), ("1.28", False)])
def test_only_a_kubelet_that_knows_the_setting_is_told_to_take_version_1_of_control_groups(
    tmp_path: Path, release: str, *, told: bool
) -> None:
    config = kubelet_config(State(tmp_path), tmp_path / "resolv.conf", RELEASES[release])

    assert ("failCgroupV1" in config) is told


class Given(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def exposed(metric: Metric) -> list[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(metric))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_state_metrics_say_whom_a_pod_belongs_to_and_how_often_its_containers_started_again() -> None:
    pod = {
        "metadata": {
            "namespace": "s",
            "name": "web-x",
            "ownerReferences": [{"kind": "DaemonSet", "name": "web", "controller": True}],
        },
        "status": {"containerStatuses": [{"name": "web", "restartCount": 3}]},
    }
    alone = {"metadata": {"namespace": "s", "name": "alone"}, "status": {}}

    controlled, owned_by_nobody = exposed(owners("kube_pod_owner", "pod", [pod, alone]))
    assert 'owner_is_controller="true",owner_kind="DaemonSet",owner_name="web",pod="web-x"} 1.0' in controlled
    assert 'owner_is_controller="",owner_kind="",owner_name="",pod="alone"} 1.0' in owned_by_nobody
    assert exposed(restarts([pod, alone])) == [
        'kube_pod_container_status_restarts_total{container="web",namespace="s",pod="web-x"} 3.0'
    ]


def test_a_running_pod_that_asks_by_annotation_is_scraped() -> None:
    asks = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/m"}
    metadata = {"namespace": "s", "name": "web", "annotations": asks}
    running = {"metadata": metadata, "status": {"phase": "Running", "podIP": "10.244.0.9"}}
    over = {"metadata": metadata, "status": {"phase": "Succeeded", "podIP": "10.244.0.9"}}
    silent = {"metadata": {"namespace": "s", "name": "db"}, "status": running["status"]}

    assert targets([running, over, silent]) == [
        {"targets": ["10.244.0.9:8080"], "labels": {"namespace": "s", "pod": "web", "__metrics_path__": "/m"}}
    ]


def test_nothing_is_put_on_a_pretend_node_that_does_not_tolerate_it() -> None:
    made: Any = node(3)

    assert made["metadata"]["name"] == "kwok-3"
    assert made["spec"]["taints"][0]["effect"] == "NoSchedule"

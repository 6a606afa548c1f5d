"""What a cluster has beside Kubernetes: DNS, `kubectl top`, volumes, network policies, and metrics with a past."""

import shutil
import sys
from pathlib import Path

import yaml

from testbed import api, commands, machine
from testbed.layout import HERE, KUBELET_PORT, NODE, NODE_ADDRESS, PROMETHEUS, SERVICES, STATE_METRICS, State
from testbed.programs import KUBE_ROUTER

MANIFESTS = HERE / "manifests" / "addons"
RECORDING_RULES = HERE.parent / "k8s" / "monitoring" / "recording-rules.yaml"
SCRAPE_S = 5
STALE_S = 30
"""cAdvisor's samples have a time of their own, so nothing marks the last one of a container that is gone."""


def apply(state: State, kubectl: Path) -> None:
    """Create what `manifests/addons` says. Its pods start as soon as there is a node."""
    admin = f"--kubeconfig={state.kubeconfig('admin')}"
    commands.run([kubectl, admin, "apply", "--server-side", "--filename", MANIFESTS])


def start(state: State, programs: Path, prometheus: Path) -> None:
    """Start what runs outside pods, and wait for DNS. metrics-server needs half a minute for its first answer."""
    machine.start(state, KUBE_ROUTER, [programs / KUBE_ROUTER, *_kube_router(state)])
    exporter = ["env", f"PYTHONPATH={HERE.parent}", sys.executable, "-m", "testbed.state_metrics"]
    machine.start(state, "state-metrics", [*exporter, state.folder, STATE_METRICS])
    _start_prometheus(state, prometheus)
    api.wait_until_condition(state, "/apis/apps/v1/namespaces/kube-system/deployments/coredns", "Available")
    api.wait_until(lambda: api.fetch(f"{PROMETHEUS}/-/ready"), "Prometheus is not ready")


def _kube_router(state: State) -> list[str]:
    return [
        f"--kubeconfig={state.kubeconfig('kube-router')}",
        "--run-router=false",
        "--run-service-proxy=false",
        "--run-firewall=true",
        f"--hostname-override={NODE}",  # it ends at once where its node does not exist yet
        f"--service-cluster-ip-range={SERVICES}",
    ]


def _start_prometheus(state: State, unpacked: Path) -> None:
    shutil.copy(RECORDING_RULES, state.recording_rules)  # the node may not see the repository: its /var is its own
    config = state.folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump(prometheus_config(state), sort_keys=False))
    machine.start(
        state,
        "prometheus",
        [
            unpacked / "usr/bin/prometheus",
            f"--config.file={config}",
            "--storage.tsdb.path=/var/lib/prometheus",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address={NODE_ADDRESS}:9090",
            f"--web.local-assets={unpacked}/usr/share/prometheus/web",
            f"--query.lookback-delta={STALE_S}s",
        ],
    )


def prometheus_config(state: State) -> dict[str, object]:
    """Scrape the kubelet, the stand-in for kube-state-metrics, and each pod that asks for it by annotation."""
    tls = {
        "ca_file": f"{state.certificates}/ca.crt",
        "cert_file": f"{state.certificates}/monitoring.crt",
        "key_file": f"{state.certificates}/monitoring.key",
    }

    def kubelet(path: str) -> dict[str, object]:
        return {
            "job_name": path.strip("/").replace("metrics", "kubelet", 1),
            "scheme": "https",
            "metrics_path": path,
            "tls_config": tls,
            "static_configs": [{"targets": [f"{NODE_ADDRESS}:{KUBELET_PORT}"], "labels": {"node": NODE}}],
        }

    # Debian leaves the discovery by Kubernetes' API out of its Prometheus.
    pods = {
        "job_name": "pods",
        "http_sd_configs": [{"url": f"http://{STATE_METRICS}/targets", "refresh_interval": "5s"}],
    }
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_S}s",
            "evaluation_interval": f"{SCRAPE_S}s",
            "scrape_timeout": f"{SCRAPE_S}s",
        },
        "rule_files": [str(state.recording_rules)],
        "scrape_configs": [
            kubelet("/metrics/cadvisor"),
            kubelet("/metrics"),
            {"job_name": "kube-state-metrics", "static_configs": [{"targets": [STATE_METRICS]}]},
            pods,
        ],
    }

"""A stand-in for kube-state-metrics: of its series, under its names, those that the recording rules ask for.

kube-state-metrics' module cannot be had from the module proxy. Each scrape asks the API server anew: whom each object
belongs to, and how often each container was started again. It also tells Prometheus which pods ask to be scraped.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import orjson
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from testbed import api
from testbed.layout import State

OWNER = ("owner_kind", "owner_name", "owner_is_controller")
PODS, REPLICA_SETS, JOBS = "/api/v1/pods", "/apis/apps/v1/replicasets", "/apis/batch/v1/jobs"
SCRAPE = "prometheus.io/"
NEWEST_CACHED = "resourceVersion=0"  # from the API server's cache: etcd is not asked at each scrape


class StateMetrics(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        pods = self.pods()
        yield owners("kube_pod_owner", "pod", pods)
        yield owners("kube_replicaset_owner", "replicaset", self._list(REPLICA_SETS))
        yield owners("kube_job_owner", "job_name", self._list(JOBS))
        yield restarts(pods)

    def pods(self) -> list[dict[str, Any]]:
        return self._list(PODS)

    def _list(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = api.read(self._state, f"{path}?{NEWEST_CACHED}", "monitoring")["items"]
        return items


def owners(name: str, label: str, items: Iterable[dict[str, Any]]) -> Metric:
    """Say of each object whom it belongs to; empty labels where nobody owns it."""
    family = GaugeMetricFamily(name, "Whom it belongs to.", labels=("namespace", label, *OWNER))
    for item in items:
        metadata = item["metadata"]
        for owner in metadata.get("ownerReferences") or [{}]:
            is_controller = str(bool(owner.get("controller"))).lower() if owner else ""
            values = (owner.get("kind", ""), owner.get("name", ""), is_controller)
            family.add_metric((metadata["namespace"], metadata["name"], *values), 1)
    return family


def restarts(pods: Iterable[dict[str, Any]]) -> Metric:
    family = CounterMetricFamily(
        "kube_pod_container_status_restarts_total",
        "How often the container was started again.",
        labels=("namespace", "pod", "container"),
    )
    for pod in pods:
        metadata = pod["metadata"]
        for status in pod["status"].get("containerStatuses") or []:
            family.add_metric((metadata["namespace"], metadata["name"], status["name"]), status["restartCount"])
    return family


def targets(pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pods that ask to be scraped, as Prometheus' discovery by HTTP wants to hear it."""
    found = []
    for pod in pods:
        metadata, status = pod["metadata"], pod["status"]
        asks = {name.removeprefix(SCRAPE): value for name, value in metadata.get("annotations", {}).items()}
        if asks.get("scrape") != "true" or status.get("phase") != "Running" or not status.get("podIP"):
            continue
        labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
        if "path" in asks:
            labels["__metrics_path__"] = asks["path"]
        found.append({"targets": [f"{status['podIP']}:{asks.get('port', '80')}"], "labels": labels})
    return found


def application(state: State) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Serve `/metrics`, and the targets at `/targets`."""
    registry = CollectorRegistry(auto_describe=False)
    metrics = StateMetrics(state)
    registry.register(metrics)
    serve_metrics = make_wsgi_app(registry)

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/targets":
            answer: Iterable[bytes] = serve_metrics(environ, start_response)
            return answer
        body = orjson.dumps(targets(metrics.pods()))
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    return serve


def main() -> None:
    folder, address = sys.argv[1:]
    host, _, port = address.rpartition(":")
    with make_server(host, int(port), application(State(Path(folder)))) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

"""Small real workloads: service.py, told by its environment what to do."""

from pathlib import Path
from typing import Any

from testbed.driver.cluster import Object

IMAGE = "python:3.13-slim"
PORT = 8080


def script(namespace: str) -> Object:
    """The program, as a ConfigMap: what all services of a namespace run."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "program", "namespace": namespace},
        "data": {"service.py": (Path(__file__).with_name("service.py")).read_text()},
    }


def service(
    namespace: str, name: str, *, replicas: int = 2, memory: str = "64Mi", cpu: str = "500m", **env: Any
) -> list[Object]:
    """Return a Deployment and its Service; `env` tells the program what to do: values, or where to take them from."""
    labels = {"app": name}
    container = {
        "name": "service",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/program/service.py"],
        "env": [_variable(name, value) for name, value in env.items()],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": cpu, "memory": memory}},
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT)},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                    "volumes": [{"name": "program", "configMap": {"name": "program"}}],
                },
            },
        },
    }
    front = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]},
    }
    return [deployment, front]


def _variable(name: str, value: Any) -> Object:
    if isinstance(value, dict):
        return {"name": name, "valueFrom": value}
    return {"name": name, "value": str(value)}

"""Small workloads that mean the same on a real cluster and on a simulated one."""

from typing import Any

IMAGE = "busybox:1.36"
NO_IMAGE = "registry.example/no/such:image"
Object = dict[str, Any]

# The simulated cluster's processes obey these variables by themselves; a real one runs this.
_PROGRAM = """
echo starting
ends() { echo "exited with $1"; exit "$1"; }
trap 'exit 0' TERM
if [ -n "$EXIT_AT_START" ]; then sleep 0.4; ends "$EXIT_AT_START"; fi
if [ -n "$BURST_MIB" ]; then exec tail /dev/zero; fi
if [ -n "$EXIT_AFTER_S" ]; then sleep "$EXIT_AFTER_S"; ends "${EXIT_CODE:-1}"; fi
if [ -z "$NEVER_READY" ]; then mkdir -p /tmp/www; echo ok >/tmp/www/index.html; busybox httpd -p 8080 -h /tmp/www; fi
while true; do sleep 1000 & wait $!; done
"""


def metadata(name: str, **more: Any) -> Object:
    return {"name": name, **more}


def config_map(name: str = "settings", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name), "data": data}


def container(image: str = IMAGE, *, memory: str = "32Mi", probed: bool = False, **env: Any) -> Object:
    """A container that is told by its environment what to do: by default to run until it is stopped."""
    made: Object = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _PROGRAM],
        "resources": {"requests": {"cpu": "10m", "memory": memory}, "limits": {"cpu": "500m", "memory": memory}},
    }
    if env:
        made["env"] = [{"name": key, "value": str(value)} for key, value in env.items()]
    if probed:
        made["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    return made


def pod(name: str = "pod", *, labels: dict[str, str] | None = None, restart: str = "Always", **given: Any) -> Object:
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [container(**given)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name, labels=labels or {"app": name}), "spec": spec}


def deployment(name: str = "web", *, replicas: int = 1, spec: Object | None = None, **given: Any) -> Object:
    """A Deployment; `spec` says what is special about it, the rest about its container."""
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container(**given)]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name),
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **(spec or {})},
    }


def condition(thing: Object, kind: str) -> Object:
    """Return one of an object's conditions, empty where it has none of that kind."""
    conditions = thing.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"

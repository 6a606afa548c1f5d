"""Objects as `kubectl get` shows them: the server writes the columns and cells."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from aegis.kit.selectors import selector_text
from aegis.simulator.kubernetes.objects import Object, dig, is_terminating, labels_of, moment, name_of
from aegis.simulator.kubernetes.recordings import recorded_json
from aegis.simulator.kubernetes.resources import Resource

NONE = "<none>"
UNKNOWN = "<unknown>"

_NAME = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
_CREATED_AT = {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0}


def table(
    resource: Resource,
    objects: Iterable[Object],
    *,
    now: datetime,
    metadata: Object,
    include: str = "",
    with_columns: bool = True,
) -> Object:
    """Return a `Table`; `include` says how much of each object goes with its row (None, Metadata, Object)."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": _columns(resource) if with_columns else None,
        "rows": [{"cells": _cells(resource, obj, now), **_included(obj, include)} for obj in objects],
    }


def age(since: str | None, now: datetime) -> str:
    """Write a duration as kubectl does: one unit, or two while it is short.

    >>> age("2026-01-05T00:00:00Z", moment("2026-01-05T00:03:05Z"))
    '3m5s'
    """
    if not since:
        return UNKNOWN
    return duration(int((now - moment(since)).total_seconds()))


def duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    steps = (
        (seconds < 0, "0s"),
        (seconds < 120, f"{seconds}s"),
        (minutes < 10, _two(minutes, "m", seconds % 60, "s")),
        (minutes < 180, f"{minutes}m"),
        (hours < 8, _two(hours, "h", minutes % 60, "m")),
        (hours < 48, f"{hours}h"),
        (days < 8, _two(days, "d", hours % 24, "h")),
        (days < 730, f"{days}d"),
    )
    return next((text for is_so, text in steps if is_so), f"{days // 365}y{days % 365}d")


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def _included(obj: Object, include: str) -> Object:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {"object": {**partial, "metadata": obj.get("metadata", {})}}


def _columns(resource: Resource) -> list[Object]:
    recorded: list[Object] | None = recorded_json("table-columns.json").get(
        f"{resource.group}/{resource.version}/{resource.plural}"
    )
    if recorded is None or resource.plural not in _CELLS:
        return [_NAME, _CREATED_AT]
    return [{"description": "", **column} for column in recorded]


def _cells(resource: Resource, obj: Object, now: datetime) -> list[Any]:
    write = _CELLS.get(resource.plural)
    if write is None or f"{resource.group}/{resource.version}/{resource.plural}" not in recorded_json(
        "table-columns.json"
    ):
        return [name_of(obj), dig(obj, "metadata", "creationTimestamp")]
    cells = write(obj, now)
    return cells if resource.plural == "events" else [name_of(obj), *cells]


def _age(obj: Object, now: datetime) -> str:
    return age(dig(obj, "metadata", "creationTimestamp"), now)


def _status(obj: Object, name: str, default: Any = 0) -> Any:
    return dig(obj, "status", name, default=default)


def _pod(pod: Object, now: datetime) -> list[Any]:
    statuses = _status(pod, "containerStatuses", [])
    ready = sum(1 for each in statuses if each.get("ready"))
    return [
        f"{ready}/{len(dig(pod, 'spec', 'containers', default=[]))}",
        pod_state(pod),
        _restarts(statuses, now),
        _age(pod, now),
        _status(pod, "podIP", NONE),
        dig(pod, "spec", "nodeName", default=NONE),
        _status(pod, "nominatedNodeName", NONE),
        NONE,
    ]


def pod_state(pod: Object) -> str:
    """Return the STATUS column: the most telling of phase, reason and container states."""
    if is_terminating(pod):
        return "Unknown" if _status(pod, "reason", "") == "NodeLost" else "Terminating"
    waiting_init = _init_state(pod)
    if waiting_init:
        return waiting_init
    state = str(_status(pod, "reason", "") or _status(pod, "phase", "Pending"))
    for each in reversed(_status(pod, "containerStatuses", [])):
        state = _container_state(each) or state
    return state


def _init_state(pod: Object) -> str:
    statuses = _status(pod, "initContainerStatuses", [])
    for index, each in enumerate(statuses):
        if dig(each, "state", "terminated", "exitCode") == 0:
            continue
        reason = _container_state(each)
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(statuses)}"
    return ""


def _container_state(status: Object) -> str:
    waiting = dig(status, "state", "waiting", "reason")
    if waiting:
        return str(waiting)
    terminated = dig(status, "state", "terminated")
    if terminated is None:
        return ""
    return str(terminated.get("reason") or f"ExitCode:{terminated.get('exitCode', 0)}")


def _restarts(statuses: list[Object], now: datetime) -> str:
    count = sum(each.get("restartCount", 0) for each in statuses)
    ends = [dig(each, "lastState", "terminated", "finishedAt") for each in statuses]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


def _node(node: Object, now: datetime) -> list[Any]:
    ready = next((each["status"] for each in _status(node, "conditions", []) if each["type"] == "Ready"), "")
    state = {"True": "Ready", "False": "NotReady"}.get(ready, "NotReady" if ready else "Unknown")
    if dig(node, "spec", "unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = sorted(label.removeprefix(prefix) for label in labels_of(node) if label.startswith(prefix))
    info = _status(node, "nodeInfo", {})
    addresses = {each["type"]: each["address"] for each in _status(node, "addresses", [])}
    return [
        state,
        ",".join(roles) or NONE,
        _age(node, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _containers(obj: Object, *path: str) -> list[str]:
    containers = dig(obj, *(path or ("spec", "template", "spec", "containers")), default=[])
    return [",".join(each["name"] for each in containers), ",".join(each.get("image", "") for each in containers)]


def _selector(obj: Object) -> str:
    return selector_text(dig(obj, "spec", "selector")) or NONE


def _deployment(deployment: Object, now: datetime) -> list[Any]:
    return [
        f"{_status(deployment, 'readyReplicas')}/{dig(deployment, 'spec', 'replicas', default=0)}",
        _status(deployment, "updatedReplicas"),
        _status(deployment, "availableReplicas"),
        _age(deployment, now),
        *_containers(deployment),
        _selector(deployment),
    ]


def _replica_set(replica_set: Object, now: datetime) -> list[Any]:
    return [
        dig(replica_set, "spec", "replicas", default=0),
        _status(replica_set, "replicas"),
        _status(replica_set, "readyReplicas"),
        _age(replica_set, now),
        *_containers(replica_set),
        _selector(replica_set),
    ]


def _stateful_set(stateful_set: Object, now: datetime) -> list[Any]:
    ready = f"{_status(stateful_set, 'readyReplicas')}/{dig(stateful_set, 'spec', 'replicas', default=0)}"
    return [ready, _age(stateful_set, now), *_containers(stateful_set)]


def _daemon_set(daemon_set: Object, now: datetime) -> list[Any]:
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    chosen = dig(daemon_set, "spec", "template", "spec", "nodeSelector", default={})
    return [
        *(_status(daemon_set, each) for each in counts),
        _pairs(chosen),
        _age(daemon_set, now),
        *_containers(daemon_set),
        _selector(daemon_set),
    ]


def _pairs(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _job(job: Object, now: datetime) -> list[Any]:
    conditions = {each["type"] for each in _status(job, "conditions", []) if each["status"] == "True"}
    state = next((each for each in ("Complete", "Failed", "Suspended") if each in conditions), "Running")
    start, end = _status(job, "startTime", None), _status(job, "completionTime", None)
    return [
        state,
        f"{_status(job, 'succeeded')}/{dig(job, 'spec', 'completions', default=1)}",
        age(start, moment(end) if end else now) if start else "",
        _age(job, now),
        *_containers(job),
        _selector(job),
    ]


def _cron_job(cron_job: Object, now: datetime) -> list[Any]:
    last = _status(cron_job, "lastScheduleTime", None)
    return [
        dig(cron_job, "spec", "schedule", default=""),
        dig(cron_job, "spec", "timeZone", default=NONE),
        str(dig(cron_job, "spec", "suspend", default=False)),
        len(_status(cron_job, "active", [])),
        age(last, now) if last else NONE,
        _age(cron_job, now),
        *_containers(cron_job, "spec", "jobTemplate", "spec", "template", "spec", "containers"),
        NONE,
    ]


def _service(service: Object, now: datetime) -> list[Any]:
    ports = dig(service, "spec", "ports", default=[])
    return [
        dig(service, "spec", "type", default="ClusterIP"),
        dig(service, "spec", "clusterIP", default=NONE),
        NONE,
        ",".join(f"{each['port']}/{each.get('protocol', 'TCP')}" for each in ports) or NONE,
        _age(service, now),
        _pairs(dig(service, "spec", "selector")),
    ]


def _hpa(hpa: Object, now: datetime) -> list[Any]:
    target = dig(hpa, "spec", "scaleTargetRef", default={})
    metrics = [_metric(hpa, each) for each in dig(hpa, "spec", "metrics", default=[]) if each["type"] == "Resource"]
    return [
        f"{target.get('kind')}/{target.get('name')}",
        ", ".join(metrics) or NONE,
        str(dig(hpa, "spec", "minReplicas", default=1)),
        dig(hpa, "spec", "maxReplicas", default=0),
        _status(hpa, "currentReplicas"),
        _age(hpa, now),
    ]


def _metric(hpa: Object, metric: Object) -> str:
    name = metric["resource"]["name"]
    current = next(
        (
            dig(each, "resource", "current", "averageUtilization")
            for each in _status(hpa, "currentMetrics", [])
            if dig(each, "resource", "name") == name
        ),
        None,
    )
    wanted = dig(metric, "resource", "target", "averageUtilization")
    return f"{name}: {UNKNOWN if current is None else f'{current}%'}/{wanted}%"


def _event(event: Object, now: datetime) -> list[Any]:
    about = event.get("involvedObject") or event.get("regarding") or {}
    created = dig(event, "metadata", "creationTimestamp")
    last = event.get("lastTimestamp") or event.get("eventTime") or created
    return [
        age(last, now),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        dig(event, "source", "component", default=event.get("reportingComponent", "")),
        (event.get("message") or event.get("note") or "").strip(),
        age(event.get("firstTimestamp") or last, now),
        str(event.get("count") or 1),
        name_of(event),
    ]


def _pdb(pdb: Object, now: datetime) -> list[Any]:
    return [
        str(dig(pdb, "spec", "minAvailable", default="N/A")),
        str(dig(pdb, "spec", "maxUnavailable", default="N/A")),
        _status(pdb, "disruptionsAllowed"),
        _age(pdb, now),
    ]


def _quota(quota: Object, now: datetime) -> list[Any]:
    hard, used = dig(quota, "spec", "hard", default={}), _status(quota, "used", {})
    written = {name: f"{name}: {used.get(name, '0')}/{limit}" for name, limit in sorted(hard.items())}
    limits = [text for name, text in written.items() if name.startswith("limits.")]
    requests = [text for name, text in written.items() if not name.startswith("limits.")]
    return [", ".join(requests), ", ".join(limits), _age(quota, now)]


def _endpoint_slice(endpoint_slice: Object, now: datetime) -> list[Any]:
    ports = [str(each.get("port", "*")) for each in endpoint_slice.get("ports") or []]
    addresses = [address for each in endpoint_slice.get("endpoints") or [] for address in each["addresses"]]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return [
        endpoint_slice.get("addressType", ""),
        ",".join(ports) or "<unset>",
        (",".join(addresses[:3]) + more) or "<unset>",
        _age(endpoint_slice, now),
    ]


def _binding(binding: Object, now: datetime) -> list[Any]:
    subjects = binding.get("subjects") or []
    by_kind = {
        kind: ", ".join(_subject(each) for each in subjects if each["kind"] == kind)
        for kind in ("User", "Group", "ServiceAccount")
    }
    role = binding.get("roleRef", {})
    return [f"{role.get('kind')}/{role.get('name')}", _age(binding, now), *by_kind.values()]


def _subject(subject: Object) -> str:
    return "/".join(filter(None, (subject.get("namespace", ""), subject["name"])))


def _claim(claim: Object, now: datetime) -> list[Any]:
    modes = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return [
        _status(claim, "phase", "Pending"),
        dig(claim, "spec", "volumeName", default=""),
        dig(claim, "status", "capacity", "storage", default=""),
        ",".join(modes.get(each, each) for each in _status(claim, "accessModes", [])),
        dig(claim, "spec", "storageClassName", default=""),
        dig(claim, "spec", "volumeAttributesClassName", default="<unset>"),
        _age(claim, now),
        dig(claim, "spec", "volumeMode", default="Filesystem"),
    ]


_CELLS: dict[str, Callable[[Object, datetime], list[Any]]] = {
    "pods": _pod,
    "nodes": _node,
    "deployments": _deployment,
    "replicasets": _replica_set,
    "statefulsets": _stateful_set,
    "daemonsets": _daemon_set,
    "jobs": _job,
    "cronjobs": _cron_job,
    "services": _service,
    "horizontalpodautoscalers": _hpa,
    "events": _event,
    "poddisruptionbudgets": _pdb,
    "resourcequotas": _quota,
    "endpointslices": _endpoint_slice,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
    "persistentvolumeclaims": _claim,
    "configmaps": lambda obj, now: [
        str(len(obj.get("data") or {}) + len(obj.get("binaryData") or {})),
        _age(obj, now),
    ],
    "secrets": lambda obj, now: [obj.get("type", "Opaque"), str(len(obj.get("data") or {})), _age(obj, now)],
    "serviceaccounts": lambda obj, now: [_age(obj, now)],
    "namespaces": lambda obj, now: [_status(obj, "phase", "Active"), _age(obj, now)],
    "leases": lambda obj, now: [dig(obj, "spec", "holderIdentity", default=""), _age(obj, now)],
    "networkpolicies": lambda obj, now: [
        selector_text(dig(obj, "spec", "podSelector")) or NONE,
        _age(obj, now),
    ],
}

"""Kubernetes objects as the few plain values that the AI Engine looks at."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from aegis.contracts.targets import WorkloadRef
from aegis.kit.selectors import Selector

Object = Mapping[str, Any]

EPOCH = datetime.fromtimestamp(0, UTC)
_HASH_LABELS = ("pod-template-hash", "controller-revision-hash")
_REVISION = "deployment.kubernetes.io/revision"
_SERVICE_NAME = "kubernetes.io/service-name"
_HOST = re.compile(r"^(?:[a-z0-9+]+://)?(?:[^@/]*@)?([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)(?=[:/]|$)")
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30,
          "Ti": 2.0**40, "n": 1e-9, "u": 1e-6}  # fmt: skip
_QUANTITY = re.compile(r"^([0-9.]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)$")


def moment(text: Any) -> datetime | None:
    """Read a Kubernetes time; None where there is none.

    >>> moment("2026-01-05T10:00:00Z")
    datetime.datetime(2026, 1, 5, 10, 0, tzinfo=datetime.timezone.utc)
    """
    return datetime.fromisoformat(text) if text else None


def quantity(text: Any) -> float | None:
    """Read `500m` or `128Mi`; None where it is absent or no quantity.

    >>> quantity("500m"), quantity("1Ki"), quantity(2), quantity(None)
    (0.5, 1024.0, 2.0, None)
    """
    match = _QUANTITY.match(str(text)) if text is not None else None
    if match is None or match[2] not in _UNITS:
        return None
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Condition:
    status: str
    reason: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container's process ended."""

    reason: str
    exit_code: int
    started_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class ContainerView:
    name: str
    restarts: int
    ready: bool
    waiting: str
    waiting_message: str
    running_since: datetime | None
    terminated: Termination | None
    last_terminated: Termination | None


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    name: str
    image: str
    memory_limit: float | None
    cpu_limit: float | None
    memory_request: float | None
    cpu_request: float | None
    probes: str
    """A digest of its probes, to see whether two revisions probe alike."""


@dataclass(frozen=True, slots=True)
class Owner:
    kind: str
    name: str
    uid: str
    api_version: str


@dataclass(frozen=True, slots=True)
class PodView:
    uid: str
    namespace: str
    name: str
    owner: Owner | None
    revision: str | None
    node: str
    phase: str
    reason: str
    message: str
    created_at: datetime
    deleted_at: datetime | None
    """When it should have been gone: asked to end, plus its grace period."""
    finalizers: tuple[str, ...]
    labels: Mapping[str, str]
    conditions: Mapping[str, Condition]
    containers: tuple[ContainerView, ...]
    memory_volumes: bool

    @property
    def is_ready(self) -> bool:
        ready = self.conditions.get("Ready")
        return ready is not None and ready.status == "True"

    @property
    def is_ending(self) -> bool:
        return self.deleted_at is not None

    @property
    def is_finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class RevisionView:
    """A ReplicaSet: one revision of a Deployment."""

    uid: str
    namespace: str
    name: str
    owner: Owner | None
    number: int
    hash: str
    replicas: int
    ready: int
    created_at: datetime
    containers: tuple[ContainerSpec, ...]
    conditions: Mapping[str, Condition]


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A Deployment, StatefulSet, DaemonSet or Job; also a CronJob, which owns Jobs."""

    uid: str
    api_version: str
    ref: WorkloadRef
    owner: Owner | None
    replicas: int
    ready: int
    failed: int
    paused: bool
    created_at: datetime
    annotations: Mapping[str, str]
    pod_labels: Mapping[str, str]
    conditions: Mapping[str, Condition]
    containers: tuple[ContainerSpec, ...]
    hosts: frozenset[str]
    """Names of hosts in its containers' environment: what it probably calls."""
    config: frozenset[str]
    """ConfigMaps and claims that it uses, as `configmap/name` and `claim/name`."""
    current_hash: str
    """StatefulSets: the revision rolled out; empty elsewhere."""
    update_hash: str
    digest: str
    """Of what its pods run: the same digest means that nothing but a restart happened in between."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    uid: str
    namespace: str
    name: str
    selector: Mapping[str, str]
    labels: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EndpointSliceView:
    uid: str
    namespace: str
    name: str
    service: str
    ready_pods: tuple[str, ...]
    all_pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HpaView:
    uid: str
    namespace: str
    name: str
    target_kind: str
    target_name: str
    current: int
    maximum: int
    created_at: datetime
    conditions: Mapping[str, Condition]
    over_target: bool
    """What it measures is above what it should be."""


@dataclass(frozen=True, slots=True)
class NodeView:
    uid: str
    name: str
    unschedulable: bool
    conditions: Mapping[str, Condition]


@dataclass(frozen=True, slots=True)
class EventView:
    uid: str
    namespace: str
    type: str
    reason: str
    message: str
    about_kind: str
    about_name: str
    about_uid: str
    first_at: datetime
    last_at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class DisruptionBudgetView:
    uid: str
    namespace: str
    name: str
    selector: Selector | None
    allowed: int
    expected: int
    healthy: int


@dataclass(frozen=True, slots=True)
class NamespaceView:
    uid: str
    name: str
    labels: Mapping[str, str]


View = (
    PodView | RevisionView | WorkloadView | ServiceView | EndpointSliceView | HpaView | NodeView | EventView
    | DisruptionBudgetView | NamespaceView
)  # fmt: skip

WORKLOADS = {
    "deployments": ("apps/v1", "Deployment"),
    "statefulsets": ("apps/v1", "StatefulSet"),
    "daemonsets": ("apps/v1", "DaemonSet"),
    "jobs": ("batch/v1", "Job"),
    "cronjobs": ("batch/v1", "CronJob"),
}


def view_of(resource: str, object: Object, *, cluster_id: str) -> View | None:
    """Return the object's plain view; None for resources that nobody looks at."""
    if resource in WORKLOADS:
        api_version, kind = WORKLOADS[resource]
        return _workload(object, api_version, kind, cluster_id)
    read = _READERS.get(resource)
    return read(object) if read is not None else None


def _workload(object: Object, api_version: str, kind: str, cluster_id: str) -> WorkloadView:
    meta, spec, status = _parts(object)
    job = spec.get("jobTemplate", {}).get("spec", {})
    template = spec.get("template") or job.get("template") or {}
    pod_spec = template.get("spec") or {}
    default_replicas = 0 if kind in ("CronJob", "DaemonSet") else 1
    wanted = status.get("desiredNumberScheduled", 0) if kind == "DaemonSet" else spec.get("replicas", default_replicas)
    return WorkloadView(
        uid=meta["uid"],
        api_version=api_version,
        ref=WorkloadRef(cluster_id=cluster_id, namespace=meta.get("namespace", ""), kind=kind, name=meta["name"]),
        owner=_owner(meta),
        replicas=wanted if wanted is not None else default_replicas,
        ready=status.get("readyReplicas") or status.get("numberReady") or 0,
        failed=status.get("failed") or 0,
        paused=bool(spec.get("paused")),
        created_at=moment(meta.get("creationTimestamp")) or EPOCH,
        annotations=meta.get("annotations") or {},
        pod_labels=(template.get("metadata") or {}).get("labels") or {},
        conditions=_conditions(status),
        containers=_container_specs(pod_spec),
        hosts=frozenset(_hosts(pod_spec)),
        config=frozenset(_config(pod_spec)),
        current_hash=status.get("currentRevision") or "",
        update_hash=status.get("updateRevision") or "",
        digest=_digest(pod_spec),
    )


def _pod(object: Object) -> PodView:
    meta, spec, status = _parts(object)
    labels = meta.get("labels") or {}
    return PodView(
        uid=meta["uid"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        owner=_owner(meta),
        revision=next((labels[name] for name in _HASH_LABELS if name in labels), None),
        node=spec.get("nodeName") or "",
        phase=status.get("phase") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        created_at=moment(meta.get("creationTimestamp")) or EPOCH,
        deleted_at=moment(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        labels=labels,
        conditions=_conditions(status),
        containers=tuple(
            _container(one)
            for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        ),
        memory_volumes=any((one.get("emptyDir") or {}).get("medium") == "Memory" for one in spec.get("volumes") or []),
    )


def _container(status: Object) -> ContainerView:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    return ContainerView(
        name=status["name"],
        restarts=status.get("restartCount") or 0,
        ready=bool(status.get("ready")),
        waiting=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        running_since=moment((state.get("running") or {}).get("startedAt")),
        terminated=_termination(state.get("terminated")),
        last_terminated=_termination(last.get("terminated")),
    )


def _termination(state: Object | None) -> Termination | None:
    if not state:
        return None
    at = moment(state.get("finishedAt")) or EPOCH
    return Termination(state.get("reason") or "", state.get("exitCode") or 0, moment(state.get("startedAt")) or at, at)


def _revision(object: Object) -> RevisionView:
    meta, spec, status = _parts(object)
    return RevisionView(
        uid=meta["uid"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        owner=_owner(meta),
        number=_number((meta.get("annotations") or {}).get(_REVISION) or ""),
        hash=(meta.get("labels") or {}).get("pod-template-hash") or "",
        replicas=spec.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
        created_at=moment(meta.get("creationTimestamp")) or EPOCH,
        containers=_container_specs((spec.get("template") or {}).get("spec") or {}),
        conditions=_conditions(status),
    )


def _number(text: str) -> int:
    """Read a revision's number; anybody may write an annotation, and what is none counts as the oldest."""
    return int(text) if text.isdecimal() else 0


def _service(object: Object) -> ServiceView:
    meta, spec, _ = _parts(object)
    return ServiceView(
        meta["uid"],
        meta.get("namespace", ""),
        meta["name"],
        spec.get("selector") or {},
        meta.get("labels") or {},
        moment(meta.get("creationTimestamp")) or EPOCH,
    )


def _endpoint_slice(object: Object) -> EndpointSliceView:
    meta, _, _ = _parts(object)
    endpoints = [one for one in object.get("endpoints") or [] if (one.get("targetRef") or {}).get("kind") == "Pod"]
    return EndpointSliceView(
        uid=meta["uid"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        service=(meta.get("labels") or {}).get(_SERVICE_NAME) or "",
        ready_pods=tuple(one["targetRef"]["name"] for one in endpoints if (one.get("conditions") or {}).get("ready")),
        all_pods=tuple(one["targetRef"]["name"] for one in endpoints),
    )


def _hpa(object: Object) -> HpaView:
    meta, spec, status = _parts(object)
    target = spec.get("scaleTargetRef") or {}
    return HpaView(
        uid=meta["uid"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        target_kind=target.get("kind") or "",
        target_name=target.get("name") or "",
        current=status.get("currentReplicas") or 0,
        maximum=spec.get("maxReplicas") or 0,
        created_at=moment(meta.get("creationTimestamp")) or EPOCH,
        conditions=_conditions(status),
        over_target=_is_over_target(spec.get("metrics") or [], status.get("currentMetrics") or []),
    )


def _is_over_target(targets: Iterable[Object], current: Iterable[Object]) -> bool:
    wanted = {_metric_name(one): _metric_value(one, "target") for one in targets}
    return any(
        (value := _metric_value(one, "current")) is not None
        and (target := wanted.get(_metric_name(one))) is not None
        and value > target
        for one in current
    )


def _metric_name(metric: Object) -> str:
    kind = metric.get("type") or ""
    body = metric.get(kind[:1].lower() + kind[1:]) or {}
    return f"{kind}/{body.get('name') or (body.get('metric') or {}).get('name') or ''}"


def _metric_value(metric: Object, part: str) -> float | None:
    kind = metric.get("type") or ""
    values = (metric.get(kind[:1].lower() + kind[1:]) or {}).get(part) or {}
    for field in ("averageUtilization", "averageValue", "value"):
        if values.get(field) is not None:
            return quantity(values[field])
    return None


def _node(object: Object) -> NodeView:
    meta, spec, status = _parts(object)
    return NodeView(meta["uid"], meta["name"], bool(spec.get("unschedulable")), _conditions(status))


def _event(object: Object) -> EventView:
    meta = object["metadata"]
    about = object.get("involvedObject") or object.get("regarding") or {}
    series = object.get("series") or {}
    first = moment(object.get("firstTimestamp") or object.get("eventTime") or meta.get("creationTimestamp")) or EPOCH
    last = moment(object.get("lastTimestamp") or series.get("lastObservedTime")) or first
    return EventView(
        uid=meta.get("uid") or f"{meta.get('namespace', '')}/{meta['name']}",
        namespace=about.get("namespace") or meta.get("namespace", ""),
        type=object.get("type") or "",
        reason=object.get("reason") or "",
        message=object.get("message") or object.get("note") or "",
        about_kind=about.get("kind") or "",
        about_name=about.get("name") or "",
        about_uid=about.get("uid") or "",
        first_at=first,
        last_at=last,
        count=object.get("count") or series.get("count") or 1,
    )


def _disruption_budget(object: Object) -> DisruptionBudgetView:
    meta, spec, status = _parts(object)
    return DisruptionBudgetView(
        uid=meta["uid"],
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        selector=spec.get("selector"),
        allowed=status.get("disruptionsAllowed") or 0,
        expected=status.get("expectedPods") or 0,
        healthy=status.get("currentHealthy") or 0,
    )


def _namespace(object: Object) -> NamespaceView:
    meta = object["metadata"]
    return NamespaceView(meta["uid"], meta["name"], meta.get("labels") or {})


_READERS: Mapping[str, Callable[[Object], "View"]] = {
    "pods": _pod,
    "replicasets": _revision,
    "services": _service,
    "endpointslices": _endpoint_slice,
    "horizontalpodautoscalers": _hpa,
    "nodes": _node,
    "events": _event,
    "poddisruptionbudgets": _disruption_budget,
    "namespaces": _namespace,
}


def _parts(object: Object) -> tuple[Object, Object, Object]:
    return object["metadata"], object.get("spec") or {}, object.get("status") or {}


def _owner(meta: Object) -> Owner | None:
    for one in meta.get("ownerReferences") or []:
        if one.get("controller"):
            return Owner(one["kind"], one["name"], one["uid"], one.get("apiVersion") or "")
    return None


def _conditions(status: Object) -> Mapping[str, Condition]:
    return {
        one["type"]: Condition(
            one.get("status") or "",
            one.get("reason") or "",
            one.get("message") or "",
            moment(one.get("lastTransitionTime")) or EPOCH,
        )
        for one in status.get("conditions") or []
    }


def _container_specs(pod_spec: Object) -> tuple[ContainerSpec, ...]:
    return tuple(_container_spec(one) for one in pod_spec.get("containers") or [])


def _container_spec(container: Object) -> ContainerSpec:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return ContainerSpec(
        name=container["name"],
        image=container.get("image") or "",
        memory_limit=quantity(limits.get("memory")),
        cpu_limit=quantity(limits.get("cpu")),
        memory_request=quantity(requests.get("memory")),
        cpu_request=quantity(requests.get("cpu")),
        probes=_digest([container.get(name) for name in ("livenessProbe", "startupProbe")]),
    )


def _hosts(pod_spec: Object) -> Iterable[str]:
    for container in pod_spec.get("containers") or []:
        for variable in container.get("env") or []:
            for part in str(variable.get("value") or "").split(","):
                match = _HOST.match(part.strip())
                if match is not None:
                    yield match[1]


def _config(pod_spec: Object) -> Iterable[str]:
    for volume in pod_spec.get("volumes") or []:
        if "configMap" in volume:
            yield f"configmap/{volume['configMap'].get('name')}"
        if "persistentVolumeClaim" in volume:
            yield f"claim/{volume['persistentVolumeClaim'].get('claimName')}"
    for container in pod_spec.get("containers") or []:
        for source in container.get("envFrom") or []:
            if "configMapRef" in source:
                yield f"configmap/{source['configMapRef'].get('name')}"


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

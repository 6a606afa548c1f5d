"""The fields a real API server fills in when nobody did, as far as clients notice them."""

from collections.abc import Callable, Iterable

from aegis.simulator.kubernetes.objects import Object, dig, drop_empty_metadata
from aegis.simulator.kubernetes.resources import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    HPAS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)


def fill_defaults(resource: Resource, obj: Object) -> None:
    """Complete `obj` in place. Filling twice changes nothing."""
    fill = _FILLERS.get(resource)
    if fill is not None:
        fill(obj)


def _missing(target: Object, **values: object) -> None:
    for field, value in values.items():
        if target.get(field) is None:
            target[field] = value


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    _pod_spec(spec)
    _missing(spec, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    _missing(spec, serviceAccountName="default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    for container in _containers(spec):
        _requests_from_limits(container)
    status = pod.setdefault("status", {})
    _missing(status, phase="Pending")
    _missing(status, qosClass=_qos_class(spec))


def _requests_from_limits(container: Object) -> None:
    limits = dig(container, "resources", "limits", default={})
    if limits:
        requests = container["resources"].setdefault("requests", {})
        for each, amount in limits.items():
            requests.setdefault(each, amount)


def _containers(spec: Object) -> list[Object]:
    return [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]


def _qos_class(spec: Object) -> str:
    amounts = [each.get("resources") or {} for each in _containers(spec)]
    if not any(each.get("requests") or each.get("limits") for each in amounts):
        return "BestEffort"
    return "Guaranteed" if all(_is_guaranteed(each) for each in amounts) else "Burstable"


def _is_guaranteed(resources: Object) -> bool:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return all(name in limits and requests.get(name) == limits[name] for name in ("cpu", "memory"))


def _pod_spec(spec: Object) -> None:
    _missing(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    for container in _containers(spec):
        _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                _missing(volume[source], defaultMode=420)


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    floats = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    _missing(
        container,
        imagePullPolicy="Always" if floats else "IfNotPresent",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports") or []:
        _missing(port, protocol="TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _probe(container[probe])
    for variable in container.get("env") or []:
        field = dig(variable, "valueFrom", "fieldRef")
        if field is not None:
            _missing(field, apiVersion="v1")


def _probe(probe: Object) -> None:
    _missing(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if isinstance(probe.get("httpGet"), dict):
        _missing(probe["httpGet"], path="/", scheme="HTTP")


def _template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        drop_empty_metadata(template)
        _pod_spec(template.setdefault("spec", {}))


def _deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    _missing(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    strategy = spec["strategy"]
    _missing(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _missing(strategy, rollingUpdate={})
        _missing(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    _template(spec)
    deployment.setdefault("status", {})


def _replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    _missing(spec, replicas=1)
    _template(spec)
    replica_set.setdefault("status", {"replicas": 0})


def _stateful_set(stateful_set: Object) -> None:
    spec = stateful_set.setdefault("spec", {})
    _missing(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady", updateStrategy={})
    _missing(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _missing(spec["updateStrategy"], rollingUpdate={"partition": 0})
    _template(spec)
    _missing(stateful_set, status={"replicas": 0})


def _daemon_set(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    _missing(spec, revisionHistoryLimit=10, updateStrategy={})
    _missing(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _missing(spec["updateStrategy"], rollingUpdate={"maxSurge": 0, "maxUnavailable": 1})
    _template(spec)
    counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    _missing(daemon_set, status=dict.fromkeys(counts, 0))


def _job(job: Object) -> None:
    spec = job.setdefault("spec", {})
    _job_spec(spec)
    job.setdefault("status", {})
    uid = dig(job, "metadata", "uid")
    if uid and not spec.get("selector") and not spec.get("manualSelector"):
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        for name, value in (("controller-uid", uid), ("job-name", dig(job, "metadata", "name", default=""))):
            labels.setdefault(f"batch.kubernetes.io/{name}", value)
            labels.setdefault(name, value)


def _job_spec(spec: Object) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _missing(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _missing(spec, manualSelector=False, podReplacementPolicy="TerminatingOrFailed")
    if spec["manualSelector"] is False:
        del spec["manualSelector"]
    spec.setdefault("template", {})
    _template(spec)


def _cron_job(cron_job: Object) -> None:
    spec = cron_job.setdefault("spec", {})
    _missing(spec, concurrencyPolicy="Allow", suspend=False)
    _missing(spec, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    template = dig(spec, "jobTemplate", "spec", "template")
    if isinstance(template, dict):
        _template(spec["jobTemplate"]["spec"])
    cron_job.setdefault("status", {})


def _service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    _missing(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    _missing(spec, ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in spec.get("ports") or []:
        _missing(port, protocol="TCP", targetPort=port.get("port"))
    service.setdefault("status", {"loadBalancer": {}})


def _hpa(hpa: Object) -> None:
    spec = hpa.setdefault("spec", {})
    _missing(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    hpa.setdefault("status", {})


def _namespace(namespace: Object) -> None:
    metadata = namespace.setdefault("metadata", {})
    labels = metadata.setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", metadata.get("name", ""))
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    namespace.setdefault("status", {}).setdefault("phase", "Active")


def _secret(secret: Object) -> None:
    _missing(secret, type="Opaque")


_FILLERS: dict[Resource, Callable[[Object], None]] = {
    PODS: _pod,
    DEPLOYMENTS: _deployment,
    REPLICASETS: _replica_set,
    REPLICATIONCONTROLLERS: _replica_set,
    STATEFULSETS: _stateful_set,
    DAEMONSETS: _daemon_set,
    JOBS: _job,
    CRONJOBS: _cron_job,
    SERVICES: _service,
    HPAS: _hpa,
    NAMESPACES: _namespace,
    SECRETS: _secret,
}


def fill_from_limit_ranges(pod: Object, limit_ranges: Iterable[Object]) -> None:
    """Give containers the requests and limits their namespace defaults to."""
    for limit in (each for one in limit_ranges for each in dig(one, "spec", "limits", default=[])):
        if limit.get("type") != "Container":
            continue
        for container in dig(pod, "spec", "containers", default=[]):
            _limit_container(container, limit)


def _limit_container(container: Object, limit: Object) -> None:
    resources = container.setdefault("resources", {})
    for kind, source in (("limits", "default"), ("requests", "defaultRequest")):
        for name, amount in (limit.get(source) or {}).items():
            resources.setdefault(kind, {}).setdefault(name, amount)

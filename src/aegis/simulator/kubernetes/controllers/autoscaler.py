"""HorizontalPodAutoscalers: how many pods the CPU that they use asks for, and what is said about it.

Only what clusters mostly have: the CPU's utilisation, of Deployments and StatefulSets, with the default behaviour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.simulator.kubernetes.controllers.cluster import Cluster, is_active
from aegis.simulator.kubernetes.controllers.conditions import with_condition
from aegis.simulator.kubernetes.controllers.quantities import requested
from aegis.simulator.kubernetes.controllers.runtime import ContainerRuntime
from aegis.simulator.kubernetes.objects import Object, copy_of, dig, is_ready, timestamp
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, HPAS, STATEFULSETS, Resource

_EVERY = timedelta(seconds=15)
_TOLERANCE = 0.1
_SCALES_DOWN_AFTER = timedelta(minutes=5)
_COMPONENT = "horizontal-pod-autoscaler"
_MANAGER = "kube-controller-manager"
_TARGETS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFULSETS}
_UNMEASURED = (
    "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource "
    "metrics API"
)
_DISABLED = "scaling is disabled since the replica count of the target is zero"
_VALID = (
    "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)"
)
_ABLE = {
    "SucceededGetScale": "the HPA controller was able to get the target's current scale",
    "ReadyForNewScale": "recommended size matches current size",
    "ScaleDownStabilized": (
        "recent recommendations were higher than current one, applying the highest recent recommendation"
    ),
    "SucceededRescale": "the HPA controller was able to update the target scale to {size}",
}
Said = tuple[str, str, str, str]
"""A condition's type, status, reason and message."""


@dataclass(frozen=True)
class Usage:
    """What the pods use of what they asked for, in cores, and how many of them were measured."""

    used: float
    requested: float
    pods: int

    @property
    def percent(self) -> int:
        return int(100 * self.used / self.requested)


class AutoscalerController:
    def __init__(self, cluster: Cluster, runtime: ContainerRuntime) -> None:
        self._cluster = cluster
        self._runtime = runtime
        self._due: dict[str, datetime] = {}
        self._recommended: dict[str, list[tuple[datetime, int]]] = {}

    def step(self, now: datetime) -> None:
        self._cluster.refresh()
        known = {each["metadata"]["uid"]: each for each in self._cluster.all(HPAS)}
        self._due = {uid: self._due.get(uid, now) for uid in known}
        self._recommended = {uid: self._recommended.get(uid, []) for uid in known}
        for uid, autoscaler in known.items():
            if now >= self._due[uid]:
                self._due[uid] = now + _EVERY
                self._cluster.attempt(self._reconcile, autoscaler, now)

    def _reconcile(self, autoscaler: Object, now: datetime) -> None:
        reference, namespace = autoscaler["spec"]["scaleTargetRef"], autoscaler["metadata"]["namespace"]
        resource = _TARGETS.get(reference["kind"])
        target = self._cluster.store.find(resource, namespace, reference["name"]) if resource else None
        if resource is None or target is None:
            self._say_there_is_no_target(autoscaler, now)
        else:
            self._scale(autoscaler, resource, target, now)

    def _say_there_is_no_target(self, autoscaler: Object, now: datetime) -> None:
        reference = autoscaler["spec"]["scaleTargetRef"]
        group = reference.get("apiVersion", "").partition("/")[0]
        missing = f'{reference["kind"].lower()}s.{group} "{reference["name"]}" not found'
        why = f"the HPA controller was unable to get the target's current scale: {missing}"
        status = {"currentMetrics": None, "desiredReplicas": 0, **(autoscaler.get("status") or {})}
        conditions = _said(status, ("AbleToScale", "False", "FailedGetScale", why), now=now)
        self._event(autoscaler, "FailedGetScale", missing)
        self._cluster.write_status(HPAS, autoscaler, {**status, "conditions": conditions})

    def _scale(self, autoscaler: Object, resource: Resource, target: Object, now: datetime) -> None:
        current = int(dig(target, "spec", "replicas", default=1))
        status = {**(autoscaler.get("status") or {}), "currentReplicas": current}
        wanted, reason, said = self._decide(autoscaler, target, status, now)
        if wanted != current:
            self._resize(resource, target, wanted)
            status["lastScaleTime"], reason = timestamp(now), "SucceededRescale"
            self._event(autoscaler, "SuccessfulRescale", f"New size: {wanted}", normal=True)
        conditions = _said(status, _able(reason, wanted), *said, now=now)
        self._cluster.write_status(HPAS, autoscaler, {**status, "desiredReplicas": wanted, "conditions": conditions})

    def _decide(self, autoscaler: Object, target: Object, status: Object, now: datetime) -> tuple[int, str, list[Said]]:
        """Return how many pods there shall be, how able it is to scale, and what else to say."""
        current, (least, most) = status["currentReplicas"], _bounds(autoscaler)
        if current == 0:
            return 0, "SucceededGetScale", [("ScalingActive", "False", "ScalingDisabled", _DISABLED)]
        if not least <= current <= most:
            return min(max(current, least), most), "SucceededGetScale", []
        usage = self._usage(target)
        if usage is None:
            self._event(autoscaler, "FailedGetResourceMetric", _UNMEASURED)
            why = f"the HPA was unable to compute the replica count: {_UNMEASURED}"
            return current, "SucceededGetScale", [("ScalingActive", "False", "FailedGetResourceMetric", why)]
        status["currentMetrics"] = [_measured(usage)]
        wanted, reason, limited = self._wanted(autoscaler, current, usage, now)
        return wanted, reason, [("ScalingActive", "True", "ValidMetricFound", _VALID), limited]

    def _usage(self, target: Object) -> Usage | None:
        pods = [
            pod
            for pod in self._cluster.pods_selected(target["metadata"]["namespace"], dig(target, "spec", "selector"))
            if is_active(pod) and is_ready(pod)
        ]
        found = [(self._runtime.cores_used(pod["metadata"]["uid"]), requested(pod, "cpu")) for pod in pods]
        measured = [(cores, asked) for cores, asked in found if cores is not None]
        total = sum(asked for _, asked in measured)
        return Usage(sum(cores for cores, _ in measured), total, len(measured)) if total else None

    def _wanted(self, autoscaler: Object, current: int, usage: Usage, now: datetime) -> tuple[int, str, Said]:
        """Return how many pods there shall be, and what to say of it."""
        uid, (least, most) = autoscaler["metadata"]["uid"], _bounds(autoscaler)
        raw = recommended(current, usage, percent=_percent_wanted(autoscaler["spec"]))
        past = [(at, size) for at, size in self._recommended[uid] if now - at <= _SCALES_DOWN_AFTER]
        self._recommended[uid] = [*past, (now, raw)]
        # It scales down only to what was never too little of late.
        steady = raw if raw >= current else min(current, max(size for _, size in self._recommended[uid]))
        reason = "ReadyForNewScale" if steady == raw else "ScaleDownStabilized"
        if steady > most:
            return most, reason, _limited("TooManyReplicas", "more than the maximum")
        if steady < least:
            return least, reason, _limited("TooFewReplicas", "less than the minimum")
        at_once = max(2 * current, current + 4)
        return min(steady, at_once), reason, _limited("DesiredWithinRange", "")

    def _resize(self, resource: Resource, target: Object, size: int) -> None:
        changed = copy_of(target)
        changed["spec"]["replicas"] = size
        self._cluster.store.update(resource, changed, subresource="scale", manager=_MANAGER)

    def _event(self, autoscaler: Object, reason: str, message: str, *, normal: bool = False) -> None:
        self._cluster.event(autoscaler, "Normal" if normal else "Warning", reason, message, _COMPONENT)


def recommended(current: int, usage: Usage, *, percent: int) -> int:
    """Say how many pods the usage asks for; pods that were not measured count for what makes least of it.

    >>> recommended(2, Usage(used=1.6, requested=1.0, pods=2), percent=80)
    4
    >>> recommended(2, Usage(used=0.8, requested=0.5, pods=1), percent=80)
    2
    """
    ratio = usage.percent / percent
    missing = max(0, current - usage.pods)
    each = usage.requested / usage.pods
    assumed = 0.0 if ratio > 1 else each
    again = 100 * (usage.used + missing * assumed) / (usage.requested + missing * each) / percent
    is_settled = abs(ratio - 1) <= _TOLERANCE or abs(again - 1) <= _TOLERANCE or (ratio > 1) != (again > 1)
    return current if is_settled else math.ceil(again * (usage.pods + missing) - 1e-9)


def _percent_wanted(spec: Object) -> int:
    for metric in spec.get("metrics") or []:
        percent = dig(metric, "resource", "target", "averageUtilization")
        if dig(metric, "resource", "name") == "cpu" and percent:
            return int(percent)
    return 80


def _measured(usage: Usage) -> Object:
    average = f"{round(1000 * usage.used / usage.pods)}m"
    current = {"averageUtilization": usage.percent, "averageValue": average}
    return {"type": "Resource", "resource": {"name": "cpu", "current": current}}


def _bounds(autoscaler: Object) -> tuple[int, int]:
    return int(dig(autoscaler, "spec", "minReplicas", default=1)), int(autoscaler["spec"]["maxReplicas"])


def _able(reason: str, size: int) -> Said:
    return ("AbleToScale", "True", reason, _ABLE[reason].format(size=size))


def _limited(reason: str, how: str) -> Said:
    if not how:
        return ("ScalingLimited", "False", reason, "the desired count is within the acceptable range")
    return ("ScalingLimited", "True", reason, f"the desired replica count is {how} replica count")


def _said(status: Object, *said: Said, now: datetime) -> Sequence[Object]:
    conditions = status.get("conditions") or []
    for kind, value, reason, message in said:
        conditions = with_condition(conditions, kind, value, now=now, reason=reason, message=message)
    return conditions

"""The same objects under another group or version: events.k8s.io and autoscaling/v1, kept as one kind."""

from collections.abc import Callable
from dataclasses import dataclass

from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.kubernetes.resources import EVENTS, EVENTS_V1, HPAS, HPAS_V1, Resource

_Convert = Callable[[Object], Object]


@dataclass(frozen=True)
class Conversion:
    """How a resource is kept when it is not kept as itself."""

    stored_as: Resource
    to_stored: _Convert
    from_stored: _Convert


def conversion_of(resource: Resource) -> Conversion | None:
    return _CONVERSIONS.get(resource)


def stored_as(resource: Resource) -> Resource:
    conversion = _CONVERSIONS.get(resource)
    return conversion.stored_as if conversion else resource


def _renamed(obj: Object, names: dict[str, str]) -> Object:
    return {names.get(name, name): value for name, value in obj.items()}


_EVENT_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def _core_event(event: Object) -> Object:
    return {**_renamed(event, _EVENT_NAMES), "apiVersion": EVENTS.api_version}


def _new_event(event: Object) -> Object:
    renamed = _renamed(event, {core: new for new, core in _EVENT_NAMES.items()})
    return {**renamed, "apiVersion": EVENTS_V1.api_version}


def _hpa_v2(hpa: Object) -> Object:
    spec = dict(hpa.get("spec", {}))
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**hpa, "apiVersion": HPAS.api_version, "spec": spec}


def _hpa_v1(hpa: Object) -> Object:
    spec = {name: value for name, value in hpa.get("spec", {}).items() if name not in ("metrics", "behavior")}
    for metric in dig(hpa, "spec", "metrics", default=[]):
        if dig(metric, "resource", "name") == "cpu":
            spec["targetCPUUtilizationPercentage"] = dig(metric, "resource", "target", "averageUtilization")
    names = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
    status = {name: value for name, value in hpa.get("status", {}).items() if name in names}
    return {**hpa, "apiVersion": HPAS_V1.api_version, "spec": spec, "status": status}


_CONVERSIONS = {
    EVENTS_V1: Conversion(EVENTS, _core_event, _new_event),
    HPAS_V1: Conversion(HPAS, _hpa_v2, _hpa_v1),
}

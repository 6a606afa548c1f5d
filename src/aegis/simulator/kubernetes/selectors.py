"""Which objects a label selector, a field selector or a workload's selector means."""

import re
from collections.abc import Callable, Mapping

from aegis.simulator.kubernetes.errors import bad_request
from aegis.simulator.kubernetes.objects import Object, dig, labels_of
from aegis.simulator.kubernetes.resources import Resource

Predicate = Callable[[Object], bool]
_Requirement = Callable[[Mapping[str, str]], bool]

_SET_BASED = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUALITY = re.compile(r"^([^!=]+?)\s*(!=|==?)\s*([^!=]*)$")
_KEY = re.compile(r"^!?\s*[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$")

_FIELDS = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs": ("status.successful",),
    "replicasets": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "resourceslices": ("spec.nodeName", "spec.driver"),
    "events": (
        *(
            f"involvedObject.{each}"
            for each in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        ),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}


def label_selector(text: str) -> Predicate:
    """Read what `kubectl -l` takes.

    >>> is_web = label_selector("app in (web, api), tier!=db, !legacy")
    >>> is_web({"metadata": {"labels": {"app": "web"}}})
    True

    Raises:
        ApiError: 400, it cannot be read.
    """
    requirements = [_requirement(part, text) for part in _split(text)]
    return lambda obj: all(is_met(labels_of(obj)) for is_met in requirements)


def _split(text: str) -> list[str]:
    parts = re.split(r",(?![^(]*\))", text)
    return [part.strip() for part in parts if part.strip()]


def _requirement(part: str, whole: str) -> _Requirement:
    if matched := _SET_BASED.match(part):
        values = {each.strip() for each in matched[3].split(",")}
        return _member(matched[1], values, negated=matched[2] == "notin")
    if matched := _EQUALITY.match(part):
        return _member(matched[1], {matched[3]}, negated=matched[2] == "!=")
    if not _KEY.match(part):
        raise bad_request(f"unable to parse requirement: found '{part}' in selector '{whole}'")
    if part.startswith("!"):
        absent = part[1:].strip()
        return lambda labels: absent not in labels
    return lambda labels: part in labels


def _member(key: str, values: set[str], *, negated: bool) -> _Requirement:
    if negated:
        return lambda labels: labels.get(key) not in values
    return lambda labels: labels.get(key) in values


def field_selector(text: str, resource: Resource) -> Predicate:
    """Read what `kubectl --field-selector` takes, of the fields this resource offers.

    Raises:
        ApiError: 400, there is no such field to select by.
    """
    terms = [_term(part.strip(), resource) for part in text.split(",") if part.strip()]
    return lambda obj: all((_field_value(obj, path) == value) != negated for path, value, negated in terms)


def _term(part: str, resource: Resource) -> tuple[list[str], str, bool]:
    matched = _EQUALITY.match(part)
    if matched is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, operator, value = matched.groups()
    offered = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.plural, ()))
    if path not in offered:
        raise bad_request(f"field label not supported: {path}")
    return path.split("."), value, operator == "!="


def _field_value(obj: Object, path: list[str]) -> str:
    value = dig(obj, *path)
    if path == ["source"]:
        value = dig(obj, "source", "component")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)

"""What an API server does not store: unknown fields, wrong types, and specs that mean nothing."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aegis.kit.selectors import selects
from aegis.simulator.kubernetes.errors import ApiError, bad_request, cause, invalid
from aegis.simulator.kubernetes.objects import Object, dig, labels_of, name_of
from aegis.simulator.kubernetes.quantities import quantity
from aegis.simulator.kubernetes.resources import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    HPAS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from aegis.simulator.kubernetes.schema import Field, root_of

Cause = dict[str, str]

# Unknown fields


@dataclass(frozen=True)
class Unknown:
    """A field the schema does not have, and where it is."""

    path: str
    parent: Object
    name: str


def unknown_fields(resource: Resource, obj: Object) -> list[Unknown]:
    shape = root_of(resource)
    return list(_unknown(obj, shape, "")) if shape else []


def prune(unknown: list[Unknown]) -> None:
    """Remove the unknown fields from the object they were found in."""
    for each in unknown:
        each.parent.pop(each.name, None)


def strict_refusal(resource: Resource, unknown: list[Unknown], *, patched: bool) -> ApiError:
    """Return the refusal of unknown fields, which differs between a body and a patch."""
    message = "strict decoding error: " + ", ".join(f'unknown field "{each.path}"' for each in unknown)
    if patched:
        why = cause("patch", f'Invalid value: "": {message}')
        return ApiError(422, "Invalid", f' "" is invalid: patch: {why["message"]}', details={"causes": [why]})
    prefix = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    return bad_request(f"{prefix}: {message}")


def _unknown(value: Any, shape: Field, path: str) -> Iterator[Unknown]:
    if isinstance(value, dict):
        for name, each in value.items():
            where = f"{path}.{name}" if path else name
            child = shape.child(name)
            if child is not None:
                yield from _unknown_in(each, child, where)
            elif shape.is_known and (path or name not in ("apiVersion", "kind")):
                yield Unknown(where, value, name)


def _unknown_in(value: Any, shape: Field, path: str) -> Iterator[Unknown]:
    if shape.is_list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, shape.item, f"{path}[{index}]")
    elif shape.is_map and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown(item, shape.item, f"{path}.{key}")
    else:
        yield from _unknown(value, shape, path)


# Types

_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_SCALARS: dict[str, tuple[type, ...]] = {"s": (str,), "i": (int,), "n": (int, float), "b": (bool,)}


def refuse_wrong_types(resource: Resource, obj: Object) -> None:
    """Raise unless every field has a value of its type.

    Raises:
        ApiError: 400, as when Go cannot unmarshal it.
    """
    shape = root_of(resource)
    if shape is not None:
        _check_type(obj, shape, "", resource)


def _check_type(value: Any, shape: Field, path: str, resource: Resource) -> None:
    if value is None:
        return
    if _is_wrong(value, shape):
        got = _JSON_NAMES.get(type(value), "value")
        message = (
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: '
            f"cannot unmarshal {got} into Go struct field {resource.kind}.{path}"
        )
        raise bad_request(message)
    if isinstance(value, list):
        for each in value:
            _check_type(each, shape.item, path, resource)
    elif isinstance(value, dict):
        for name, each in value.items():
            child = shape.child(name)
            if child is not None:
                _check_type(each, child, f"{path}.{name}" if path else name, resource)


def _is_wrong(value: Any, shape: Field) -> bool:
    if shape.is_list:
        return not isinstance(value, list)
    if shape.is_map or shape.is_known:
        return not isinstance(value, dict)
    if shape.type == "":
        return False
    is_bool_as_number = isinstance(value, bool) and shape.type != "b"
    return is_bool_as_number or not isinstance(value, _SCALARS.get(shape.type, (object,)))


# Meaning

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_WORKLOADS = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS)


def refuse_invalid(resource: Resource, new: Object, old: Object | None) -> None:
    """Raise unless the object means something, and changes only what may change.

    Raises:
        ApiError: 422, with a cause for each field.
    """
    causes = [*_metadata_causes(resource, new)]
    for check in _CHECKS.get(resource, ()):
        causes += check(new)
    if old is not None:
        causes += _immutable_causes(resource, new, old)
    if causes:
        raise invalid(resource, name_of(new), causes)


def wrong_value(field: str, value: Any, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return cause(field, f"Invalid value: {shown}: {why}")


def required_value(field: str, why: str = "") -> Cause:
    return cause(field, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def negative_replicas(value: Any) -> list[Cause]:
    if value is None or value >= 0:
        return []
    return [wrong_value("spec.replicas", value, "must be greater than or equal to 0")]


def _metadata_causes(resource: Resource, obj: Object) -> Iterator[Cause]:
    name = name_of(obj)
    if resource.group == "rbac.authorization.k8s.io":
        if any(each in name for each in "/%") or name in (".", ".."):
            yield wrong_value("metadata.name", name, "may not contain '/' or '%'")
    elif resource in (SERVICES, NAMESPACES):
        if not _LABEL.match(name) or len(name) > 63:
            yield wrong_value("metadata.name", name, _LABEL_RULE)
    elif not _SUBDOMAIN.match(name) or len(name) > 253:
        yield wrong_value("metadata.name", name, _SUBDOMAIN_RULE)
    for value in labels_of(obj).values():
        if not _LABEL_VALUE.match(value) or len(value) > 63:
            yield wrong_value("metadata.labels", value, _LABEL_VALUE_RULE)


def refuse_unknown_dry_run(verb: str, dry_run: str) -> None:
    """Refuse a way to try that nobody knows, rather than mean it."""
    if dry_run in ("", "All"):
        return
    why = cause("dryRun", f'Unsupported value: "{dry_run}": supported values: "All"', "FieldValueNotSupported")
    options = f"{verb.capitalize()}Options"
    message = f'{options}.meta.k8s.io "" is invalid: dryRun: {why["message"]}'
    details = {"group": "meta.k8s.io", "kind": options, "causes": [why]}
    raise ApiError(422, "Invalid", message, details=details)


def missing_manager() -> ApiError:
    """Refuse an apply by nobody."""
    why = required_value("fieldManager", "is required for apply patch")
    message = f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {why["message"]}'
    return ApiError(422, "Invalid", message, details={"causes": [why]})


def _replica_causes(obj: Object) -> list[Cause]:
    return negative_replicas(dig(obj, "spec", "replicas"))


def _selector_causes(obj: Object) -> list[Cause]:
    selector = dig(obj, "spec", "selector")
    if not selector:
        return [required_value("spec.selector")]
    labels = dig(obj, "spec", "template", "metadata", "labels", default={})
    if selects(selector, labels):
        return []
    written = "{" + ",".join(f'"{key}":"{value}"' for key, value in sorted(labels.items())) + "}"
    message = f"Invalid value: {written}: `selector` does not match template `labels`"
    return [cause("spec.template.metadata.labels", message)]


def _template_causes(obj: Object) -> list[Cause]:
    return _pod_spec_causes(dig(obj, "spec", "template", "spec", default={}), "spec.template.spec")


def _job_template_causes(obj: Object) -> list[Cause]:
    spec = dig(obj, "spec", "jobTemplate", "spec", "template", "spec", default={})
    causes = _pod_spec_causes(spec, "spec.jobTemplate.spec.template.spec")
    if len(str(dig(obj, "spec", "schedule", default="")).split()) != 5:
        causes.append(wrong_value("spec.schedule", dig(obj, "spec", "schedule", default=""), "expected 5 fields"))
    return causes


def _job_causes(obj: Object) -> list[Cause]:
    causes = _template_causes(obj)
    policy = dig(obj, "spec", "template", "spec", "restartPolicy")
    if policy == "Always":
        message = 'Unsupported value: "Always": supported values: "OnFailure", "Never"'
        causes.append(cause("spec.template.spec.restartPolicy", message, "FieldValueNotSupported"))
    return causes


def _pod_causes(obj: Object) -> list[Cause]:
    return _pod_spec_causes(dig(obj, "spec", default={}), "spec")


def _pod_spec_causes(spec: Object, path: str) -> list[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        return [required_value(f"{path}.containers")]
    causes = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        name = container.get("name", "")
        if not name:
            causes.append(required_value(f"{where}.name"))
        elif name in seen:
            causes.append(cause(f"{where}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate"))
        seen.add(name)
        if not container.get("image"):
            causes.append(required_value(f"{where}.image"))
        causes += _resource_causes(container, where)
    return causes


def _resource_causes(container: Object, where: str) -> list[Cause]:
    resources = container.get("resources") or {}
    causes = []
    amounts: dict[str, dict[str, Any]] = {"limits": {}, "requests": {}}
    for kind, read in amounts.items():
        for name, text in (resources.get(kind) or {}).items():
            try:
                read[name] = quantity(text)
            except ValueError as error:
                causes.append(wrong_value(f"{where}.resources.{kind}[{name}]", text, str(error)))
    for name, asked in amounts["requests"].items():
        limit = amounts["limits"].get(name)
        if limit is not None and asked > limit:
            text = resources["requests"][name]
            why = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            causes.append(wrong_value(f"{where}.resources.requests", text, why))
    return causes


def _hpa_causes(obj: Object) -> list[Cause]:
    low, high = dig(obj, "spec", "minReplicas", default=1), dig(obj, "spec", "maxReplicas")
    if high is None or high < 1:
        return [wrong_value("spec.maxReplicas", high or 0, "must be greater than 0")]
    if high < low:
        return [wrong_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")]
    return []


def _service_causes(obj: Object) -> list[Cause]:
    has_ports = dig(obj, "spec", "ports") or dig(obj, "spec", "clusterIP") == "None"
    is_named_elsewhere = dig(obj, "spec", "type") == "ExternalName"
    return [] if has_ports or is_named_elsewhere else [required_value("spec.ports")]


_CHECKS: dict[Resource, tuple[Callable[[Object], list[Cause]], ...]] = {
    **dict.fromkeys(_WORKLOADS, (_replica_causes, _selector_causes, _template_causes)),
    PODS: (_pod_causes,),
    JOBS: (_job_causes,),
    CRONJOBS: (_job_template_causes,),
    HPAS: (_hpa_causes,),
    SERVICES: (_service_causes,),
}


def _immutable_causes(resource: Resource, new: Object, old: Object) -> list[Cause]:
    if resource in (*_WORKLOADS, JOBS):
        before, after = dig(old, "spec", "selector"), dig(new, "spec", "selector")
        if before != after:
            return [cause("spec.selector", f"Invalid value: {_go(after)}: field is immutable")]
    if resource == JOBS and dig(old, "spec", "template") != dig(new, "spec", "template"):
        return [cause("spec.template", "Invalid value: {}: field is immutable")]
    if resource == STATEFULSETS and _stateful_identity(old) != _stateful_identity(new):
        allowed = (
            "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
            "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
        )
        why = f"Forbidden: updates to statefulset spec for fields other than {allowed} are forbidden"
        return [cause("spec", why, "FieldValueForbidden")]
    if resource == PODS and _pod_identity(old) != _pod_identity(new):
        allowed = (
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
            "`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        why = f"Forbidden: pod updates may not change fields other than {allowed}"
        return [cause("spec", why, "FieldValueForbidden")]
    return []


def _go(selector: Object | None) -> str:
    labels = (selector or {}).get("matchLabels") or {}
    written = ", ".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
    return f"{{MatchLabels:map[string]string{{{written}}}}}"


def _stateful_identity(obj: Object) -> Object:
    spec = dig(obj, "spec", default={})
    return {name: spec.get(name) for name in ("serviceName", "podManagementPolicy", "volumeClaimTemplates")}


def _pod_identity(pod: Object) -> Object:
    spec = dig(pod, "spec", default={})
    changeable = ("activeDeadlineSeconds", "tolerations", "containers", "initContainers", "schedulingGates")
    kept = {name: value for name, value in spec.items() if name not in (*changeable, "ephemeralContainers")}
    for kind in ("containers", "initContainers"):
        kept[kind] = [{**each, "image": ""} for each in spec.get(kind) or []]
    return kept

"""POST, PUT, PATCH and DELETE of objects: decode, complete, validate, then let the store decide."""

import orjson

from aegis.simulator.kubernetes.apply import server_side_apply
from aegis.simulator.kubernetes.defaults import fill_defaults
from aegis.simulator.kubernetes.discovery import has_status
from aegis.simulator.kubernetes.errors import (
    ApiError,
    bad_request,
    conflict,
    details_of,
    method_not_allowed,
    not_found,
)
from aegis.simulator.kubernetes.history import Stored
from aegis.simulator.kubernetes.objects import Object, copy_of, dig, is_terminating, name_of, timestamp, without_nulls
from aegis.simulator.kubernetes.patches import as_written, json_patch, merge_patch, strategic_merge_patch
from aegis.simulator.kubernetes.reading import converted, selected, shown
from aegis.simulator.kubernetes.requests import Answer, Request, Target, answer
from aegis.simulator.kubernetes.resources import NAMESPACES, NODES, Resource
from aegis.simulator.kubernetes.schema import root_of
from aegis.simulator.kubernetes.store import Propagation, Store
from aegis.simulator.kubernetes.validation import (
    missing_manager,
    prune,
    refuse_invalid,
    refuse_wrong_types,
    strict_refusal,
    unknown_fields,
)
from aegis.simulator.kubernetes.versions import conversion_of, stored_as

Warnings = tuple[str, ...]


def create(store: Store, request: Request, target: Target) -> Answer:
    obj = without_nulls(request.object())
    _refuse_other_kind(target.resource, obj)
    warnings = _decoded(request, target, obj)
    return _create(store, request, target, obj, manager=request.manager, warnings=warnings)


def update(store: Store, request: Request, target: Target) -> Answer:
    obj = without_nulls(request.object())
    _refuse_other_kind(target.resource, obj)
    given = name_of(obj)
    if given and given != target.name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({target.name})")
    warnings = _decoded(request, target, obj)
    return _replace(store, request, target, obj, manager=request.manager, warnings=warnings)


def patch(store: Store, request: Request, target: Target) -> Answer:
    if request.patch_type == "apply":
        return _apply(store, request, target)
    current = converted(target, store.get(stored_as(target.resource), target.namespace, target.name))
    obj = without_nulls(patched(current, request, target.resource))
    warnings = _decoded(request, target, obj, is_patch=True)
    return _replace(store, request, target, obj, manager=request.manager, warnings=warnings)


def patched(current: Object, request: Request, resource: Resource) -> Object:
    """Apply the request's patch to `current`.

    Raises:
        ApiError: 415 the type is unknown here, 422 it does not fit, 400 it cannot be read.
    """
    match request.patch_type:
        case "json":
            return json_patch(current, _operations(request.body))
        case "merge":
            return copy_of(merge_patch(current, request.object()))
        case "strategic" if (shape := root_of(resource)) is not None:
            return copy_of(strategic_merge_patch(current, request.object(), shape))
        case _:
            accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise ApiError(415, "UnsupportedMediaType", message)


def _operations(body: bytes) -> list[Object]:
    try:
        content = as_written(body)
    except orjson.JSONDecodeError as error:
        raise bad_request("invalid JSON patch") from error
    if not isinstance(content, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    return content


def delete(store: Store, request: Request, target: Target) -> Answer:
    current = store.get(stored_as(target.resource), target.namespace, target.name)
    gone = _delete(store, request, target, current)
    if is_terminating(gone):
        return shown(store, request, target, Stored(gone))
    details = details_of(target.resource, target.name, uid=current["metadata"]["uid"])
    return answer(_success(details))


def delete_collection(store: Store, request: Request, target: Target) -> Answer:
    for each in selected(store, request, target):
        _delete(store, request, target, each.object)
    return answer({**_success({}), "code": 200})


def _success(details: Object) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _delete(store: Store, request: Request, target: Target, current: Object) -> Object:
    options = request.delete_options
    metadata = current["metadata"]
    wanted = dig(options, "preconditions", "resourceVersion")
    if wanted and wanted != metadata["resourceVersion"]:
        actual = metadata["resourceVersion"]
        why = (
            f"Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {actual}"
        )
        raise conflict(target.resource, metadata["name"], why)
    grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    return store.delete(
        stored_as(target.resource),
        metadata.get("namespace"),
        metadata["name"],
        uid=dig(options, "preconditions", "uid"),
        grace_s=None if grace is None else float(grace),
        propagation=_propagation(request),
        dry_run=request.is_dry_run,
    )


def _propagation(request: Request) -> Propagation:
    options = request.delete_options
    if options.get("orphanDependents"):
        return "Orphan"
    match options.get("propagationPolicy") or request.query.get("propagationPolicy"):
        case "Orphan":
            return "Orphan"
        case "Foreground":
            return "Foreground"
        case _:
            return "Background"


# Server-side apply


def _apply(store: Store, request: Request, target: Target) -> Answer:
    wanted = without_nulls(request.object())
    manager = request.query.get("fieldManager", "")
    if not manager:
        raise missing_manager()
    _refuse_other_kind(target.resource, wanted)
    if dig(wanted, "metadata", "managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    warnings = _decoded(request, target, wanted)
    wanted.setdefault("metadata", {}).setdefault("name", target.name)
    wanted.setdefault("apiVersion", target.resource.api_version)
    current = store.find(stored_as(target.resource), target.namespace, target.name)
    applied = server_side_apply(
        converted(target, current) if current else {},
        wanted,
        root_of(target.resource),
        manager=manager,
        subresource=target.subresource,
        force=request.query.get("force") == "true",
        time=timestamp(store.clock.now()),
    )
    if current is None:
        return _create(store, request, target, applied, manager="", warnings=warnings)
    return _replace(store, request, target, applied, manager="", warnings=warnings)


# What all writes share


def _refuse_other_kind(resource: Resource, obj: Object) -> None:
    sent = (obj.get("apiVersion", resource.api_version), obj.get("kind", resource.kind))
    if sent == (resource.api_version, resource.kind):
        return
    expected = f"{resource.version}, Kind={resource.kind}"
    message = f"{sent[1]} in version {sent[0]!r} cannot be handled as a {resource.kind}: expected {expected}"
    raise bad_request(message)


def _decoded(request: Request, target: Target, obj: Object, *, is_patch: bool = False) -> Warnings:
    """Check names and types of fields; unknown ones are refused, or removed with a warning, or just removed."""
    refuse_wrong_types(target.resource, obj)
    unknown = unknown_fields(target.resource, obj)
    validation = request.query.get("fieldValidation") or "Warn"
    if unknown and validation == "Strict":
        raise strict_refusal(target.resource, unknown, patched=is_patch)
    prune(unknown)
    return tuple(f'unknown field "{each.path}"' for each in unknown) if validation == "Warn" else ()


def _create(store: Store, request: Request, target: Target, obj: Object, *, manager: str, warnings: Warnings) -> Answer:
    resource = stored_as(target.resource)
    new = _stored_form(target, obj)
    metadata = new.setdefault("metadata", {})
    _place(store, target, metadata)
    if has_status(resource) and resource != NODES:
        new.pop("status", None)  # a status is reported, not wished for
    _validate(resource, new, None)
    created = store.create(resource, new, dry_run=request.is_dry_run, manager=manager)
    return shown(store, request, target, Stored(created), code=201, warnings=warnings)


def _replace(
    store: Store, request: Request, target: Target, obj: Object, *, manager: str, warnings: Warnings
) -> Answer:
    resource = stored_as(target.resource)
    current = store.get(resource, target.namespace, target.name)
    new = _stored_form(target, obj)
    metadata = new.setdefault("metadata", {})
    metadata["name"] = target.name
    if resource.namespaced:
        metadata["namespace"] = target.namespace
    if target.subresource in ("", "ephemeralcontainers"):
        _validate(resource, new, None if target.subresource else current)
    updated = store.update(resource, new, subresource=target.subresource, dry_run=request.is_dry_run, manager=manager)
    return shown(store, request, target, Stored(updated), warnings=warnings)


def _stored_form(target: Target, obj: Object) -> Object:
    conversion = conversion_of(target.resource)
    return conversion.to_stored(obj) if conversion else obj


def _place(store: Store, target: Target, metadata: Object) -> None:
    if not target.resource.namespaced:
        return
    if metadata.get("namespace") not in (None, "", target.namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = target.namespace
    if not target.namespace:
        raise method_not_allowed()
    if store.find(NAMESPACES, None, target.namespace) is None:
        raise not_found(NAMESPACES, target.namespace)


def _validate(resource: Resource, new: Object, old: Object | None) -> None:
    draft = copy_of(new)
    metadata = draft["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = f"{metadata['generateName']}x"
    fill_defaults(resource, draft)
    if metadata.get("name"):
        refuse_invalid(resource, draft, old)

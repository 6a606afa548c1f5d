"""A slim OpenAPI v3: what kubectl reads of it (patch parameters, merge keys, field names), and no prose."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import orjson

from aegis.simulator.kubernetes.discovery import etag, offers
from aegis.simulator.kubernetes.recordings import recorded_json
from aegis.simulator.kubernetes.resources import Resource
from aegis.simulator.kubernetes.schema import Field, fields_of, required_of, root_of

_TYPES = {"s": "string", "i": "integer", "n": "number", "b": "boolean"}
_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
    for name, kind in (
        ("pretty", "string"),
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
        ("force", "boolean"),
    )
]


@cache
def index() -> bytes:
    """Answer `/openapi/v3`: one document per group version."""
    paths = {
        root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={etag(document(root) or b'')[1:17]}"} for root in _roots()
    }
    return orjson.dumps({"paths": paths})


@cache
def document(root: str) -> bytes | None:
    """Answer `/openapi/v3/<root>`, e.g. `apis/apps/v1`; None when there is no such group version."""
    resources = _roots().get(root)
    if resources is None:
        return None
    models = _reachable(field.model for each in resources if (field := root_of(each)))
    return orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": recorded_json("version.json")["gitVersion"]},
            "paths": {path: item for each in resources for path, item in _paths(root, each)},
            "components": {"schemas": {model: _schema(model) for model in sorted(models)}},
        }
    )


@cache
def _roots() -> dict[str, list[Resource]]:
    roots: dict[str, list[Resource]] = {}
    for offer in offers().values():
        resource = offer.resource
        root = f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"
        roots.setdefault(root, []).append(resource)
    return roots


def _reachable(models: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(models)
    while waiting:
        model = waiting.pop()
        if model not in found:
            found.add(model)
            waiting += [field.model for field in fields_of(model).values() if field.model]
    return found


@cache
def _kinds() -> dict[str, list[dict[str, str]]]:
    kinds: dict[str, list[dict[str, str]]] = {}
    for name, model in recorded_json("schema.json")["gvk"].items():
        group, version, kind = name.split("/")
        kinds.setdefault(model, []).append({"group": group, "version": version, "kind": kind})
    return kinds


def _schema(model: str) -> dict[str, Any]:
    fields = fields_of(model)
    if not fields:
        return {"type": "string"} if model.endswith(("Quantity", "IntOrString", "Time")) else {"type": "object"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _property(field) for name, field in fields.items()},
    }
    if required_of(model):
        schema["required"] = list(required_of(model))
    if model in _kinds():
        schema["x-kubernetes-group-version-kind"] = _kinds()[model]
    return schema


def _property(field: Field) -> dict[str, Any]:
    value = _value(field)
    extensions: dict[str, Any] = {
        "x-kubernetes-patch-strategy": ",".join(sorted(field.strategies)),
        "x-kubernetes-patch-merge-key": field.merge_key,
        "x-kubernetes-list-type": field.list_type,
        "x-kubernetes-list-map-keys": list(field.list_keys),
        "x-kubernetes-map-type": "atomic" if field.is_atomic else "",
    }
    given = {name: extension for name, extension in extensions.items() if extension}
    if field.is_list:
        return {"type": "array", "items": value, **given}
    if field.is_map:
        return {"type": "object", "additionalProperties": value, **given}
    return {**value, **given}


def _value(field: Field) -> dict[str, Any]:
    if field.model:
        return {"allOf": [{"$ref": f"#/components/schemas/{field.model}"}], "default": {}}
    return {"type": _TYPES.get(field.type, "string")}


def _paths(root: str, resource: Resource) -> Iterable[tuple[str, dict[str, Any]]]:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    field = root_of(resource)
    schema = {"$ref": f"#/components/schemas/{field.model}"} if field else {"type": "object"}
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}
    read = {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": kind, "responses": answer}
    patch = {
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind,
        "parameters": _PARAMETERS,
        "requestBody": {"content": {each: {"schema": {"type": "object"}} for each in _PATCH_TYPES}},
        "responses": answer,
    }
    yield f"/{root}{scope}/{resource.plural}/{{name}}", {"get": read, "patch": patch}
    create = {**patch, "x-kubernetes-action": "post"}
    yield f"/{root}{scope}/{resource.plural}", {"get": {**read, "x-kubernetes-action": "list"}, "post": create}

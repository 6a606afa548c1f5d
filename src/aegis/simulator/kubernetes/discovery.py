"""What `kubectl api-resources` sees: the groups, versions and resources this server offers."""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from aegis.simulator.kubernetes.recordings import recorded_json
from aegis.simulator.kubernetes.resources import Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_METRICS = "metrics.k8s.io"


@dataclass(frozen=True)
class Offer:
    """A resource with what discovery says of it."""

    resource: Resource
    verbs: tuple[str, ...]
    subresources: frozenset[str]
    short_names: tuple[str, ...] = field(default=())

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


@cache
def offers() -> dict[tuple[str, str, str], Offer]:
    """Return everything on offer by group, version and plural."""
    found = {}
    for group in (*_core()["items"], *_groups()["items"]):
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            for each in version["resources"]:
                resource = Resource(
                    group=name,
                    version=version["version"],
                    plural=each["resource"],
                    kind=each["responseKind"]["kind"],
                    namespaced=each["scope"] == "Namespaced",
                )
                found[name, resource.version, resource.plural] = Offer(
                    resource=resource,
                    verbs=tuple(each["verbs"]),
                    subresources=frozenset(sub["subresource"] for sub in each.get("subresources", [])),
                    short_names=tuple(each.get("shortNames", [])),
                )
    return found


def has_status(resource: Resource) -> bool:
    offer = offers().get((resource.group, resource.version, resource.plural))
    return offer is not None and offer.has_status


@cache
def aggregated(path: str) -> bytes:
    """Answer `/api` or `/apis` in the one form that spares clients a request per group."""
    return orjson.dumps(_core() if path == "/api" else _groups())


@cache
def etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest().upper()}"'


@cache
def legacy() -> dict[str, bytes]:
    """Return the answers to `/api`, `/apis` and each group version, for clients that ask one by one."""
    answers: dict[str, Any] = {"/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}}
    groups = []
    for group in (*_core()["items"], *_groups()["items"]):
        name = group["metadata"].get("name", "")
        versions = [_group_version(name, version["version"]) for version in group["versions"]]
        described = {"name": name, "versions": versions, "preferredVersion": versions[0]}
        if name:
            groups.append(described)
            answers[f"/apis/{name}"] = {"kind": "APIGroup", "apiVersion": "v1", **described}
        for version in group["versions"]:
            root = f"/apis/{name}" if name else "/api"
            answers[f"{root}/{version['version']}"] = _resource_list(name, version)
    answers["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return {path: orjson.dumps(answer) for path, answer in answers.items()}


def _group_version(group: str, version: str) -> dict[str, str]:
    return {"groupVersion": f"{group}/{version}" if group else version, "version": version}


def _resource_list(group: str, version: dict[str, Any]) -> dict[str, Any]:
    resources = []
    for each in version["resources"]:
        resources.append(_api_resource(each["resource"], each, each))
        resources += [
            _api_resource(f"{each['resource']}/{sub['subresource']}", sub, each) for sub in each.get("subresources", [])
        ]
    group_version = _group_version(group, version["version"])["groupVersion"]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _api_resource(name: str, described: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
    optional: dict[str, Any] = {key: described[key] for key in ("shortNames", "categories") if key in described}
    kind = described.get("responseKind") or {}
    foreign = {key: kind[key] for key in ("group", "version") if kind.get(key)}
    return {
        "name": name,
        "singularName": described.get("singularResource", ""),
        "namespaced": parent["scope"] == "Namespaced",
        **foreign,
        "kind": kind.get("kind", ""),
        "verbs": described["verbs"],
        **optional,
    }


@cache
def _core() -> Any:
    recorded = recorded_json("discovery-core.json")
    return {**recorded, "items": [_without_resize(group) for group in recorded["items"]]}


def _without_resize(group: dict[str, Any]) -> dict[str, Any]:
    """Leave out `pods/resize`: the simulated kubelet cannot resize a running container."""
    resources = [
        {**each, "subresources": [sub for sub in each.get("subresources", []) if sub["subresource"] != "resize"]}
        for each in group["versions"][0]["resources"]
    ]
    return {**group, "versions": [{**group["versions"][0], "resources": resources}]}


@cache
def _groups() -> Any:
    recorded = recorded_json("discovery-groups.json")
    metrics = {
        "metadata": {"name": _METRICS, "creationTimestamp": None},
        "versions": [
            {
                "version": "v1beta1",
                "freshness": "Current",
                "resources": [
                    _metrics_resource("nodes", "NodeMetrics", "Cluster"),
                    _metrics_resource("pods", "PodMetrics", "Namespaced"),
                ],
            }
        ],
    }
    return {**recorded, "items": [*recorded["items"], metrics]}


def _metrics_resource(plural: str, kind: str, scope: str) -> dict[str, Any]:
    return {
        "resource": plural,
        "responseKind": {"group": _METRICS, "version": "v1beta1", "kind": kind},
        "scope": scope,
        "singularResource": "",
        "verbs": ["get", "list"],
    }

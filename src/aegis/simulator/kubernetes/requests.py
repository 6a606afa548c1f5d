"""A request as this server understands it, and the answers it can give."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import yaml

from aegis.simulator.kubernetes import protobuf
from aegis.simulator.kubernetes.discovery import Offer, offers
from aegis.simulator.kubernetes.errors import ApiError, bad_request
from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.rbac import Attributes
from aegis.simulator.kubernetes.resources import Resource
from aegis.simulator.kubernetes.users import User

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
_PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    body: bytes
    code: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Stream:
    """An answer that goes on: a watch."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str = JSON
    code: int = 200


def answer(content: Any, code: int = 200, *, warnings: tuple[str, ...] = ()) -> Answer:
    headers = tuple(("warning", f'299 - "{_quoted(each)}"') for each in warnings)
    return Answer(orjson.dumps(content), code, headers=headers)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@dataclass(frozen=True)
class Target:
    """What a path of the API is about."""

    offer: Offer
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> Resource:
        return self.offer.resource


def target_of(path: str) -> Target | None:
    """Read `/api/v1/...` and `/apis/<group>/<version>/...`; None when nothing is offered there."""
    match [part for part in path.split("/") if part]:
        case ["api", version, *rest] if rest:
            return _target("", version, rest)
        case ["apis", group, version, *rest] if rest:
            return _target(group, version, rest)
        case _:
            return None


def _target(group: str, version: str, rest: list[str]) -> Target | None:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and _is_namespaced(group, version, rest[2]):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = ([*rest, "", ""])[:3]
    offer = offers().get((group, version, plural))
    if offer is None or (subresource and subresource not in offer.subresources):
        return None
    return Target(offer, namespace, name, subresource)


def _is_namespaced(group: str, version: str, plural: str) -> bool:
    offer = offers().get((group, version, plural))
    return offer is not None and offer.resource.namespaced


@dataclass(frozen=True)
class Request:
    """One request, read once: who wants what of which object."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User
    target: Target | None = field(default=None)

    @property
    def verb(self) -> str:
        """What RBAC calls it: get, list, watch, create, update, patch, delete, deletecollection."""
        verb = _VERBS.get(self.method, self.method.lower())
        if self.target is None or self.target.name:
            return verb
        if verb == "get":
            return "watch" if self.is_watch else "list"
        return "deletecollection" if verb == "delete" else verb

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in ("true", "1")

    @property
    def is_dry_run(self) -> bool:
        return self.query.get("dryRun") == "All" or "All" in (self.delete_options.get("dryRun") or [])

    @cached_property
    def delete_options(self) -> Object:
        """The options of a deletion or eviction; empty for anything else."""
        if self.method == "DELETE":
            return self.object()
        is_eviction = self.target is not None and self.target.subresource == "eviction"
        options: Object = (self.object().get("deleteOptions") or {}) if is_eviction else {}
        return options

    @property
    def wants_table(self) -> bool:
        return "as=Table" in self.headers.get("accept", "")

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", JSON).partition(";")[0].strip()

    @property
    def patch_type(self) -> str:
        """`json`, `merge`, `strategic` or `apply`; empty for anything but a known patch."""
        return _PATCH_TYPES.get(self.media_type, "") if self.method == "PATCH" else ""

    @property
    def manager(self) -> str:
        """Whose the fields are that this request sets: as it says, or as its user agent is called."""
        agent = self.headers.get("user-agent", "").partition("/")[0]
        return self.query.get("fieldManager") or agent or "unknown"

    @property
    def attributes(self) -> Attributes:
        """What RBAC is asked about this request."""
        if self.target is None:
            return Attributes(verb=self.verb, path=self.path)
        resource = self.target.resource
        is_namespace = resource.plural == "namespaces" and not resource.group
        return Attributes(
            verb=self.verb,
            group=resource.group,
            resource=resource.plural,
            subresource=self.target.subresource,
            namespace=self.target.name if is_namespace else self.target.namespace,
            name=self.target.name or self._selected_name(),
        )

    def _selected_name(self) -> str:
        """Return the one name a list or watch is limited to, as rules with resourceNames need."""
        prefix = "metadata.name="
        terms = self.query.get("fieldSelector", "").split(",")
        return next((each.removeprefix(prefix) for each in terms if each.startswith(prefix)), "")

    def object(self) -> Object:
        """Read the body, in any of the formats kubectl writes; an empty one is an empty object.

        Raises:
            ApiError: 400 it cannot be read, 415 the format is unknown.
        """
        if not self.body:
            return {}
        content = self.content()
        if not isinstance(content, dict):
            raise bad_request("the body of the request is not an object")
        return content

    def content(self) -> Any:
        """Read the body whatever it is; a JSON patch is a list."""
        if self.media_type == _PROTOBUF or self.body.startswith(protobuf.MAGIC):
            return protobuf.decode(self.body)
        if "yaml" in self.media_type:
            return _read_yaml(self.body)
        if "json" in self.media_type:
            return _read_json(self.body)
        accepted = f"{JSON}, application/yaml, {_PROTOBUF}"
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise ApiError(415, "UnsupportedMediaType", message)


def _read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"error decoding: {error}") from error


def _read_yaml(body: bytes) -> Any:
    try:
        return yaml.load(body, Loader=_YamlLoader)  # noqa: S506 - a SafeLoader without timestamps
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding: {error}") from error


class _YamlLoader(yaml.CSafeLoader):
    """Reads times as text, as JSON has them."""


_YamlLoader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for start, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}

"""GET of one object or of many, as they are or as a table."""

import base64
from collections.abc import Iterable, Sequence

import orjson

from aegis.simulator.kubernetes import disruption
from aegis.simulator.kubernetes.errors import bad_request, expired, not_found
from aegis.simulator.kubernetes.history import Stored
from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.requests import Answer, Request, Target, answer
from aegis.simulator.kubernetes.resources import PDBS
from aegis.simulator.kubernetes.selectors import Predicate, field_selector, label_selector
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.tables import table
from aegis.simulator.kubernetes.versions import conversion_of, stored_as


def get(store: Store, request: Request, target: Target) -> Answer:
    refresh_derived(store, target)
    stored = store.stored(stored_as(target.resource), target.namespace, target.name)
    if stored is None:
        raise not_found(target.resource, target.name)
    return shown(store, request, target, stored)


def shown(
    store: Store, request: Request, target: Target, stored: Stored, *, code: int = 200, warnings: tuple[str, ...] = ()
) -> Answer:
    """Answer with one object in the form the request accepts."""
    if request.wants_table:
        obj = converted(target, stored.object)
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        include = request.query.get("includeObject", "")
        content = table(target.resource, [obj], now=store.clock.now(), metadata=metadata, include=include)
        return answer(content, code, warnings=warnings)
    if not warnings and conversion_of(target.resource) is None:
        return Answer(stored.json, code)
    return answer(converted(target, stored.object), code, warnings=warnings)


def converted(target: Target, obj: Object) -> Object:
    """Return a stored object as the requested version has it."""
    conversion = conversion_of(target.resource)
    return conversion.from_stored(obj) if conversion else obj


def list_objects(store: Store, request: Request, target: Target) -> Answer:
    refresh_derived(store, target)
    at, after = _moment(request, store)
    metadata: Object = {"resourceVersion": str(at)}
    page, rest = _page(selected(store, request, target, at=at), request, after)
    if rest:
        last = page[-1].object["metadata"]
        metadata["continue"] = _token(at, last.get("namespace", ""), last["name"])
        if not request.query.get("labelSelector") and not request.query.get("fieldSelector"):
            metadata["remainingItemCount"] = rest
    if request.wants_table:
        objects = [converted(target, each.object) for each in page]
        include = request.query.get("includeObject", "")
        return answer(table(target.resource, objects, now=store.clock.now(), metadata=metadata, include=include))
    return Answer(_list_body(target, page, metadata))


def selected(store: Store, request: Request, target: Target, *, at: int | None = None) -> list[Stored]:
    """Return what the request's namespace and selectors mean, now or at a resourceVersion, by namespace and name."""
    matches = predicate(request, target)
    resource, namespace = stored_as(target.resource), target.namespace or None
    is_past = at is not None and at != store.resource_version
    chosen: Iterable[Stored] = (
        store.all_stored_at(at, resource, namespace) if is_past and at else store.all_stored(resource, namespace)
    )
    return sorted((each for each in chosen if matches(each.object)), key=_position)


def predicate(request: Request, target: Target) -> Predicate:
    """Combine the selectors of a request.

    Raises:
        ApiError: 400, one of them cannot be read.
    """
    labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    parts: list[Predicate] = []
    if labels:
        parts.append(label_selector(labels))
    if fields:
        parts.append(field_selector(fields, stored_as(target.resource)))
    if target.name:
        name = target.name
        parts.append(lambda obj: bool(obj["metadata"]["name"] == name))
    return lambda obj: all(part(obj) for part in parts)


def refresh_derived(store: Store, target: Target) -> None:
    """Bring up to date what this server computes rather than stores."""
    if target.resource == PDBS:
        disruption.refresh(store, target.namespace or None)


def _position(stored: Stored) -> tuple[str, str]:
    metadata = stored.object["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _moment(request: Request, store: Store) -> tuple[int, tuple[str, str] | None]:
    """Return which resourceVersion a list is to show, and after which object: later pages go on with the first."""
    if token := request.query.get("continue", ""):
        return _position_after(token, store)
    if request.query.get("resourceVersionMatch") == "Exact":
        return int(request.query.get("resourceVersion", "")), None
    return store.resource_version, None


def _page(found: Sequence[Stored], request: Request, after: tuple[str, str] | None) -> tuple[Sequence[Stored], int]:
    """Return the page asked for and how many objects come after it."""
    waiting = [each for each in found if after is None or _position(each) > after]
    limit = int(request.query.get("limit") or 0) or len(waiting)
    return waiting[:limit], max(0, len(waiting) - limit)


def _token(resource_version: int, namespace: str, name: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([resource_version, namespace, name])).decode()


def _position_after(token: str, store: Store) -> tuple[int, tuple[str, str]]:
    try:
        resource_version, namespace, name = orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise bad_request("continue key is not valid: it was not issued by this server") from error
    if resource_version < store.history.oldest:
        raise expired("The provided continue parameter is too old to display a consistent list result.")
    return resource_version, (namespace, name)


def _list_body(target: Target, page: Iterable[Stored], metadata: Object) -> bytes:
    """Join what is serialized already; at thousands of pods this is most of the work saved."""
    conversion = conversion_of(target.resource)
    if conversion is None:
        items = [each.json_in_list for each in page]
    else:
        items = [Stored(conversion.from_stored(each.object)).json_in_list for each in page]
    kind, version = target.resource.kind.encode(), target.resource.api_version.encode()
    return b'{"kind":"%sList","apiVersion":"%s","metadata":%s,"items":[%s]}' % (
        kind,
        version,
        orjson.dumps(metadata),
        b",".join(items),
    )

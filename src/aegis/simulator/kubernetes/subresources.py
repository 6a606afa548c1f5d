"""What hangs below an object: its scale, its log, its eviction, its binding, its tokens."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Protocol

from aegis.kit.selectors import selector_text
from aegis.simulator.kubernetes import disruption
from aegis.simulator.kubernetes.errors import (
    ApiError,
    bad_request,
    conflict,
    details_of,
    forbidden,
    invalid,
    method_not_allowed,
    not_found,
)
from aegis.simulator.kubernetes.objects import Object, copy_of, dig, is_finished, timestamp
from aegis.simulator.kubernetes.requests import TEXT, Answer, Request, Stream, Target, answer
from aegis.simulator.kubernetes.resources import NODES, PODS, Resource
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import Users, service_account
from aegis.simulator.kubernetes.validation import negative_replicas
from aegis.simulator.kubernetes.writing import patched

_SCALE = Resource("autoscaling", "v1", "scales", "Scale")
_FOLLOW_EVERY_S = 0.5


class LogSource(Protocol):
    """Who knows what a container wrote."""

    def logs(self, namespace: str, pod: str, container: str, previous: bool) -> str: ...  # noqa: FBT001


# Scale


def scale(store: Store, request: Request, target: Target) -> Answer:
    current = store.get(target.resource, target.namespace, target.name)
    if request.method == "GET":
        return answer(_scale_of(current))
    if request.method == "PUT":
        wanted = request.object()
    elif request.method == "PATCH" and request.patch_type in ("json", "merge", "strategic"):
        wanted = patched(_scale_of(current), request, _SCALE)
    else:
        raise method_not_allowed()
    replicas = dig(wanted, "spec", "replicas", default=0)
    if causes := negative_replicas(replicas):
        raise invalid(_SCALE, target.name, causes)
    new = copy_of(current)
    new["spec"]["replicas"] = replicas
    version = dig(wanted, "metadata", "resourceVersion")
    if version:
        new["metadata"]["resourceVersion"] = version
    updated = store.update(
        target.resource, new, subresource="scale", dry_run=request.is_dry_run, manager=request.manager
    )
    return answer(_scale_of(updated))


def _scale_of(obj: Object) -> Object:
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in names},
        "spec": {"replicas": dig(obj, "spec", "replicas", default=0)},
        "status": {
            "replicas": dig(obj, "status", "replicas", default=0),
            "selector": selector_text(dig(obj, "spec", "selector")),
        },
    }


# Eviction


def evict(store: Store, request: Request, target: Target) -> Answer:
    pod = store.get(PODS, target.namespace, target.name)
    named = dig(request.object(), "metadata", "name", default=target.name)
    if named != target.name:
        raise bad_request("name in URL does not match name in Eviction object")
    disruption.evict(store, pod, request.delete_options, dry_run=request.is_dry_run)
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)


# Binding


def bind(store: Store, request: Request, target: Target) -> Answer:
    pod = store.get(PODS, target.namespace, target.name)
    node = str(dig(request.object(), "target", "name", default=""))
    if dig(pod, "spec", "nodeName"):
        why = f'pod {target.name} is already assigned to node "{dig(pod, "spec", "nodeName")}"'
        raise conflict(Resource("", "v1", "pods/binding", "Binding"), target.name, why)
    store.get(NODES, None, node)
    new = copy_of(pod)
    new["spec"]["nodeName"] = node
    store.update(PODS, new, subresource="binding", dry_run=request.is_dry_run, manager=request.manager)
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)


# Logs


def log(store: Store, request: Request, target: Target, source: LogSource | None) -> Answer | Stream:
    if source is None:
        raise ApiError(501, "NotImplemented", "this simulated cluster has no container runtime, so no logs")
    pod = store.get(PODS, target.namespace, target.name)
    container = _container(pod, request.query.get("container", ""))
    previous = request.query.get("previous") == "true"
    _refuse_before_start(pod, container, previous=previous)
    text = source.logs(target.namespace, target.name, container, previous)
    if request.query.get("follow") == "true" and not previous:
        return Stream(_following(store, target, container, source, _limited(text, request)), content_type=TEXT)
    return Answer(_limited(text, request).encode(), content_type=TEXT)


async def _following(
    store: Store, target: Target, container: str, source: LogSource, sent: str
) -> AsyncGenerator[bytes, None]:
    yield sent.encode()
    known = source.logs(target.namespace, target.name, container, False)
    while True:
        pod = store.find(PODS, target.namespace, target.name)
        if pod is None or is_finished(pod):
            return
        await asyncio.sleep(_FOLLOW_EVERY_S)
        text = source.logs(target.namespace, target.name, container, False)
        added = text.removeprefix(known)
        if added:
            yield added.encode()
        known = text


def _container(pod: Object, wanted: str) -> str:
    name = dig(pod, "metadata", "name", default="")
    names = [each["name"] for each in dig(pod, "spec", "containers", default=[])]
    if wanted:
        initial = [each["name"] for each in dig(pod, "spec", "initContainers", default=[])]
        if wanted not in [*names, *initial]:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    chosen = dig(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container")
    if chosen in names:
        return str(chosen)
    if len(names) != 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
    return str(names[0])


def _refuse_before_start(pod: Object, container: str, *, previous: bool) -> None:
    name = dig(pod, "metadata", "name", default="")
    statuses = dig(pod, "status", "containerStatuses", default=[])
    status = next((each for each in statuses if each["name"] == container), None)
    if status is None:
        return
    if previous and not dig(status, "lastState", "terminated"):
        raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    waiting = dig(status, "state", "waiting", "reason")
    if waiting and not status.get("restartCount"):
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {waiting}')


def _limited(text: str, request: Request) -> str:
    tail = request.query.get("tailLines")
    if tail is not None:
        lines = text.splitlines(keepends=True)
        text = "".join(lines[len(lines) - min(int(tail), len(lines)) :])
    limit = request.query.get("limitBytes")
    return text if limit is None else text[: int(limit)]


# Tokens


def token(store: Store, request: Request, target: Target, users: Users) -> Answer:
    store.get(target.resource, target.namespace, target.name)
    asked = request.object()
    seconds = int(dig(asked, "spec", "expirationSeconds", default=3600))
    issued = f"{store.rng.getrandbits(256):064x}"
    users.issue(issued, service_account(target.namespace, target.name))
    expires = timestamp(store.clock.now() + timedelta(seconds=seconds))
    status = {"token": issued, "expirationTimestamp": expires}
    return answer({**asked, "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "status": status}, 201)


# What needs a real kubelet


def refuse_streaming(store: Store, target: Target) -> None:
    """Refuse exec, attach, port-forward and proxy.

    Raises:
        ApiError: always; 404 without the object, else 403 with the reason.
    """
    if store.find(target.resource, target.namespace, target.name) is None:
        raise not_found(target.resource, target.name)
    why = f"{target.subresource} is not offered by this simulated cluster: its containers are pretended"
    refusal = forbidden(target.resource, target.name, why)
    refusal.details = details_of(target.resource, target.name)
    raise refusal

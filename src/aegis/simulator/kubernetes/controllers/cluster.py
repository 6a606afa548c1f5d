"""What all controllers share: the store's objects by owner and node, and the few ways to write them."""

import logging
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from aegis.kit.selectors import selects
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import (
    Object,
    controller_of,
    copy_of,
    dig,
    is_finished,
    is_ready,
    is_terminating,
    labels_of,
    moment,
)
from aegis.simulator.kubernetes.resources import (
    DEPLOYMENTS,
    HPAS,
    NODES,
    PDBS,
    PODS,
    REPLICASETS,
    RESOURCEQUOTAS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from aegis.simulator.kubernetes.store import Store

log = logging.getLogger(__name__)
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes names from: no vowels, nothing to misread
EventType = Literal["Normal", "Warning"]
_CACHED = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, PODS, NODES, SERVICES, PDBS, RESOURCEQUOTAS, HPAS)


class Cluster:
    """A look at the store that is renewed only when the store has changed."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.version = -1
        self._lists: dict[Resource, list[Object]] = {}
        self._versions: dict[Resource, int] = {}
        self._owned: dict[str, list[Object]] = {}
        self._pods_by_node: dict[str, list[Object]] = {}

    def refresh(self) -> int:
        """Look again if anything changed; return the version that is now seen."""
        latest = self.store.resource_version
        if self.version != latest:
            stale = self._stale()
            self.version = latest
            for resource in stale:
                self._lists[resource] = self.store.list(resource)
                self._versions[resource] = latest
            if PODS in stale or REPLICASETS in stale:
                self._index()
        return self.version

    def _stale(self) -> set[Resource]:
        if self.version < 0:
            return set(_CACHED)
        try:
            changed = {change.resource for change in self.store.changes(self.version)}
        except ApiError:
            return set(_CACHED)  # the history is shorter than we were away
        return changed & set(_CACHED)

    def version_of(self, *resources: Resource) -> int:
        """Return the version at which any of these resources last changed."""
        self.refresh()
        return max(self._versions[resource] for resource in resources)

    def _index(self) -> None:
        owned, by_node = defaultdict(list), defaultdict(list)
        for resource in (REPLICASETS, PODS):
            for obj in self._lists[resource]:
                owner = controller_of(obj)
                if owner:
                    owned[owner["uid"]].append(obj)
        for pod in self._lists[PODS]:
            by_node[dig(pod, "spec", "nodeName", default="")].append(pod)
        self._owned, self._pods_by_node = dict(owned), dict(by_node)

    def all(self, resource: Resource) -> list[Object]:
        return self._lists[resource]

    def owned_by(self, owner: Object) -> list[Object]:
        """Return the ReplicaSets or Pods that `owner` controls."""
        return self._owned.get(owner["metadata"]["uid"], [])

    def pods_on(self, node: str) -> list[Object]:
        """Return the pods bound to a node; `""` for those that wait for one."""
        return self._pods_by_node.get(node, [])

    def pods_selected(self, namespace: str, selector: Object | None) -> list[Object]:
        return [
            pod
            for pod in self._lists[PODS]
            if pod["metadata"]["namespace"] == namespace and selects(selector, labels_of(pod))
        ]

    def write_status(self, resource: Resource, obj: Object, status: Object) -> bool:
        """Replace the status if it differs from the one stored; tell whether it did."""
        meta = obj["metadata"]
        current = self.store.find(resource, meta.get("namespace"), meta["name"])
        if current is None or current["metadata"]["uid"] != meta["uid"] or current.get("status") == status:
            return False
        self.store.update(resource, {**current, "status": status}, subresource="status")
        return True

    def change(self, resource: Resource, obj: Object, edit: Callable[[Object], None]) -> Object:
        """Apply `edit` to a copy of the object as it is now and write it."""
        meta = obj["metadata"]
        changed = copy_of(self.store.get(resource, meta.get("namespace"), meta["name"]))
        edit(changed)
        return self.store.update(resource, changed)

    def attempt(self, action: Callable[..., None], obj: Object, *more: Any) -> None:
        """Do something about one object. Refused or senseless, it must not keep the others waiting."""
        try:
            action(obj, *more)
        except (ApiError, ValueError, KeyError, TypeError) as error:
            meta = obj["metadata"]
            where = f"{meta.get('namespace', '')}/{meta['name']}"
            log.warning("%s of %s %s: %r", action.__qualname__, obj.get("kind"), where, error)

    def adopt(self, resource: Resource, orphan: Object, owner: Object) -> None:
        self.change(resource, orphan, lambda it: it["metadata"].update(ownerReferences=[owner]))
        self.refresh()

    def event(self, obj: Object, kind: EventType, reason: str, message: str, component: str) -> None:
        try:
            self.store.record_event(involved=obj, type=kind, reason=reason, message=message, component=component)
        except ApiError:
            return  # a namespace on its way out takes no events, and nobody misses them

    def suffix(self) -> str:
        return "".join(self.rng.choice(ALPHABET) for _ in range(5))


def owner_reference(owner: Object, resource: Resource) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_active(pod: Object) -> bool:
    return not is_finished(pod) and not is_terminating(pod)


def ready_since(pod: Object) -> datetime | None:
    if not is_ready(pod):
        return None
    conditions = dig(pod, "status", "conditions", default=[])
    return next(moment(each["lastTransitionTime"]) for each in conditions if each["type"] == "Ready")


def is_available(pod: Object, min_ready_s: float, now: datetime) -> bool:
    since = ready_since(pod)
    return since is not None and (min_ready_s <= 0 or now - since >= timedelta(seconds=min_ready_s))


def template_hash(template: Object) -> str:
    """Name a pod template by its content, in the style of `pod-template-hash`."""
    number = 2166136261  # FNV-1a, as Kubernetes uses
    for byte in repr(_sorted(template)).encode():
        number = (number ^ byte) * 16777619 % 2**32
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in str(number))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _sorted(value[key])) for key in sorted(value)]
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    return value


def pod_from(template: Object, *, name: str, namespace: str, owner: Object) -> Object:
    """Make the pod that a template describes, with what admission would add."""
    meta = copy_of(template.get("metadata") or {})
    spec = copy_of(template["spec"])
    spec["tolerations"] = [*(spec.get("tolerations") or []), *_default_tolerations(spec)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": meta.get("labels") or {},
            **({"annotations": meta["annotations"]} if meta.get("annotations") else {}),
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def _default_tolerations(spec: Object) -> list[Object]:
    tolerated = {each.get("key") for each in spec.get("tolerations") or []}
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in keys
        if key not in tolerated and None not in tolerated
    ]

"""The cluster's objects in memory, with the rules every write obeys."""

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Literal

from aegis.kit.clock import Clock
from aegis.simulator.kubernetes import quota
from aegis.simulator.kubernetes.defaults import fill_defaults, fill_from_limit_ranges
from aegis.simulator.kubernetes.errors import (
    already_exists,
    cause,
    conflict,
    deleted_meanwhile,
    forbidden,
    invalid,
    not_found,
)
from aegis.simulator.kubernetes.events import EventLog
from aegis.simulator.kubernetes.garbage import (
    FOREGROUND,
    Key,
    Owners,
    owner_uids,
    without_finalizer,
    without_owners,
)
from aegis.simulator.kubernetes.history import Change, ChangeType, History, Stored
from aegis.simulator.kubernetes.managed_fields import after_update
from aegis.simulator.kubernetes.objects import (
    Object,
    copy_of,
    dig,
    drop_empty_metadata,
    is_finished,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    timestamp,
)
from aegis.simulator.kubernetes.resources import (
    LIMITRANGES,
    NAMESPACES,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
    Resource,
)
from aegis.simulator.kubernetes.schema import root_of

Propagation = Literal["Background", "Foreground", "Orphan"]
Objects = list[Object]  # named here, since `list` means something else inside Store
Changes = list[Change]
Names = list[str]
Versions = list[Stored]
Admission = Callable[[Resource, Object, Object | None], None]
"""Sees every write before it happens (resource, new, old); raises an ApiError to refuse it."""

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes avoids vowels, so that no word is spelled
_FIRST_RESOURCE_VERSION = 1000
_PINNED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class Store:
    """Objects by resource, namespace and name. What it returns is never to be changed: copy first."""

    def __init__(self, clock: Clock, rng: random.Random, *, history: int = 20_000) -> None:
        self.clock = clock
        self.rng = rng
        self.admission: list[Admission] = []
        self.history = History(start=_FIRST_RESOURCE_VERSION, limit=history)
        self._objects: dict[Resource, dict[str, dict[str, Stored]]] = {}
        self._owners = Owners()
        self._events = EventLog(self)
        self._foreground: dict[Key, None] = {}
        self._cluster_ips = 0

    # Reading

    @property
    def resource_version(self) -> int:
        return self.history.latest

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return one object.

        Raises:
            ApiError: 404, there is none of that name.
        """
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        stored = self.stored(resource, namespace, name)
        return stored.object if stored else None

    def stored(self, resource: Resource, namespace: str | None, name: str) -> Stored | None:
        """Return an object together with its serialized form."""
        return self._objects.get(resource, {}).get(namespace or "", {}).get(name)

    def list(
        self, resource: Resource, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Objects:
        """Return objects in the order of their creation; `namespace` None means all of them."""
        wanted = (labels or {}).items()
        objects = (stored.object for stored in self.all_stored(resource, namespace))
        return [obj for obj in objects if not wanted or wanted <= labels_of(obj).items()]

    def all_stored(self, resource: Resource, namespace: str | None = None) -> Iterator[Stored]:
        by_namespace = self._objects.get(resource, {})
        if namespace is not None and resource.namespaced:
            return iter(by_namespace.get(namespace, {}).values())
        return (stored for by_name in by_namespace.values() for stored in by_name.values())

    def all_stored_at(self, resource_version: int, resource: Resource, namespace: str | None = None) -> Versions:
        """Return what there was at an earlier resourceVersion.

        Raises:
            ApiError: 410, too much of what happened since is forgotten.
        """
        found = {_place(each.object): each for each in self.all_stored(resource, namespace)}
        for change in reversed(self.changes(resource_version, resource)):
            if namespace is not None and resource.namespaced and namespace_of(change.object) != namespace:
                continue
            if change.before is None:
                found.pop(_place(change.object), None)
            else:
                found[_place(change.object)] = change.before
        return list(found.values())

    def dependents(self, uid: str, resource: Resource | None = None) -> Objects:
        """Return the objects with an owner reference to `uid`."""
        keys = [key for key in self._owners.dependents(uid) if resource in (None, key.resource)]
        return [self._objects[key.resource][key.namespace][key.name].object for key in keys]

    def changes(self, since: int, resource: Resource | None = None) -> Changes:
        """Return what happened after the resourceVersion `since`.

        Raises:
            ApiError: 410, some of it is forgotten.
        """
        return [change for change in self.history.since(since) if resource in (None, change.resource)]

    async def later_than(self, resource_version: int) -> None:
        """Return once something happened after `resource_version`."""
        await self.history.later_than(resource_version)

    # Writing

    def create(self, resource: Resource, obj: Object, *, dry_run: bool = False, manager: str = "") -> Object:
        """Add an object.

        Raises:
            ApiError: 409 it exists, 403 a quota or an admission hook refuses it.
        """
        new = copy_of(obj)
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        key = self._named(resource, new)
        self._refuse_terminating_namespace(key)
        self._bring_into_being(new)
        self._complete(resource, new)
        self._admit(resource, new, None)
        if self.stored(*key) is not None:
            raise already_exists(resource, key.name)
        self._track(resource, new, None, manager, "")
        drop_empty_metadata(new)
        if not dry_run:
            self._commit(key, new, "ADDED")
        return new

    def update(
        self,
        resource: Resource,
        obj: Object,
        *,
        subresource: str = "",
        dry_run: bool = False,
        manager: str = "",
    ) -> Object:
        """Replace an object; `status` as subresource replaces only the status, otherwise the status stays.

        Raises:
            ApiError: 404 there is none, 409 `metadata.resourceVersion` is given and stale.
        """
        key = Key(resource, namespace_of(obj) if resource.namespaced else "", name_of(obj))
        current = self.get(*key)
        _refuse_stale(resource, obj, current)
        new = _merged_for(subresource, copy_of(obj), current)
        if subresource != "status":
            fill_defaults(resource, new)
            if new.get("spec") != current.get("spec"):
                new["metadata"]["generation"] = dig(current, "metadata", "generation", default=0) + 1
        self._admit(resource, new, current)
        self._track(resource, new, current, manager, subresource)
        drop_empty_metadata(new)
        if new == current:
            return current
        if not dry_run:
            self._commit_or_remove(key, new)
        return new

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_s: float | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> Object:
        """Remove an object, or mark it when a kubelet, a finalizer or its dependents come first.

        Raises:
            ApiError: 404 there is none, 409 it has another uid.
        """
        key = Key(resource, (namespace or "") if resource.namespaced else "", name)
        current = self.get(*key)
        if uid and uid != current["metadata"]["uid"]:
            raise deleted_meanwhile(resource, name, wanted=uid, actual=current["metadata"]["uid"])
        if dry_run:
            return current
        if propagation == "Orphan":
            self._release_dependents(current)
        grace = _grace_of(resource, current, grace_s)
        finalizers = list(dig(current, "metadata", "finalizers", default=[]))
        if propagation == "Foreground" and self._owners.dependents(current["metadata"]["uid"]):
            finalizers = [*finalizers, *([FOREGROUND] if FOREGROUND not in finalizers else [])]
            self._foreground[key] = None
        if grace == 0 and not finalizers and resource != NAMESPACES:
            return self._remove(key)
        return self._mark_deleted(key, current, grace, finalizers)

    def record_event(
        self,
        *,
        involved: Object,
        type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        component: str,
    ) -> None:
        """Write a core/v1 Event, or count one more of the same."""
        self._events.record(involved=involved, kind=type, reason=reason, message=message, component=component)

    def collect_garbage(self) -> None:
        """Delete what lost its owner, then finish foreground deletions and terminating namespaces."""
        while gone := self._owners.take_gone():
            for uid in gone:
                self._delete_dependents(uid)
        for key in list(self._foreground):
            self._finish_foreground(key)
        for namespace in self.list(NAMESPACES):
            if is_terminating(namespace):
                self._empty_namespace(namespace)

    def compact(self) -> None:
        """Forget all history: every watch from an earlier resourceVersion gets 410."""
        self.history.compact(self.resource_version)

    # How a new object comes to be

    def _named(self, resource: Resource, new: Object) -> Key:
        metadata = new.setdefault("metadata", {})
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                missing = "Required value: name or generateName is required"
                raise invalid(resource, "", [cause("metadata.name", missing, "FieldValueRequired")])
            metadata["name"] = metadata["generateName"] + "".join(self.rng.choices(_SUFFIX_ALPHABET, k=5))
        if resource.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        return Key(resource, metadata.get("namespace", ""), metadata["name"])

    def _refuse_terminating_namespace(self, key: Key) -> None:
        namespace = self.find(NAMESPACES, None, key.namespace) if key.namespace else None
        if namespace is not None and is_terminating(namespace):
            why = f"unable to create new content in namespace {key.namespace} because it is being terminated"
            raise forbidden(key.resource, key.name, why)

    def _bring_into_being(self, new: Object) -> None:
        metadata = new["metadata"]
        for leftover in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(leftover, None)
        metadata["uid"] = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        metadata["creationTimestamp"] = timestamp(self.clock.now())
        if "spec" in new:
            metadata["generation"] = 1

    def _complete(self, resource: Resource, new: Object) -> None:
        if resource == PODS:
            fill_from_limit_ranges(new, self.all_objects(LIMITRANGES, namespace_of(new)))
        if resource == SERVICES:
            self._allocate_cluster_ip(new)
        fill_defaults(resource, new)

    def all_objects(self, resource: Resource, namespace: str | None = None) -> Iterator[Object]:
        return (stored.object for stored in self.all_stored(resource, namespace))

    def _allocate_cluster_ip(self, service: Object) -> None:
        spec = service.setdefault("spec", {})
        if spec.get("type") == "ExternalName":
            return
        if not spec.get("clusterIP"):
            self._cluster_ips += 1
            spec["clusterIP"] = f"10.96.{self._cluster_ips // 250}.{self._cluster_ips % 250 + 1}"
        spec.setdefault("clusterIPs", [spec["clusterIP"]])

    # What every write goes through

    def _admit(self, resource: Resource, new: Object, old: Object | None) -> None:
        for hook in self.admission:
            hook(resource, new, old)
        if resource == PODS and old is None:
            namespace = namespace_of(new)
            quotas = self.list(RESOURCEQUOTAS, namespace)
            reason = quota.refusal(new, quotas, self.all_objects(PODS, namespace)) if quotas else None
            if reason is not None:
                raise forbidden(resource, name_of(new), reason)

    def _track(self, resource: Resource, new: Object, old: Object | None, manager: str, subresource: str) -> None:
        """Note in managedFields whose the changed fields are; a write without a manager is nobody's."""
        if not manager:
            return
        metadata = new["metadata"]
        shape, now = root_of(resource), timestamp(self.clock.now())
        entries = after_update(old=old, new=new, shape=shape, manager=manager, subresource=subresource, time=now)
        metadata.pop("managedFields", None)
        if entries:
            metadata["managedFields"] = entries

    def _commit_or_remove(self, key: Key, new: Object) -> None:
        metadata = new["metadata"]
        is_released = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        if is_released and not metadata.get("deletionGracePeriodSeconds") and key.resource != NAMESPACES:
            self._remove(key)
        else:
            self._commit(key, new, "MODIFIED")

    def _commit(self, key: Key, new: Object, change: ChangeType) -> None:
        before = self.stored(*key)
        new["metadata"]["resourceVersion"] = str(self.resource_version + 1)
        stored = Stored(new)
        self._objects.setdefault(key.resource, {}).setdefault(key.namespace, {})[key.name] = stored
        self._owners.put(key, new, before.object if before else None)
        self.history.append(Change(self.resource_version + 1, change, key.resource, stored, before))
        self._recount_quotas(key, new, before.object if before else None)

    def _remove(self, key: Key) -> Object:
        before = self._objects[key.resource][key.namespace].pop(key.name)
        metadata = {**before.object["metadata"], "resourceVersion": str(self.resource_version + 1)}
        last = Stored({**before.object, "metadata": metadata})
        self._foreground.pop(key, None)
        self._owners.remove(key, before.object)
        self.history.append(Change(self.resource_version + 1, "DELETED", key.resource, last, before))
        self._recount_quotas(key, None, before.object)
        return last.object

    def _recount_quotas(self, key: Key, new: Object | None, before: Object | None) -> None:
        is_other_pod = key.resource == PODS and (
            new is None or before is None or is_finished(new) != is_finished(before)
        )
        if key.resource == RESOURCEQUOTAS or is_other_pod:
            for each in self.list(RESOURCEQUOTAS, key.namespace):
                counted = quota.used(each, self.all_objects(PODS, key.namespace))
                status = {"hard": dig(each, "spec", "hard", default={}), "used": counted}
                if each.get("status") != status:
                    self.update(RESOURCEQUOTAS, {**each, "status": status}, subresource="status")

    # How objects go

    def _mark_deleted(self, key: Key, current: Object, grace: int, finalizers: Names) -> Object:
        new = copy_of(current)
        metadata = new["metadata"]
        remaining = metadata.get("deletionGracePeriodSeconds")
        if remaining is None or grace < remaining:
            metadata["deletionTimestamp"] = timestamp(self.clock.now() + timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
        if finalizers:
            metadata["finalizers"] = finalizers
        if key.resource == NAMESPACES:
            new["status"] = {**new.get("status", {}), "phase": "Terminating"}
        if new != current:
            self._commit(key, new, "MODIFIED")
        return new

    def _release_dependents(self, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for key in self._owners.dependents(uid):
            self._put_quietly(key, without_owners(self.get(*key), [uid]))

    def _delete_dependents(self, uid: str) -> None:
        for key in self._owners.dependents(uid):
            dependent = self.get(*key)
            dead = [owner for owner in owner_uids(dependent) if not self._owners.is_live(owner)]
            if len(dead) < len(list(owner_uids(dependent))):
                self._put_quietly(key, without_owners(dependent, dead))
            elif not is_terminating(dependent):
                self.delete(key.resource, key.namespace, key.name)

    def _finish_foreground(self, key: Key) -> None:
        owner = self.get(*key)
        waiting = self._owners.dependents(owner["metadata"]["uid"])
        for dependent in waiting:
            if not is_terminating(self.get(*dependent)):
                self.delete(*dependent, propagation="Foreground")
        if not self._owners.dependents(owner["metadata"]["uid"]):
            self._foreground.pop(key, None)
            self._put_quietly(key, without_finalizer(owner, FOREGROUND))

    def _empty_namespace(self, namespace: Object) -> None:
        name = name_of(namespace)
        content = [
            Key(resource, name, each)
            for resource, by_namespace in self._objects.items()
            if resource.namespaced
            for each in by_namespace.get(name, {})
        ]
        for key in content:
            left = self.find(*key)
            if left is not None and not is_terminating(left):
                self.delete(*key)
        if not any(self.find(*key) for key in content) and not namespace["metadata"].get("finalizers"):
            self._remove(Key(NAMESPACES, "", name))

    def _put_quietly(self, key: Key, changed: Object) -> None:
        """Write a change the store itself decided on."""
        self._commit_or_remove(key, copy_of(changed))


def _place(obj: Object) -> tuple[str, str]:
    return namespace_of(obj), name_of(obj)


def _refuse_stale(resource: Resource, obj: Object, current: Object) -> None:
    given = dig(obj, "metadata", "resourceVersion")
    if given and given != current["metadata"]["resourceVersion"]:
        raise conflict(resource, name_of(current))
    _refuse_other_uid(resource, current, dig(obj, "metadata", "uid"))


def _refuse_other_uid(resource: Resource, current: Object, uid: str | None) -> None:
    actual = current["metadata"]["uid"]
    if uid and uid != actual:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise conflict(resource, name_of(current), why)


def _merged_for(subresource: str, new: Object, current: Object) -> Object:
    """Combine what was sent with what such a write may not change."""
    given = new.get("metadata", {})
    if subresource == "status":
        kept = {**current, "metadata": dict(current["metadata"])}
        if "managedFields" in given:
            kept["metadata"]["managedFields"] = given["managedFields"]
        return {**kept, "status": new.get("status", {})}
    kept_metadata = {name: current["metadata"][name] for name in _PINNED if name in current["metadata"]}
    metadata = {**{name: value for name, value in given.items() if name not in _PINNED}, **kept_metadata}
    metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
    if "generation" in current["metadata"]:
        metadata["generation"] = current["metadata"]["generation"]
    merged = {**new, "metadata": metadata, "kind": current["kind"], "apiVersion": current["apiVersion"]}
    if "status" in current:
        merged["status"] = current["status"]
    else:
        merged.pop("status", None)
    return merged


def _grace_of(resource: Resource, obj: Object, asked: float | None) -> int:
    """Seconds a kubelet has to end the pod; nothing else waits."""
    if resource != PODS or not dig(obj, "spec", "nodeName") or is_finished(obj):
        return 0
    if asked is not None:
        return int(asked)
    return int(dig(obj, "spec", "terminationGracePeriodSeconds", default=30))

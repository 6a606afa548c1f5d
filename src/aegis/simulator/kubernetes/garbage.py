"""Who owns whom, and what is to be deleted because its owner is gone."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.kubernetes.resources import Resource, is_served

FOREGROUND = "foregroundDeletion"


class Key(NamedTuple):
    """Where an object is kept. The namespace of a cluster-wide one is empty."""

    resource: Resource
    namespace: str
    name: str


class Owners:
    """An index of owner references, kept in step with the store."""

    def __init__(self) -> None:
        self._by_uid: dict[str, Key] = {}
        self._dependents: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        self._unwatched: dict[str, None] = {}

    def put(self, key: Key, obj: Object, before: Object | None) -> None:
        if before is not None:
            self._unlink(key, before)
        self._by_uid[obj["metadata"]["uid"]] = key
        for owner in _owners_of(obj):
            uid = owner["uid"]
            self._dependents[uid][key] = None
            # Nobody can say of an owner of an unknown kind that it is gone.
            if uid not in self._by_uid and is_served(owner["kind"], owner["apiVersion"]):
                self._unwatched[uid] = None

    def remove(self, key: Key, obj: Object) -> None:
        self._unlink(key, obj)
        uid = obj["metadata"]["uid"]
        self._by_uid.pop(uid, None)
        if self._dependents.get(uid):
            self._unwatched[uid] = None

    def _unlink(self, key: Key, obj: Object) -> None:
        for uid in owner_uids(obj):
            self._dependents[uid].pop(key, None)
            if not self._dependents[uid]:
                del self._dependents[uid]

    def is_live(self, uid: str) -> bool:
        return uid in self._by_uid

    def dependents(self, uid: str) -> list[Key]:
        return list(self._dependents.get(uid, ()))

    def take_gone(self) -> list[str]:
        """Return the uids of owners that went away and left something behind, once."""
        gone = [uid for uid in self._unwatched if not self.is_live(uid)]
        self._unwatched.clear()
        return gone


def owner_uids(obj: Object) -> Iterable[str]:
    return [owner["uid"] for owner in _owners_of(obj)]


def _owners_of(obj: Object) -> list[Object]:
    found: list[Object] = dig(obj, "metadata", "ownerReferences", default=[])
    return found


def without_owners(obj: Object, uids: Iterable[str]) -> Object:
    """Return `obj` as it is when the owners with these uids no longer count."""
    gone = set(uids)
    kept = [owner for owner in obj["metadata"].get("ownerReferences", []) if owner["uid"] not in gone]
    metadata = {name: value for name, value in obj["metadata"].items() if name != "ownerReferences"}
    return {**obj, "metadata": {**metadata, **({"ownerReferences": kept} if kept else {})}}


def without_finalizer(obj: Object, finalizer: str) -> Object:
    metadata = dict(obj["metadata"])
    metadata["finalizers"] = [each for each in metadata.get("finalizers", []) if each != finalizer]
    return {**obj, "metadata": metadata}

"""What changed lately, in order: the memory behind every watch."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal

import orjson

from aegis.simulator.kubernetes.errors import expired
from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.resources import Resource

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


class Stored:
    """One version of an object, serialized at most once however many read it."""

    def __init__(self, obj: Object) -> None:
        self.object = obj

    @cached_property
    def json(self) -> bytes:
        return orjson.dumps(self.object)

    @cached_property
    def json_in_list(self) -> bytes:
        """Leave out what the list says once."""
        return orjson.dumps({name: value for name, value in self.object.items() if name not in ("kind", "apiVersion")})


@dataclass(frozen=True)
class Change:
    """One step of the store from one resourceVersion to the next."""

    resource_version: int
    type: ChangeType
    resource: Resource
    stored: Stored
    before: Stored | None

    @property
    def object(self) -> Object:
        """The object after the change; for DELETED its last state."""
        return self.stored.object

    @property
    def previous(self) -> Object | None:
        """The object before the change; None when it was created."""
        return self.before.object if self.before else None


class History:
    """The last `limit` changes. Their resourceVersions are consecutive, so looking one up is arithmetic."""

    def __init__(self, *, start: int, limit: int) -> None:
        self._changes: deque[Change] = deque()
        self._limit = limit
        self._latest = start
        self._waiting: set[asyncio.Event] = set()

    @property
    def latest(self) -> int:
        return self._latest

    @property
    def oldest(self) -> int:
        """The earliest resourceVersion a watch may still start from."""
        return self._latest - len(self._changes)

    def append(self, change: Change) -> None:
        assert change.resource_version == self._latest + 1
        self._latest = change.resource_version
        self._changes.append(change)
        if len(self._changes) > self._limit:
            self._changes.popleft()
        for waiting in self._waiting:
            waiting.set()

    def since(self, resource_version: int) -> list[Change]:
        """Return the changes after `resource_version`.

        Raises:
            ApiError: 410, some of them are forgotten.
        """
        if resource_version < self.oldest:
            raise expired(f"too old resource version: {resource_version} ({self.oldest})")
        return list(self._after(resource_version))

    def _after(self, resource_version: int) -> Iterator[Change]:
        missing = self._latest - resource_version
        if missing > len(self._changes) // 2:
            return islice(self._changes, len(self._changes) - missing, None)
        # A watcher is usually a few changes behind: a deque is quick at its ends only.
        newest_first = islice(reversed(self._changes), max(missing, 0))
        return reversed(list(newest_first))

    def compact(self, resource_version: int) -> None:
        """Forget the changes up to `resource_version`, as etcd does now and then."""
        while self._changes and self._changes[0].resource_version <= resource_version:
            self._changes.popleft()

    async def later_than(self, resource_version: int) -> None:
        """Return once there is a change after `resource_version`."""
        if self._latest > resource_version:
            return
        arrived = asyncio.Event()
        self._waiting.add(arrived)
        try:
            await arrived.wait()
        finally:
            self._waiting.discard(arrived)

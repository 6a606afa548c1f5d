"""Watches: what was, what changes, and a bookmark now and then."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import orjson

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.history import Change, Stored
from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.reading import converted, predicate, refresh_derived, selected
from aegis.simulator.kubernetes.requests import Request, Target
from aegis.simulator.kubernetes.selectors import Predicate
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.tables import table
from aegis.simulator.kubernetes.versions import conversion_of, stored_as
from aegis.simulator.kubernetes.weather import Weather

_DEFAULT_TIMEOUT_S = 1800.0
_BOOKMARK_EVERY_S = 60.0
_LAST_BOOKMARK_S = 2.0  # before the end, so that a client that comes again has little to catch up with
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


@dataclass
class Watch:
    """One open watch, from the resourceVersion it has seen."""

    store: Store
    request: Request
    target: Target
    weather: Weather
    seen: int = 0
    sent_columns: bool = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield chunks of JSON lines until the client's timeout, bad weather or forgotten history."""
        matches = predicate(self.request, self.target)
        cut = self.weather.cut
        refresh_derived(self.store, self.target)
        yield self._beginning()
        loop = asyncio.get_running_loop()
        end = loop.time() + float(self.request.query.get("timeoutSeconds") or _DEFAULT_TIMEOUT_S)
        bookmark_at = _next_bookmark(loop.time(), end)
        while not cut.is_set() and loop.time() < end:
            try:
                changes = self.store.changes(self.seen)
            except ApiError as error:
                yield _line("ERROR", error.status())
                return
            if changes:
                self.seen = changes[-1].resource_version
                lines = b"".join(self._lines(changes, matches))
                if lines:
                    yield lines
                continue
            if loop.time() >= bookmark_at:
                bookmark_at = _next_bookmark(loop.time(), end)
                if self._wants_bookmarks:
                    yield self._bookmark({})
            await self._something_happens(cut, min(end, bookmark_at) - loop.time())

    def _beginning(self) -> bytes:
        """Return what a list would, as ADDED events, unless the client has seen some of it already."""
        asked = self.request.query.get("resourceVersion", "")
        wants_all = self.request.query.get("sendInitialEvents") == "true"
        if asked not in ("", "0") and not wants_all:
            self.seen = int(asked)
            return b""
        self.seen = self.store.resource_version
        if self.request.query.get("sendInitialEvents") == "false":
            return b""
        added = [self._event("ADDED", each) for each in selected(self.store, self.request, self.target)]
        end = [self._bookmark(_INITIAL_EVENTS_END)] if wants_all and self._wants_bookmarks else []
        return b"".join([*added, *end])

    async def _something_happens(self, cut: asyncio.Event, timeout_s: float) -> None:
        """Wait for a change or the end, but no longer than so."""
        waiting = [
            asyncio.create_task(self.store.later_than(self.seen)),
            asyncio.create_task(cut.wait()),
        ]
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*waiting, return_exceptions=True)

    @property
    def _wants_bookmarks(self) -> bool:
        return self.request.query.get("allowWatchBookmarks") == "true"

    def _lines(self, changes: list[Change], matches: Predicate) -> list[bytes]:
        kept_as = stored_as(self.target.resource)
        namespace = self.target.namespace
        return [
            line
            for change in changes
            if change.resource == kept_as and namespace in ("", change.object["metadata"].get("namespace", ""))
            if (line := self._line_for(change, matches))
        ]

    def _line_for(self, change: Change, matches: Predicate) -> bytes:
        """Say what the change means to somebody who only sees objects that match."""
        was_seen = change.previous is not None and matches(change.previous)
        is_seen = change.type != "DELETED" and matches(change.object)
        if is_seen:
            return self._event("MODIFIED" if was_seen else "ADDED", change.stored)
        return self._event("DELETED", change.stored) if was_seen else b""

    def _event(self, kind: str, stored: Stored) -> bytes:
        if self.request.wants_table:
            return _line(kind, self._table(converted(self.target, stored.object)))
        if conversion_of(self.target.resource) is not None:
            return _line(kind, converted(self.target, stored.object))
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), stored.json)

    def _table(self, obj: Object) -> Object:
        with_columns, self.sent_columns = not self.sent_columns, True
        return table(
            self.target.resource,
            [obj],
            now=self.store.clock.now(),
            metadata={"resourceVersion": obj["metadata"]["resourceVersion"]},
            include=self.request.query.get("includeObject", ""),
            with_columns=with_columns,
        )

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        metadata: Object = {"resourceVersion": str(self.seen), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        if not self.request.wants_table:
            resource = self.target.resource
            return _line("BOOKMARK", {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        content = {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": str(self.seen)},
            "columnDefinitions": None,
            "rows": [{"cells": [], "object": partial}] if annotations else [],
        }
        return _line("BOOKMARK", content)


def _next_bookmark(now: float, end: float) -> float:
    """Return when the next bookmark is due, on the loop's clock.

    >>> _next_bookmark(100.0, 1000.0), _next_bookmark(100.0, 130.0), _next_bookmark(128.0, 130.0)
    (160.0, 128.0, 188.0)
    """
    last = end - _LAST_BOOKMARK_S
    regular = now + _BOOKMARK_EVERY_S
    return min(regular, last) if last > now else regular


def _line(kind: str, obj: Object) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"

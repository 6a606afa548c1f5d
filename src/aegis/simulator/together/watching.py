"""What the AI Engine watches, in this process: the store's own history of changes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from aegis.ai_engine.ports import ObjectChange
from aegis.ai_engine.sources.kubernetes import PATHS
from aegis.kit.clock import Clock
from aegis.simulator.kubernetes import resources
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import Resource
from aegis.simulator.kubernetes.store import Store

_WATCHED: dict[str, Resource] = {
    one.plural: one
    for one in vars(resources).values()
    if isinstance(one, Resource) and one.plural in PATHS and one not in (resources.HPAS_V1, resources.EVENTS_V1)
}


class StoreWatch:
    """Implements the AI Engine's port `ClusterSource`."""

    def __init__(self, store: Store, clock: Clock, *, is_up: Callable[[], bool]) -> None:
        self._store = store
        self._clock = clock
        self._is_up = is_up
        self._seen: int | None = None
        self._last_up: datetime | None = None

    def take_changes(self) -> Sequence[ObjectChange]:
        if not self._is_up():
            return []
        self._last_up = self._clock.now()
        if self._seen is None:
            return self._everything()
        try:
            changes = self._store.changes(self._seen)
        except ApiError:
            return self._everything()  # away for longer than the history reaches back
        self._seen = self._store.resource_version
        return [
            ObjectChange(one.resource.plural, one.object, self._clock.now(), deleted=one.type == "DELETED")
            for one in changes
            if one.resource.plural in _WATCHED
        ]

    def as_of(self) -> datetime | None:
        if self._seen is None:
            return None
        return self._clock.now() if self._is_up() else self._last_up

    def troubles(self) -> Mapping[str, str]:
        return {} if self._is_up() else {"pods": "the API server does not answer"}

    def _everything(self) -> Sequence[ObjectChange]:
        now = self._clock.now()
        self._seen = self._store.resource_version
        return [ObjectChange(name, item, now) for name in PATHS for item in self._store.list(_WATCHED[name])]

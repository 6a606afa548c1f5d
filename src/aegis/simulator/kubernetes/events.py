"""Events the cluster's own components record: counted when they repeat, forgotten after an hour."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aegis.simulator.kubernetes.objects import Object, dig, name_of, namespace_of, timestamp
from aegis.simulator.kubernetes.resources import EVENTS

if TYPE_CHECKING:
    from aegis.simulator.kubernetes.store import Store

_KEPT_FOR = timedelta(hours=1)

_Sameness = tuple[str, str, str, str, str]


class EventLog:
    """Writes Events into the store on behalf of a component."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._recorded: OrderedDict[_Sameness, tuple[str, str, datetime]] = OrderedDict()

    def record(self, *, involved: Object, kind: str, reason: str, message: str, component: str) -> None:
        now = self._store.clock.now()
        self._forget_old(now)
        same = (str(dig(involved, "metadata", "uid", default="")), kind, reason, message, component)
        namespace = namespace_of(involved) or "default"
        _, name, _ = self._recorded.get(same, ("", "", now))
        event = self._store.find(EVENTS, namespace, name)
        if event is None:
            event = self._store.create(EVENTS, self._first(involved, same, namespace))
        else:
            again = {"count": event["count"] + 1, "lastTimestamp": timestamp(now)}
            event = self._store.update(EVENTS, {**event, **again})
        self._recorded[same] = (namespace, name_of(event), now)
        self._recorded.move_to_end(same)

    def _first(self, involved: Object, same: _Sameness, namespace: str) -> Object:
        _, kind, reason, message, component = same
        now = timestamp(self._store.clock.now())
        suffix = f"{self._store.rng.getrandbits(64):016x}"
        return {
            "metadata": {"name": f"{name_of(involved)}.{suffix}", "namespace": namespace},
            "involvedObject": _reference(involved),
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
        }

    def _forget_old(self, now: datetime) -> None:
        while self._recorded:
            same, (namespace, name, last) = next(iter(self._recorded.items()))
            if now - last < _KEPT_FOR:
                return
            del self._recorded[same]
            if self._store.find(EVENTS, namespace, name) is not None:
                self._store.delete(EVENTS, namespace, name)


def _reference(involved: Object) -> Object:
    metadata = involved.get("metadata", {})
    reference = {"kind": involved.get("kind", ""), "apiVersion": involved.get("apiVersion", "")}
    for field in ("name", "namespace", "uid", "resourceVersion"):
        if metadata.get(field):
            reference[field] = metadata[field]
    return reference

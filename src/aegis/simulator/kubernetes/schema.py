"""What the fields of each kind are: their types, and how lists of them are merged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aegis.simulator.kubernetes.recordings import recorded_json
from aegis.simulator.kubernetes.resources import Resource

_NO_FIELDS: Mapping[str, "Field"] = {}


@dataclass(frozen=True)
class Field:
    """One field, or a whole object: the object is a field without a parent."""

    model: str = ""  # what its value, its items or its map's values are
    type: str = ""  # of a scalar: s(tring), i(nteger), n(umber), b(oolean)
    is_list: bool = False
    is_map: bool = False
    is_atomic: bool = False  # owned and replaced as a whole
    list_type: str = ""  # map, set, atomic or unknown
    list_keys: tuple[str, ...] = ()  # what tells the items of a list of type map apart
    merge_key: str = ""  # the same for a strategic merge
    strategies: frozenset[str] = field(default_factory=frozenset)

    def child(self, name: str) -> "Field | None":
        """Return the field `name` of a value; None when the schema says nothing of it."""
        if self.is_map:
            return self.item
        return fields_of(self.model).get(name)

    @property
    def item(self) -> "Field":
        """Return what one item of this list, or one value of this map, is."""
        return Field(model=self.model)

    @property
    def is_known(self) -> bool:
        """Tell whether the schema lists all the fields its value may have."""
        return bool(fields_of(self.model))


def root_of(resource: Resource) -> Field | None:
    """Return the schema of a kind; None when none was recorded."""
    name = recorded_json("schema.json")["gvk"].get(f"{resource.group}/{resource.version}/{resource.kind}")
    return Field(model=name) if name else None


@cache
def fields_of(model: str) -> Mapping[str, Field]:
    described = recorded_json("schema.json")["models"].get(model)
    if described is None:
        return _NO_FIELDS
    return {name: _field(each) for name, each in described["p"].items()}


@cache
def required_of(model: str) -> tuple[str, ...]:
    return tuple(recorded_json("schema.json")["models"].get(model, {}).get("q", ()))


def _field(described: Mapping[str, Any]) -> Field:
    return Field(
        model=described.get("r", ""),
        type=described.get("t", ""),
        is_list=bool(described.get("l")),
        is_map=bool(described.get("m")),
        is_atomic=described.get("mt") == "atomic",
        list_type=described.get("lt", ""),
        list_keys=tuple(described.get("lk", ())),
        merge_key=described.get("k", ""),
        strategies=frozenset(filter(None, described.get("s", "").split(","))),
    )

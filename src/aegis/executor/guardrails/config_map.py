"""What an operator has written into the Executor's own ConfigMap."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter

from aegis.contracts.actions import ActionKind
from aegis.executor.guardrails.facts import Freeze, Switches
from aegis.kit.signing import PublicKey
from aegis.kit.yaml import read_yaml

_NONSENSE = (TypeError, ValueError, KeyError, AttributeError, OSError, OverflowError)
"""What comes of reading what people may have written: no mapping, no number, no cron, no time zone, no key."""
_KEYS = frozenset({"paused", "reason", "freeze", "policy-floor", "approver-keys"})
_FREEZE_KEYS = frozenset({"name", "cron", "timeZone", "minutes", "namespaces"})


def with_config_map(switches: Switches, data: dict[str, str]) -> Switches:
    """Read the operator's ConfigMap; one that cannot be understood stops like one that says stop.

    A misspelled key is not understood either: whoever wrote `pause` for `paused` must not believe that we stopped.
    """
    try:
        _only(_KEYS, data, of="data")
        return replace(
            switches,
            operator_paused=data.get("paused", "false").strip().lower() not in ("false", "no", "0", ""),
            operator_reason=data.get("reason", ""),
            freezes=tuple(_freeze(entry) for entry in read_yaml(data.get("freeze", "")) or []),
            floor=_floor(read_yaml(data.get("policy-floor", "")) or {}),
            approver_keys=_approver_keys(read_yaml(data.get("approver-keys", "")) or {}),
        )
    except _NONSENSE as error:
        why = str(error) if isinstance(error, ValueError) else repr(error)
        return replace(switches, operator_paused=None, unreadable=f"the ConfigMap makes no sense: {why}")


def _only(known: frozenset[str], found: Mapping[Any, object], *, of: str) -> None:
    unknown = sorted(str(key) for key in found if key not in known)
    if unknown:
        raise ValueError(f"{of}: {', '.join(unknown)} is unknown; known are {', '.join(sorted(known))}")


def _floor(found: dict[object, object]) -> dict[str, int]:
    _only(frozenset(ActionKind), found, of="policy-floor")
    floor = {ActionKind(str(action)).value: int(str(needed)) for action, needed in found.items()}
    for action, needed in floor.items():
        if needed < 1:
            raise ValueError(f"policy-floor: {action} would need {needed} approvers: leave it out, or name one or more")
    return floor


def _approver_keys(found: dict[object, object]) -> dict[str, str]:
    keys = {str(approver): str(key) for approver, key in found.items()}
    for key in keys.values():
        PublicKey.from_text(key)  # raises ValueError for what is none
    return keys


def _freeze(entry: dict[str, object]) -> Freeze:
    _only(_FREEZE_KEYS, entry, of="freeze")
    cron, zone = str(entry["cron"]), str(entry.get("timeZone", "UTC"))
    ZoneInfo(zone)  # raises KeyError for one that does not exist
    if not croniter.is_valid(cron):
        raise ValueError(f"{cron!r} is not a cron expression")
    namespaces = entry.get("namespaces") or ["*"]
    if not isinstance(namespaces, list):
        raise TypeError(f"namespaces are a list, and not {namespaces!r}")
    duration = timedelta(minutes=float(str(entry["minutes"])))
    if duration <= timedelta():
        raise ValueError(f"a freeze of {entry['minutes']} minutes never freezes anything")
    return Freeze(
        name=str(entry.get("name", cron)),
        cron=cron,
        time_zone=zone,
        duration=duration,
        namespaces=tuple(str(item) for item in namespaces),
    )

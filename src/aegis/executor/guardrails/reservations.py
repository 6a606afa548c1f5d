"""The reservations: what an order takes when it is begun. Pure; the caller holds the lock and reads the journal.

They are counted from the journal itself, inside the transaction that writes the order's own entry, so two replicas
can never both take the last one, and restarts reset nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.contracts.actions import ActionKind

BACK_OFF = (1, 2, 4, 8, 10)
"""Minutes to wait after so many failures in a row on one owner."""
FAILURES_THAT_BLOCK = 3
BLOCK_AFTER_FAILURES = timedelta(hours=1)


@dataclass(frozen=True)
class PastAction:
    """An order that was begun, as the journal has it."""

    order_id: str
    owner_uid: str
    action: ActionKind
    acted_at: datetime
    under_way: bool
    """Nobody else may touch the owner: it is being acted on, settling, or being undone."""
    helped: bool | None
    """None while nobody knows yet."""


@dataclass(frozen=True)
class ReservationLimits:
    cooldown: timedelta
    budget: int
    budget_window: timedelta


@dataclass(frozen=True)
class Wanted:
    """What an order wants to take, and of what."""

    owner_uid: str
    action: ActionKind
    now: datetime
    limits: ReservationLimits

    def on_owner(self, past: Sequence[PastAction]) -> list[PastAction]:
        return sorted((one for one in past if one.owner_uid == self.owner_uid), key=lambda one: one.acted_at)


def busy_with(past: Sequence[PastAction], owner_uid: str) -> str | None:
    """Say which order is under way on an owner, if any is."""
    busy = next((one for one in past if one.owner_uid == owner_uid and one.under_way), None)
    return f"order {busy.order_id} is under way on the same owner" if busy is not None else None


def owner_lock(past: Sequence[PastAction], wanted: Wanted) -> str | None:
    """One owner is touched by one order at a time."""
    return busy_with(past, wanted.owner_uid)


def cooldown(past: Sequence[PastAction], wanted: Wanted) -> str | None:
    same = [one for one in wanted.on_owner(past) if one.action is wanted.action]
    if not same or wanted.now - same[-1].acted_at >= wanted.limits.cooldown:
        return None
    return f"{wanted.action} was taken {_ago(wanted.now, same[-1].acted_at)} ago; {wanted.limits.cooldown} must pass"


def back_off(past: Sequence[PastAction], wanted: Wanted) -> str | None:
    """What did not help waits longer each time; three failures in a row block for an hour."""
    return _back_off(wanted.on_owner(past), wanted.now)


def budget(past: Sequence[PastAction], wanted: Wanted) -> str | None:
    limits = wanted.limits
    recent = [one for one in past if wanted.now - one.acted_at < limits.budget_window]
    if len(recent) < limits.budget:
        return None
    return f"{len(recent)} actions in {limits.budget_window} are all that the cluster's budget allows"


RESERVATIONS: tuple[Callable[[Sequence[PastAction], Wanted], str | None], ...] = (
    owner_lock,
    cooldown,
    back_off,
    budget,
)


def taken(
    past: Sequence[PastAction], *, owner_uid: str, action: ActionKind, now: datetime, limits: ReservationLimits
) -> tuple[str, str] | None:
    """Return which reservation cannot be had and why, as (name, reason); None if all are free."""
    wanted = Wanted(owner_uid, action, now, limits)
    for reservation in RESERVATIONS:
        reason = reservation(past, wanted)
        if reason is not None:
            return reservation.__name__, reason
    return None


def _back_off(on_owner: Sequence[PastAction], now: datetime) -> str | None:
    failures = 0
    for one in reversed(on_owner):
        if one.helped:
            break
        failures += one.helped is False
    if failures == 0:
        return None
    last = on_owner[-1].acted_at
    wait = timedelta(minutes=BACK_OFF[min(failures, len(BACK_OFF)) - 1])
    if failures >= FAILURES_THAT_BLOCK:
        wait = BLOCK_AFTER_FAILURES
    if now - last < wait:
        return f"{failures} actions in a row did not help; the next may be taken in {wait - (now - last)}"
    return None


def _ago(now: datetime, then: datetime) -> timedelta:
    return timedelta(seconds=round((now - then).total_seconds()))

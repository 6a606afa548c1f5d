"""What follows from a look, and what an order may take."""

from dataclasses import replace
from datetime import timedelta

from tests.builders import NOW, plan

from aegis.contracts.actions import ActionKind
from aegis.contracts.plans import LeaseTerms
from aegis.contracts.verifications import Judgement, Verification
from aegis.executor.guardrails.reservations import PastAction, ReservationLimits, taken
from aegis.executor.observe.health import Health
from aegis.executor.observe.judge import Follow, Look, judge

WELL, ILL, UNREADABLE = Health(), Health("1 of 3 pods"), Health(unreadable_because="no answer")
LIMITS = ReservationLimits(timedelta(minutes=5), 5, timedelta(minutes=10))


def look(judgement: Judgement | None, *, after_s: float = 30, health: Health = WELL, well_s: float | None = None,
         worse: int = 0) -> Look:  # fmt: skip
    now = NOW + timedelta(seconds=after_s)
    verification = Verification(judgement=judgement, at=now) if judgement is not None else None
    well_since = now - timedelta(seconds=well_s) if well_s is not None else None
    return Look(now, NOW, health, verification, well_since, worse)


def test_keeping_needs_health_and_signals_for_the_whole_window() -> None:
    assert judge(look(Judgement.BETTER, well_s=59), plan()).follow is Follow.WAIT
    assert judge(look(Judgement.BETTER, well_s=60), plan()).follow is Follow.KEEP
    assert judge(look(Judgement.BETTER, well_s=60, health=ILL), plan()).follow is Follow.WAIT
    assert judge(look(Judgement.NOT_YET, well_s=60), plan()).follow is Follow.WAIT


def test_a_look_after_a_gap_begins_the_window_anew() -> None:
    after_a_gap = replace(look(Judgement.BETTER, well_s=3600), follows_on=False)

    verdict = judge(after_a_gap, plan())

    assert (verdict.follow, verdict.well_since) == (Follow.WAIT, after_a_gap.now)


def test_a_change_meant_to_be_temporary_is_held() -> None:
    leased = plan(lease=LeaseTerms(maximum=timedelta(hours=1)))

    assert judge(look(Judgement.BETTER, well_s=60), leased).follow is Follow.HOLD


def test_worse_twice_in_a_row_is_taken_back_once_is_not() -> None:
    assert judge(look(Judgement.WORSE), plan()).follow is Follow.WAIT
    assert judge(look(Judgement.WORSE, worse=1), plan()).follow is Follow.UNDO
    assert judge(look(Judgement.WORSE, worse=1), plan(reversible=False)).follow is Follow.ESCALATE


def test_not_better_by_the_deadline_is_taken_back_and_unknown_is_its_own_answer() -> None:
    late = 301

    assert judge(look(Judgement.NOT_YET, after_s=late), plan()).follow is Follow.UNDO
    assert judge(look(None, after_s=late), plan(on_unknown="revert")).follow is Follow.UNDO
    assert judge(look(None, after_s=late), plan(on_unknown="hold_and_page")).follow is Follow.HOLD_AND_PAGE
    assert judge(look(None, after_s=late), plan(on_unknown="escalate")).follow is Follow.ESCALATE


def test_an_owner_that_cannot_be_read_is_neither_well_nor_ill() -> None:
    late, nearly_well = 301, {"well_s": 60, "health": UNREADABLE}

    assert judge(look(Judgement.BETTER, **nearly_well), plan()).follow is Follow.WAIT
    for said in (None, Judgement.UNKNOWN, Judgement.NOT_YET, Judgement.BETTER):
        seen = look(said, after_s=late, health=UNREADABLE)
        assert judge(seen, plan(on_unknown="hold_and_page")).follow is Follow.HOLD_AND_PAGE
        assert judge(seen, plan(on_unknown="revert")).follow is Follow.UNDO
    assert judge(look(Judgement.NOT_YET, after_s=late, health=ILL), plan()).follow is Follow.UNDO
    assert judge(look(Judgement.WORSE, worse=1, health=UNREADABLE), plan()).follow is Follow.UNDO


def past(minutes: float, *, owner: str = "o", under_way: bool = False, helped: bool | None = True) -> PastAction:
    at = NOW - timedelta(minutes=minutes)
    return PastAction(f"ord-{minutes}", owner, ActionKind.RESTART_WORKLOAD, at, under_way, helped)


def stopped_by(*found: PastAction, action: ActionKind = ActionKind.RESTART_WORKLOAD) -> str | None:
    no = taken(list(found), owner_uid="o", action=action, now=NOW, limits=LIMITS)
    return no[0] if no else None


def test_one_owner_is_touched_by_one_order_at_a_time() -> None:
    assert stopped_by(past(60, under_way=True)) == "owner_lock"
    assert stopped_by(past(60, under_way=True, owner="another")) is None


def test_the_cooldown_is_per_owner_and_action() -> None:
    assert stopped_by(past(4)) == "cooldown"
    assert stopped_by(past(4), action=ActionKind.ROLLBACK_ROLLOUT) is None
    assert stopped_by(past(6)) is None


def test_failures_wait_longer_each_time_and_three_in_a_row_for_an_hour() -> None:
    other = ActionKind.ROLLBACK_ROLLOUT

    assert stopped_by(past(0.5, helped=False), action=other) == "back_off"
    assert stopped_by(past(1.5, helped=False), action=other) is None
    assert (
        stopped_by(past(50, helped=False), past(40, helped=False), past(30, helped=False), action=other) == "back_off"
    )


def test_the_whole_cluster_has_one_budget() -> None:
    assert stopped_by(*(past(n + 1, owner=f"o{n}") for n in range(5))) == "budget"
    assert stopped_by(*(past(n + 11, owner=f"o{n}") for n in range(5))) is None

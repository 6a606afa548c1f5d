"""The state machine of a remediation."""

from hypothesis import given
from hypothesis import strategies as st

from aegis.backend.remediations.lifecycle import (
    CONCLUDED,
    following,
    is_allowed,
    known_to_executor,
    may_follow,
    state_of,
)
from aegis.contracts.outcomes import Stage
from aegis.contracts.remediations import RemediationState as S

_SETTLED = {S.KEPT, S.CANCELLED, S.UNDONE, S.ESCALATED}  # concluded, and a person or a race may still move them on


def test_every_state_can_be_reached_from_proposed() -> None:
    reached, left = {S.PROPOSED}, [S.PROPOSED]
    while left:
        for then in following(left.pop()) - reached:
            reached.add(then)
            left.append(then)

    assert reached == set(S)


@given(st.lists(st.integers(min_value=0), min_size=60, max_size=60))
def test_every_path_ends_in_a_concluded_state(choices: list[int]) -> None:
    state = S.PROPOSED
    for choice in choices:
        ways = sorted(following(state) - {S.BLOCKED})
        if not ways or (state in CONCLUDED and state not in _SETTLED):
            break
        state = ways[choice % len(ways)]

    assert state in CONCLUDED


def test_nothing_leaves_a_refusal_and_nothing_skips_the_decision() -> None:
    assert not following(S.REFUSED)
    assert not may_follow(S.REHEARSING, S.ORDERED)
    assert not may_follow(S.PROPOSED, S.ACTING)


def test_every_report_of_the_executor_has_a_state_and_saying_it_twice_is_no_mistake() -> None:
    assert all(
        is_allowed(state_of(stage), state_of(stage), known=state_of(stage))
        for stage in Stage
        if stage is not Stage.ESCALATED
    )


def test_only_an_escalation_that_came_from_silence_leads_on_and_only_where_the_executor_was() -> None:
    silent = known_to_executor(S.ESCALATED, Stage.SETTLING)

    assert silent is S.SETTLING
    assert known_to_executor(S.ESCALATED, None) is S.ORDERED
    assert is_allowed(S.ESCALATED, S.HELD, known=silent)
    assert not is_allowed(S.ESCALATED, S.UNDONE, known=silent)
    for said in (Stage.ESCALATED, Stage.UNDONE):
        assert not any(is_allowed(S.ESCALATED, then, known=known_to_executor(S.ESCALATED, said)) for then in S)

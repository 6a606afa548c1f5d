"""What an action names, and when it is what somebody asked for."""

import pytest
from tests.builders import proposal

from aegis.contracts.actions import Action, EvictPod, RollbackRollout, ScaleWorkload, is_as_asked
from aegis.contracts.proposals import Proposal

DIAGNOSED = RollbackRollout(to_revision=1, blamed_template="6c9f")


def test_a_rollback_that_was_stored_before_it_named_whom_it_blames_is_readable() -> None:
    stored = proposal(RollbackRollout(to_revision=1)).model_dump(mode="json")
    del stored["action"]["blamed_template"]

    assert Proposal.model_validate(stored).action == RollbackRollout(to_revision=1)


@pytest.mark.parametrize(
    ("under_way", "asked", "expected"),
    [
        (DIAGNOSED, RollbackRollout(to_revision=1), True),
        (DIAGNOSED, DIAGNOSED, True),
        (DIAGNOSED, RollbackRollout(to_revision=2), False),
        (DIAGNOSED, RollbackRollout(to_revision=1, blamed_template="77aa"), False),
        (RollbackRollout(to_revision=1), DIAGNOSED, False),
        (ScaleWorkload(replicas=3), ScaleWorkload(replicas=3), True),
        (ScaleWorkload(replicas=3), ScaleWorkload(replicas=4), False),
        (EvictPod(), DIAGNOSED, False),
    ],
)
def test_a_person_asks_for_settings_and_may_leave_open_whom_to_blame(
    *, under_way: Action, asked: Action, expected: bool
) -> None:
    assert is_as_asked(under_way, asked) is expected

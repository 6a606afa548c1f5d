"""The one state machine of a remediation: which state follows which. Pure.

    proposed → rehearsing → deciding → awaiting_approval → ordered ⇄ blocked → acting → settling → kept ← held
                                                                                            ├→ held → undoing → released
                                                                                            └→ undoing → undone

and from each of them the ways out: refused, denied, expired, observed, cancelled, escalated.
"""

from collections.abc import Mapping

from aegis.contracts.outcomes import Stage
from aegis.contracts.remediations import RemediationState as S

_TRANSITIONS: Mapping[S, frozenset[S]] = {
    S.PROPOSED: frozenset({S.REHEARSING, S.CANCELLED}),
    S.REHEARSING: frozenset({S.DECIDING, S.REFUSED, S.EXPIRED, S.CANCELLED}),
    S.DECIDING: frozenset({S.ORDERED, S.AWAITING_APPROVAL, S.DENIED, S.OBSERVED, S.CANCELLED}),
    S.AWAITING_APPROVAL: frozenset({S.ORDERED, S.DENIED, S.CANCELLED}),
    S.ORDERED: frozenset({S.ACTING, S.BLOCKED, S.REFUSED, S.EXPIRED, S.CANCELLED, S.ESCALATED}),
    S.BLOCKED: frozenset({S.ACTING, S.REFUSED, S.EXPIRED, S.CANCELLED, S.ESCALATED}),
    # A write that its own preconditions stopped changed nothing: that is a refusal.
    S.ACTING: frozenset({S.SETTLING, S.REFUSED, S.ESCALATED}),
    S.SETTLING: frozenset({S.KEPT, S.HELD, S.UNDOING, S.ESCALATED}),
    # A person may decide that what is held stays.
    S.HELD: frozenset({S.KEPT, S.UNDOING, S.ESCALATED}),
    # A person may take back what was kept, for as long as the fields still hold it.
    S.KEPT: frozenset({S.UNDOING}),
    # Giving a temporary change back is an undo as well; it ends in `released`.
    S.UNDOING: frozenset({S.UNDONE, S.RELEASED, S.ESCALATED}),
    S.UNDONE: frozenset({S.ESCALATED}),
    # Cancelled means that nobody wants it any more; it may have been acted on in that very moment.
    S.CANCELLED: frozenset({S.ACTING}),
    S.RELEASED: frozenset(),
    S.ESCALATED: frozenset(),
    S.REFUSED: frozenset(),
    S.DENIED: frozenset(),
    S.EXPIRED: frozenset(),
    S.OBSERVED: frozenset(),
}

CONCLUDED: frozenset[S] = frozenset(
    {
        S.KEPT,
        S.RELEASED,
        S.UNDONE,
        S.ESCALATED,
        S.REFUSED,
        S.DENIED,
        S.EXPIRED,
        S.OBSERVED,
        S.CANCELLED,
    }
)
"""The states in which nobody waits for anything any more."""

CONCLUDABLE: Mapping[str, frozenset[S]] = {
    "undo": frozenset({S.SETTLING, S.HELD, S.KEPT}),
    "keep": frozenset({S.HELD}),
}
"""What a person may order to conclude otherwise, and from where."""

HELPED: frozenset[S] = frozenset({S.KEPT, S.HELD, S.RELEASED})
FAILED: frozenset[S] = frozenset({S.UNDONE, S.ESCALATED})
"""Whether an action that was taken did what it was taken for."""

NOT_YET_ACTING: frozenset[S] = frozenset(
    {S.PROPOSED, S.REHEARSING, S.DECIDING, S.AWAITING_APPROVAL, S.ORDERED, S.BLOCKED}
)
"""What a resolved incident cancels."""

WITH_THE_EXECUTOR: frozenset[S] = frozenset({S.ORDERED, S.BLOCKED, S.ACTING, S.SETTLING, S.HELD, S.UNDOING})
"""Here the Executor speaks next; its silence is reported to a person."""

_OF_STAGE: Mapping[Stage, S] = {
    Stage.BLOCKED: S.BLOCKED,
    Stage.REFUSED: S.REFUSED,
    Stage.EXPIRED: S.EXPIRED,
    Stage.ACTING: S.ACTING,
    Stage.SETTLING: S.SETTLING,
    Stage.KEPT: S.KEPT,
    Stage.HELD: S.HELD,
    Stage.RELEASED: S.RELEASED,
    Stage.UNDOING: S.UNDOING,
    Stage.UNDONE: S.UNDONE,
    Stage.ESCALATED: S.ESCALATED,
}


def may_follow(now: S, then: S) -> bool:
    return then in _TRANSITIONS[now]


def following(now: S) -> frozenset[S]:
    return _TRANSITIONS[now]


def state_of(stage: Stage) -> S:
    """Return the state that a report of the Executor puts a remediation in."""
    return _OF_STAGE[stage]


def is_allowed(now: S, then: S) -> bool:
    """Whether a report may move a remediation; saying the same again moves nothing and is no mistake."""
    return now == then or may_follow(now, then)

"""The one state machine of a remediation: which state follows which. Pure.

    proposed → rehearsing → deciding → awaiting_approval → ordered ⇄ blocked → acting → settling → kept ← held
                                                                                            ├→ held → undoing → released
                                                                                            └→ undoing → undone

and from each of them the ways out: refused, denied, expired, observed, cancelled, escalated. What is escalated because
the Executor was silent for too long goes where the Executor has brought it, once that is heard.
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
    # Silence only looks like an end; see `known_to_executor`.
    S.ESCALATED: frozenset({S.REFUSED, S.EXPIRED, S.KEPT, S.HELD, S.RELEASED, S.UNDONE}),
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
"""Whether an action that was taken did what it was taken for; of what is held without an end, nobody knows."""

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


def known_to_executor(now: S, said: Stage | None) -> S:
    """Return where the Executor has brought a remediation, by the last that it said of its order.

    Where it was silent for too long a person was called, and nothing else has changed: it is at it still.
    """
    if now is not S.ESCALATED or said in (Stage.ESCALATED, Stage.UNDONE):
        return now
    return S.ORDERED if said is None else state_of(said)


def is_allowed(now: S, then: S, *, known: S) -> bool:
    """Whether a report may move a remediation that is `known` to the Executor to be there.

    Saying the same again moves nothing and is no mistake.
    """
    if now is S.ESCALATED:
        return known is not now and is_allowed(known, then, known=known) and may_follow(now, then)
    return now == then or may_follow(now, then)

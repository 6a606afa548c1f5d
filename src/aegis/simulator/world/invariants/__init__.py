"""The rules of the architecture as checkers: each reads what a run left behind and says where it was broken."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from aegis.simulator.world.invariants import acting, remembering, telling
from aegis.simulator.world.invariants.evidence import Evidence, Ruling

Rule = Callable[[Evidence], Ruling]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            acting.only_the_executor_writes,  # rule 1, and so on
            acting.nothing_without_a_decision,
            acting.orders_are_exact,
            acting.patches_carry_preconditions,
            acting.guardrails_hold,
            acting.looked_at_again,
            acting.storms_stop_actions,
            acting.undo_is_complete,
            telling.leases_are_kept,
            telling.ai_engine_alone_changes_nothing,
            acting.pause_stops,
            remembering.nothing_acknowledged_is_lost,
            telling.replicas_are_as_good_as_one,
            telling.audit_has_no_gap,
            telling.values_stay_inside,
            acting.operators_objects_are_untouched,
            telling.everything_ends,
        )
    }
)


def judge(found: Evidence) -> dict[str, Ruling]:
    """Return what each rule says."""
    return {name: rule(found) for name, rule in RULES.items()}

"""What policy says: strictest rule, silence, conditions, modes."""

from pathlib import Path

import pytest
from tests.builders import NOW, plan, proposal

from aegis.contracts.actions import RaiseMemory
from aegis.contracts.decisions import Effect
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.targets import TargetFacts
from aegis.kit.errors import InvalidError
from aegis.policy.conditions import VARIABLES
from aegis.policy.decide import Context, decide
from aegis.policy.defaults import default_policies
from aegis.policy.rules import Policy, Rule, parse_policy

CONTEXT = Context(now=NOW, policy_version="1")


def policy(*rules: str) -> Policy:
    lines = "\n".join(f"    - {rule}" for rule in rules)
    return parse_policy(f"apiVersion: aegis.dev/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  rules:\n{lines}\n")


def test_silence_means_no() -> None:
    decision = decide(proposal(), plan(), [], CONTEXT)

    assert decision.effect is Effect.DENY
    assert "silence means no" in decision.reasons[0]


def test_the_strictest_matching_rule_wins() -> None:
    rules = policy("{name: a, effect: allow}", "{name: b, effect: require_approval}", "{name: c, effect: deny}")

    assert decide(proposal(), plan(), [rules], CONTEXT).rule == "p/c"


def test_a_condition_that_cannot_be_evaluated_never_grants_and_always_holds_back() -> None:
    unknown = '\'workload.labels["team"] == "x"\''
    allowing = policy(f"{{name: a, effect: allow, when: {unknown}}}")
    denying = policy("{name: a, effect: allow}", f"{{name: b, effect: deny, when: {unknown}}}")

    assert decide(proposal(), plan(), [allowing], CONTEXT).effect is Effect.DENY
    assert decide(proposal(), plan(), [denying], CONTEXT).effect is Effect.DENY


def test_mode_approve_asks_a_person_whatever_is_allowed() -> None:
    asked = plan(facts=TargetFacts(mode="approve"))

    assert decide(proposal(), asked, [policy("{name: a, effect: allow}")], CONTEXT).effect is Effect.REQUIRE_APPROVAL


def test_a_rule_that_keeps_failing_allows_nothing_without_a_person() -> None:
    demoted = Context(now=NOW, policy_version="1", demoted=frozenset({"p/a"}))

    decision = decide(proposal(), plan(), [policy("{name: a, effect: allow}")], demoted)

    assert (decision.effect, decision.approvals_needed) == (Effect.REQUIRE_APPROVAL, 1)
    assert "p/a has failed" in decision.reasons[0]
    assert decide(proposal(), plan(), [policy("{name: b, effect: allow}")], demoted).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("{name: a, effect: maybe}", "effect"),
        ("{name: a, effect: allow, colour: red}", "colour"),
        ("{name: a, effect: allow, when: 'confidence > \"x\"'}", "line 1, column 12"),
        ("{name: a, effect: allow, when: 'nobody == 1'}", "undeclared reference"),
        ("{name: a, effect: allow, when: 'confidense > 0.5'}", "known are workload.cluster, "),
        ("{name: a, effect: allow, namespaces: [BAD NS]}", "namespaces[0]"),
        ("{name: a, effect: allow, when: 'confidence'}", "must be a bool"),
    ],
)
def test_a_bad_policy_is_refused_with_field_and_place(rule: str, complaint: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        policy(rule)

    assert complaint in refusal.value.message
    assert refusal.value.field.startswith("spec.rules[0](a)")


def test_every_mistake_of_a_policy_is_named_with_its_line() -> None:
    with pytest.raises(InvalidError) as refusal:
        policy("{name: a, effect: allow, colour: red}", "{name: b, effect: allow}", "{name: c, when: 'x >'}")

    said = refusal.value.message
    assert "line 6: spec.rules[0](a).colour is not known here (got 'red')" in said
    assert "line 8: spec.rules[2](c).effect is missing" in said
    assert "line 8: spec.rules[2](c).when is no condition: line 1, column 4" in said
    assert [one.field for one in refusal.value.mistakes] == [
        "spec.rules[0](a).colour", "spec.rules[2](c).effect", "spec.rules[2](c).when",
    ]  # fmt: skip


def test_a_key_that_comes_twice_is_refused_and_the_last_does_not_win() -> None:
    with pytest.raises(InvalidError, match="line 6: the key 'effect' is there already, in line 6"):
        policy("{name: a, effect: deny, effect: allow}")


def test_the_shipped_policy_asks_before_raising_memory_and_rolls_bad_revisions_back() -> None:
    shipped = [parse_policy(source) for source in default_policies().values()]
    raising = proposal(RaiseMemory(container="web", factor=1.5))

    assert decide(proposal(), plan(), shipped, CONTEXT).effect is Effect.ALLOW
    assert decide(raising, plan(action="raise_memory"), shipped, CONTEXT).effect is Effect.REQUIRE_APPROVAL


@pytest.mark.parametrize(
    ("cause", "confidence", "effect"),
    [
        (CauseKind.BAD_REVISION, 0.7, Effect.ALLOW),
        (CauseKind.BAD_REVISION, 0.69, Effect.REQUIRE_APPROVAL),
        (CauseKind.MEMORY_LEAK, 0.8, Effect.ALLOW),  # its pods were killed
        (CauseKind.MEMORY_LIMIT_TOO_LOW, 0.8, Effect.ALLOW),
        (CauseKind.MEMORY_LEAK, 0.7, Effect.REQUIRE_APPROVAL),  # they will be
        (CauseKind.CPU_LIMIT_TOO_LOW, 0.9, Effect.REQUIRE_APPROVAL),
    ],
)
def test_the_shipped_policy_rolls_back_unasked_what_shows_in_crashes_and_errors(
    cause: CauseKind, confidence: float, effect: Effect
) -> None:
    shipped = [parse_policy(source) for source in default_policies().values()]

    assert decide(proposal(cause=cause, confidence=confidence), plan(), shipped, CONTEXT).effect is effect


def test_the_longest_reason_that_a_rule_may_have_is_told_and_a_longer_one_refused() -> None:
    longest = policy(f"{{name: a, effect: deny, because: {'x' * 4000}}}")

    assert decide(proposal(), plan(), [longest], CONTEXT).reasons[0].startswith("p/a: xxx")
    with pytest.raises(InvalidError, match=r"spec\.rules\[0\]\(a\)\.because"):
        policy(f"{{name: a, effect: deny, because: {'x' * 4001}}}")


def test_the_guide_names_all_that_a_rule_holds_and_a_condition_may_mention() -> None:
    guide = (Path(__file__).parents[3] / "docs/guides/policies.md").read_text()

    assert [one for one in (*Rule.model_fields, *VARIABLES) if f"`{one}`" not in guide] == []
    document = guide.partition("```yaml\n")[2].partition("```")[0]
    assert parse_policy(document).name == "payments"

"""Whose yes counts."""

from datetime import timedelta

from tests.builders import NOW

from aegis.backend.identity.roles import Grant, Principal, Role
from aegis.backend.remediations.consent import is_consent, objection
from aegis.contracts.approvals import Approval, Verdict
from aegis.contracts.decisions import Decision, Effect

DECISION = Decision(
    effect=Effect.REQUIRE_APPROVAL, reasons=("asked",), policy_version="1", approvals_needed=2, approver_role="approver"
)


def person(name: str, role: Role = Role.APPROVER, *namespaces: str) -> Principal:
    return Principal(actor=f"person:{name}", grants=(Grant(role=role, namespaces=namespaces or ("*",)),))


def approval(name: str, *, plan_hash: str = "h", verdict: Verdict = Verdict.APPROVED) -> Approval:
    return Approval(
        id=name, remediation_id="rem", plan_hash=plan_hash, approver=name, verdict=verdict, given_at=NOW,
        expires_at=NOW + timedelta(minutes=15),
    )  # fmt: skip


def test_whoever_requested_it_cannot_approve_it_even_as_admin() -> None:
    olga = person("olga", Role.ADMIN)

    assert objection(olga, requesters=["person:olga"], decision=DECISION, namespace="shop")
    assert objection(olga, requesters=["person:anton"], decision=DECISION, namespace="shop") is None


def test_a_role_counts_only_where_it_was_granted() -> None:
    assert objection(person("anton", Role.APPROVER, "billing"), requesters=[], decision=DECISION, namespace="shop")
    assert objection(person("olga", Role.OPERATOR), requesters=[], decision=DECISION, namespace="shop")


def test_two_different_people_are_needed_and_they_must_mean_this_plan() -> None:
    given = [approval("a"), approval("b", plan_hash="another")]

    assert not is_consent(given, plan_hash="h", decision=DECISION, now=NOW)
    assert is_consent([approval("a"), approval("b")], plan_hash="h", decision=DECISION, now=NOW)


def test_neither_an_approval_that_expired_nor_a_no_is_a_yes() -> None:
    both = [approval("a"), approval("b")]
    no = [approval("a"), approval("b", verdict=Verdict.REJECTED)]

    assert not is_consent(both, plan_hash="h", decision=DECISION, now=NOW + timedelta(hours=1))
    assert not is_consent(no, plan_hash="h", decision=DECISION, now=NOW)

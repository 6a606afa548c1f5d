"""Policies over HTTP: checked field by field when they are saved, versioned, in force at once."""

import asyncio
from typing import Any

from tests.services.backend.rig import Rig, field_of, policy, problem_of

DENY = policy("{name: never, effect: deny}")


async def in_force(rig: Rig) -> dict[str, int]:
    found = (await rig.as_("vic").get("/api/v1/policies")).json()["policies"]
    return {one["name"]: one["version"] for one in found}


async def test_a_new_installation_has_the_shipped_policies(rig: Rig) -> None:
    assert await in_force(rig) == {"default": 1}


async def test_saving_makes_a_version_and_every_version_stays_readable(rig: Rig) -> None:
    assert (await rig.put_policy(DENY)).json() == {"version": 1}
    assert (await rig.put_policy(policy("{name: always, effect: allow}"))).json() == {"version": 2}

    versions = (await rig.as_("vic").get("/api/v1/policies/p/versions")).json()
    assert [(one["version"], one["saved_by"]) for one in versions] == [(2, "person:ada"), (1, "person:ada")]
    assert versions[1]["source"] == DENY
    assert await rig.audit("p") == ["person:ada policy:saved"] * 2


async def test_two_who_save_at_once_get_one_version_each(rig: Rig) -> None:
    answers = await asyncio.gather(*(rig.put_policy(DENY) for _ in range(4)))

    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4]


async def test_what_is_deleted_is_no_longer_in_force_and_stays_readable(rig: Rig) -> None:
    await rig.put_policy(DENY)

    assert (await rig.as_("ada").delete("/api/v1/policies/p")).status_code == 204

    assert "p" not in await in_force(rig)
    versions = (await rig.as_("vic").get("/api/v1/policies/p/versions")).json()
    assert [one["deleted"] for one in versions] == [True, False]
    problem_of(await rig.as_("ada").delete("/api/v1/policies/p"), 404)


async def test_a_policy_saved_now_decides_what_is_rehearsed_next(rig: Rig) -> None:
    await rig.put_policy(DENY)
    remediation_id = await rig.propose()
    await rig.rehearse()

    shown = await rig.show(remediation_id)
    assert (shown["state"], shown["decision"]["rule"]) == ("denied", "p/never")
    assert "p@1" in shown["decision"]["policy_version"]


BAD = (
    ("{name: a, effect: allow, colour: red}", "spec.rules[0](a).colour", "'red'"),
    ("{name: a, effect: maybe}", "spec.rules[0](a).effect", "'maybe'"),
    ("{name: a, effect: allow, actions: [reboot]}", "spec.rules[0](a).actions[0]", "'reboot'"),
    ("{name: a, effect: allow, causes: [gremlins]}", "spec.rules[0](a).causes[0]", "'gremlins'"),
    ("{name: A!, effect: allow}", "spec.rules[0](A!).name", "'A!'"),
    ("{name: a, effect: allow, approvals: {count: 9}}", "spec.rules[0](a).approvals.count", "9"),
    ("{name: a, effect: allow, when: 'confidence >'}", "spec.rules[0](a).when", "'confidence >'"),
)


async def test_a_bad_policy_is_refused_with_field_value_and_what_to_do(rig: Rig) -> None:
    for rule, field, value in BAD:
        for answer in (
            await rig.put_policy(policy(rule)),
            await rig.as_("vic").post("/api/v1/policies/test", json={"source": policy(rule)}),
        ):
            assert field_of(answer) == (field, value)
            assert "aegis policies test" in answer.json()["hint"]
    assert "p" not in await in_force(rig)


CONDITIONS = (
    ("confidence >", "line 1, column 13"),
    ('true &&\n  confidence > "x"', "line 2, column 14"),
    ("nobody == 1", "line 1, column 1"),
    ("confidence", "line 1, column 1: is a double, and must be a bool"),
    ("workload.replicas == 1.5", "line 1, column 19"),
)


async def test_a_condition_is_type_checked_when_it_is_saved_and_the_place_is_said(rig: Rig) -> None:
    for condition, place in CONDITIONS:
        written = condition.replace("\n", "\\n").replace('"', '\\"')
        answer = await rig.put_policy(policy(f'{{name: a, effect: allow, when: "{written}"}}'))

        assert place in problem_of(answer, 422)["detail"]


LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(12))


NO_POLICIES = (
    "", "- a list", "just a text", "{unclosed", "a: 2026-99-99", "[" * 5000, "\x00", "a: !!python/object:os.system x",
    LAUGHS, "kind: Policy\n", "apiVersion: aegis.dev/v9\nkind: Policy\nmetadata: {name: p}\nspec: {rules: []}",
    policy("{name: a, effect: allow}", "{name: a, effect: deny}"),
)  # fmt: skip


async def test_what_is_no_policy_is_refused_and_never_saved(rig: Rig) -> None:
    for source in NO_POLICIES:
        answer = await rig.as_("ada").put("/api/v1/policies/p", json={"source": source})

        assert field_of(answer)[0], source[:50]
    assert "p" not in await in_force(rig)


async def test_a_policy_is_saved_under_the_name_it_gives_itself(rig: Rig) -> None:
    answer = await rig.put_policy(DENY, name="another")

    assert field_of(answer, 409) == ("metadata.name", "p")


async def test_a_good_policy_is_tested_without_being_saved(rig: Rig) -> None:
    answer = await rig.as_("vic").post("/api/v1/policies/test", json={"source": DENY})

    assert answer.json() == {"name": "p", "rules": ["never"]}
    assert "p" not in await in_force(rig)


async def test_an_explanation_shows_every_rule_that_speaks_of_it_and_how_it_came_out(rig: Rig) -> None:
    await rig.put_policy(policy("{name: sure, effect: deny, when: confidence > 0.99, because: not that sure}"))
    remediation_id = await rig.propose()
    await rig.rehearse()

    answer = (await rig.as_("vic").get(f"/api/v1/remediations/{remediation_id}/explanation")).json()

    rules: dict[str, Any] = {one["rule"]: one for one in answer["rules"]}
    assert (rules["p/sure"]["came_out"], rules["p/sure"]["counts"]) == ("false", False)
    assert rules["default/roll-back-what-just-broke"]["counts"]
    assert answer["decision"]["effect"] == "allow"

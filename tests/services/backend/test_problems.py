"""Whatever is wrong with a request is said as RFC 9457 says: what, where, and what to do."""

from datetime import timedelta

import pytest
from tests.services.backend.rig import Rig, field_of, policy, problem_of

NUL = "a\0b"


async def test_what_does_not_exist_is_a_problem_too(rig: Rig) -> None:
    assert "/openapi.json" in problem_of(await rig.as_("ada").get("/api/v2/nothing"), 404)["hint"]
    wrong = await rig.as_("ada").put("/api/v1/incidents")
    problem_of(wrong, 405)
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize("path", ["incidents/inc-x", "remediations/rem-x", "policies/none/versions"])
async def test_what_is_not_there_says_where_to_look(rig: Rig, path: str) -> None:
    assert "list` shows them" in problem_of(await rig.as_("ada").get(f"/api/v1/{path}"), 404)["hint"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'{"reason": NaN}', "application/json", 422),
        (b'{"reason": -Infinity}', "application/json", 422),
        (b'{"reason": "\\ud800"}', "application/json", 422),
        (b'{"\\ud800": 1}', "application/json", 422),
        (b'{"reason": ' + b"9" * 400 + b"}", "application/json", 422),
        (b'{"reason": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b'{"reason": ' + b"[" * 100_000, "application/json", 400),
        (b"reason=now", "application/x-www-form-urlencoded", 422),
        (b"now", "text/plain", 422),
    ],
)
async def test_a_body_that_is_none_is_told_so(rig: Rig, content: bytes, kind: str, status: int) -> None:
    answer = await rig.as_("ada").post("/api/v1/pause", content=content, headers={"Content-Type": kind})

    assert problem_of(answer, status)["hint"]


async def test_a_body_that_is_no_json_is_told_where_and_no_value_is_made_up(rig: Rig) -> None:
    kind = {"Content-Type": "application/json"}

    broken = await rig.as_("ada").post("/api/v1/pause", content=b'{"reason": x}', headers=kind)
    no_text = await rig.as_("ada").post("/api/v1/pause", content=b'{"reason": "\xff\xfe"}', headers=kind)

    assert field_of(broken) == ("body", None)
    assert "at character 11" in problem_of(broken, 422)["detail"]
    assert "got" not in broken.json()["detail"]
    assert field_of(no_text, 400) == ("body", None)
    assert no_text.json()["title"] == "bad request"
    assert "UTF-8" in no_text.json()["detail"]


async def test_what_is_wrong_is_said_without_the_words_of_a_library(rig: Rig) -> None:
    asked = {"namespace": "shop", "name": "web", "action": {"kind": "fry_eggs"}, "reason": "x"}
    grants = [{"role": "viewer"}, {"role": "king"}]

    eggs = await rig.as_("ada").post("/api/v1/remediations", json=asked)
    king = await rig.as_("ada").post(
        "/api/v1/people", json={"name": "kim", "password": "long enough it is", "grants": grants}
    )

    assert field_of(eggs) == ("action.kind", "fry_eggs")
    assert "is not one of 'rollback_rollout', " in eggs.json()["detail"]
    assert field_of(king) == ("grants[1].role", "king")
    for answer in (eggs, king):
        assert not any(word in answer.text for word in ("Input", "tag", "ActionKind", "pydantic"))


async def test_a_character_that_cannot_be_stored_is_refused_wherever_it_comes(rig: Rig) -> None:
    ada = rig.as_("ada")
    asked = {"namespace": "shop", "name": NUL, "action": {"kind": "restart_workload"}, "reason": "x"}

    for answer in (
        await ada.get("/api/v1/incidents/%00"),
        await ada.get("/api/v1/remediations/%00"),
        await ada.get("/api/v1/remediations?incident_id=%00"),
        await ada.get("/api/v1/audit/entries?subject=%00"),
        await ada.get("/api/v1/policies/%00/versions"),
        await ada.post("/api/v1/pause", json={"reason": NUL}),
        await ada.post("/api/v1/remediations", json=asked),
        await ada.patch("/api/v1/people/%00", json={"disabled": True}),
        await rig.anybody().post("/api/v1/sessions", json={"name": NUL, "password": "x"}),
        await rig.put_policy(policy("{name: a, effect: deny, because: x}").replace("because: x", f"because: {NUL}")),
    ):
        problem_of(answer, 422)


async def test_a_number_beyond_all_reason_names_its_field(rig: Rig) -> None:
    huge = "9" * 30
    assert field_of(await rig.as_("ada").get(f"/api/v1/audit/entries?after={huge}"))[0] == "query.after"
    assert field_of(await rig.as_("ada").get("/api/v1/incidents?limit=501")) == ("query.limit", "501")
    assert field_of(await rig.as_("ada").get("/api/v1/incidents?before=0001-01-01T00:00:00%2B14:00"))[0] == (
        "query.before"
    )
    assert field_of(await rig.as_("ai-engine").get(f"/api/v1/outcomes?after={huge}"))[0] == "query.after"
    assert field_of(await rig.as_("executor").get("/api/v1/work?replica=e&wait_s=nan"))[0] == "query.wait_s"


class BrokenCounters:
    async def increment(self, key: str, *, window: timedelta) -> int:
        raise RuntimeError("canary")


async def test_a_surprise_is_told_without_its_inside_and_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    broken = Rig(rig.database, {"counters": BrokenCounters()})

    async with broken.client(surprises_pass=True) as client:
        answer = await client.post("/api/v1/sessions", json={"name": "ada", "password": "x"})

    assert "log of this service" in problem_of(answer, 500)["detail"]
    assert "canary" not in answer.text
    assert "unexpected error on POST /api/v1/sessions" in caplog.text

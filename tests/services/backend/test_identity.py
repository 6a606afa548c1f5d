"""People, their sessions, the services' keys, and the limit on tries to log in."""

from typing import Any

import httpx
from sqlalchemy import text
from tests.servers import ADMIN_PASSWORD, KEYS, backend_ports
from tests.services.backend.rig import Rig, field_of, problem_of

from aegis.backend.identity import credentials, repository
from aegis.backend.identity.refusals import TOLD_APART
from aegis.backend.service import Backend

NEW = {"name": "kim", "password": "a long enough one", "grants": [{"role": "operator", "namespaces": ["shop-*"]}]}


async def log_in(rig: Rig, name: str = "admin", password: str = ADMIN_PASSWORD) -> httpx.Response:
    return await rig.anybody().post("/api/v1/sessions", json={"name": name, "password": password})


async def test_the_first_admin_logs_in_and_out(rig: Rig) -> None:
    token = (await log_in(rig)).json()["token"]
    async with rig.client({"Authorization": f"Bearer {token}"}) as admin:
        me = (await admin.get("/api/v1/me")).json()
        assert me == {"actor": "person:admin", "grants": [{"role": "admin", "namespaces": ["*"]}]}

        assert (await admin.delete("/api/v1/sessions/current")).status_code == 204
        problem_of(await admin.get("/api/v1/me"), 401)
    assert sorted(await rig.audit("admin")) == [
        "person:admin session:ended", "person:admin session:started", "service:backend person:added",
    ]  # fmt: skip


async def test_a_wrong_name_and_a_wrong_password_are_told_alike(rig: Rig) -> None:
    nobody = problem_of(await log_in(rig, "nobody"), 401)
    wrong = problem_of(await log_in(rig, password="wrong"), 401)

    assert nobody == wrong


async def test_a_session_ends_after_a_working_day(rig: Rig) -> None:
    token = (await log_in(rig)).json()["token"]
    await rig.pass_time(hours=12)

    async with rig.client({"Authorization": f"Bearer {token}"}) as admin:
        problem_of(await admin.get("/api/v1/me"), 401)


async def test_secrets_are_kept_as_argon2id_and_tokens_as_hashes(rig: Rig) -> None:
    token = (await log_in(rig)).json()["token"]

    async with rig.database.transaction() as tx:
        admin = await repository.find_person(tx, "admin")
        keys = [await repository.live_key_hashes(tx, service) for service in KEYS.service]
        found = (await tx.execute(text("SELECT token_hash FROM sessions WHERE person = 'admin'"))).scalars().all()
    assert admin is not None
    assert all(kept.startswith("$argon2id$") for kept in [admin.password_hash, *(one for some in keys for one in some)])
    assert found
    assert token not in found


async def test_tries_to_log_in_are_limited_by_name_and_address(rig: Rig) -> None:
    answers = [await log_in(rig, password="wrong") for _ in range(10)]
    assert {answer.status_code for answer in answers} == {401}

    limited = await log_in(rig)

    assert "Wait" in problem_of(limited, 429)["hint"]
    assert limited.headers["retry-after"] == "60"
    problem_of(await log_in(rig, "somebody-else"), 429)


async def test_an_admin_adds_a_person_who_may_what_was_granted(rig: Rig) -> None:
    assert (await rig.as_("ada").post("/api/v1/people", json=NEW)).json() == {
        "name": "kim", "grants": NEW["grants"], "disabled": False,
    }  # fmt: skip

    token = (await log_in(rig, "kim", "a long enough one")).json()["token"]
    async with rig.client({"Authorization": f"Bearer {token}"}) as kim:
        elsewhere = {"namespace": "billing", "name": "web", "action": {"kind": "restart_workload"}, "reason": "x"}
        assert "namespace billing" in problem_of(await kim.post("/api/v1/remediations", json=elsewhere), 403)["detail"]
        problem_of(await kim.post("/api/v1/remediations", json=elsewhere | {"namespace": "shop-a"}), 404)
        problem_of(await kim.get("/api/v1/audit/entries"), 403)
    assert field_of(await rig.as_("ada").post("/api/v1/people", json=NEW), 409) == ("name", "kim")


async def test_a_person_that_makes_no_sense_names_its_field_and_never_tells_the_password(rig: Rig) -> None:
    for sent, field in (
        (NEW | {"name": "Kim!"}, "name"),
        (NEW | {"password": "canary"}, "password"),
        (NEW | {"password": ["canary"]}, "password"),
        (NEW | {"grants": [{"role": "king"}]}, "grants[0].role"),
        (NEW | {"grants": [{"role": "viewer", "namespaces": []}]}, "grants[0].namespaces"),
        (NEW | {"is_admin": True}, "is_admin"),
        ({"password": "canary"}, "name"),
        ([{"password": "canary"}], "body"),
    ):
        answer = await rig.as_("ada").post("/api/v1/people", json=sent)

        assert field_of(answer)[0] == field
        assert "canary" not in answer.text


async def test_a_change_ends_every_session_of_a_person(rig: Rig) -> None:
    assert (await rig.as_("ole").get("/api/v1/me")).status_code == 200

    assert (await rig.as_("ada").patch("/api/v1/people/ole", json={"disabled": True})).status_code == 204

    problem_of(await rig.as_("ole").get("/api/v1/me"), 401)
    assert "person:ada person:changed" in await rig.audit("ole")


async def test_whoever_is_disabled_cannot_log_in(rig: Rig) -> None:
    await rig.as_("ada").post("/api/v1/people", json=NEW)
    await rig.as_("ada").patch("/api/v1/people/kim", json={"disabled": True})

    problem_of(await log_in(rig, "kim", "a long enough one"), 401)


async def test_changing_nothing_or_nobody_says_so(rig: Rig) -> None:
    assert field_of(await rig.as_("ada").patch("/api/v1/people/ole", json={}))[0] == "body"
    problem_of(await rig.as_("ada").patch("/api/v1/people/nobody", json={"disabled": True}), 404)


async def test_people_are_listed_without_their_secrets(rig: Rig) -> None:
    people = (await rig.as_("ada").get("/api/v1/people")).json()

    assert {one["name"] for one in people} == {"ada", "admin", "ann", "bob", "eve", "ole", "vic"}
    assert all(set(one) == {"name", "grants", "disabled"} for one in people)


async def test_a_key_that_left_the_settings_stops_working_and_the_new_one_works(rig: Rig) -> None:
    assert (await rig.as_("executor").get("/api/v1/pause")).status_code == 200
    new = "aegis-service.executor.another"

    await Backend(backend_ports(rig.database, settings={"service_keys": f"executor={new}"})).prepare()

    problem_of(await rig.as_("executor").get("/api/v1/pause"), 401)
    async with rig.client({"Authorization": f"Bearer {new}"}) as executor:
        assert (await executor.get("/api/v1/pause")).status_code == 200
    async with rig.client({"Authorization": f"Bearer {KEYS.service['executor']}x"}) as stranger:
        problem_of(await stranger.get("/api/v1/pause"), 401)


async def refused(rig: Rig) -> list[dict[str, Any]]:
    """Return what the trail tells of those who were not let in, an entry each."""
    entries = (await rig.as_("ada").get("/api/v1/audit/entries", params={"subject": "logins"})).json()["entries"]
    assert all((one["actor"], one["event"]) == ("service:backend", "login:refused") for one in entries)
    return [one["detail"] for one in entries]


async def test_strangers_may_try_ten_keys_a_minute_and_lock_no_service_out(rig: Rig) -> None:
    async def knock(service: str, number: int) -> httpx.Response:
        async with rig.client({"Authorization": f"Bearer aegis-service.{service}.{number}"}) as stranger:
            return await stranger.get("/api/v1/pause")

    assert [(await knock("executor", number)).status_code for number in range(10)] == [401] * 10
    for number in range(10, 13):
        limited = await knock("executor", number)
        problem_of(limited, 429)
        assert limited.headers["retry-after"] == "60"

    assert (await rig.as_("executor").get("/api/v1/pause")).status_code == 200
    problem_of(await knock("ai-engine", 0), 401)
    for number in range(15):  # a service that is not there has no hash to compare with: it costs nothing
        problem_of(await knock("nobody", number), 401)


async def test_a_key_that_was_just_made_known_is_let_in_whatever_strangers_do(rig: Rig) -> None:
    for number in range(12):
        async with rig.client({"Authorization": f"Bearer aegis-service.executor.{number}"}) as stranger:
            await stranger.get("/api/v1/pause")
    new = "aegis-service.executor.yet-another"

    await Backend(backend_ports(rig.database, settings={"service_keys": f"executor={new}"})).prepare()

    async with rig.client({"Authorization": f"Bearer {new}"}) as executor:
        assert (await executor.get("/api/v1/pause")).status_code == 200


async def test_who_was_not_let_in_is_counted_and_told_once_a_minute(rig: Rig) -> None:
    for _ in range(12):
        await log_in(rig, "ann", "wrong")
    async with rig.client({"Authorization": "Bearer aegis-service.executor.x"}) as stranger:
        await stranger.get("/api/v1/pause")
    await rig.backend.tidy()
    assert await refused(rig) == [{
        "times": 13,
        "tries": [
            {"who": "person:ann", "from": "127.0.0.1", "times": 12},
            {"who": "service:executor", "from": "127.0.0.1", "times": 1},
        ],
    }]  # fmt: skip

    await log_in(rig, "bob", "wrong")
    await rig.backend.tidy()
    assert len(await refused(rig)) == 1
    await rig.pass_time(minutes=1)
    for _ in range(2):
        await rig.backend.tidy()
    assert [one["times"] for one in await refused(rig)] == [13, 1]

    await log_in(rig, "bob", "wrong")
    await rig.backend.finish()
    assert [one["times"] for one in await refused(rig)] == [13, 1, 1]


async def test_a_flood_of_names_makes_one_entry_of_bounded_length(rig: Rig) -> None:
    for number in range(TOLD_APART + 20):
        await log_in(rig, f"stranger-{number}", "wrong")

    await rig.backend.tidy()

    [told] = await refused(rig)
    assert told["times"] == TOLD_APART + 20
    assert told["tries"][0] == {"who": "others", "from": "elsewhere", "times": 20}
    assert len(told["tries"]) == TOLD_APART + 1


async def test_a_name_that_nobody_can_have_is_refused_before_it_is_looked_up(rig: Rig) -> None:
    for name in ("x" * 65, "x\0"):
        assert field_of(await log_in(rig, name))[0] == "name"


async def test_starting_again_makes_known_nothing_twice(rig: Rig) -> None:
    before = await rig.audit()

    await Backend(rig.ports).prepare()

    assert await rig.audit() == before


def test_secrets_are_hashed_with_argon2id_at_owasps_minimum_or_more() -> None:
    kind, version, strength, *_ = credentials.hash_secret("secret").split("$")[1:]

    assert (kind, version) == ("argon2id", "v=19")
    costs = dict(part.split("=") for part in strength.split(","))
    assert (int(costs["m"]) >= 19 * 1024, int(costs["t"]) >= 2) == (True, True)

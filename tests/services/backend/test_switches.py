"""Pause and storm: who stops everything, who lets go on, and who hears of it."""

from typing import Any

from tests.services.backend.rig import Rig, field_of, problem_of

STORM = {"active": True, "unhealthy": ["shop/Deployment/web"], "workloads": 9, "since": "2026-01-05T12:00:00Z"}


async def paused(rig: Rig) -> dict[str, Any]:
    return dict((await rig.as_("executor").get("/api/v1/pause")).json())


async def test_a_new_installation_is_paused_until_an_admin_resumes_it(rig: Rig) -> None:
    first = await paused(rig)
    assert (first["paused"], first["by"]) == (True, "service:backend")

    await rig.as_("ada").post("/api/v1/resume", json={"reason": "all is set up"})

    now = await paused(rig)
    assert (now["paused"], now["by"], now["reason"]) == (False, "person:ada", "all is set up")


async def test_anyone_on_call_pauses_everything_and_only_an_admin_resumes(rig: Rig) -> None:
    await rig.as_("ada").post("/api/v1/resume", json={"reason": "go"})

    assert (await rig.as_("eve").post("/api/v1/pause", json={"reason": "it is on fire"})).status_code == 200
    problem_of(await rig.as_("eve").post("/api/v1/resume", json={"reason": "never mind"}), 403)

    assert (await paused(rig))["reason"] == "it is on fire"
    told = await rig.audit("cluster")
    assert sorted(told) == ["person:ada actions:resumed", "person:eve actions:paused"]


async def test_a_pause_says_why(rig: Rig) -> None:
    assert field_of(await rig.as_("ann").post("/api/v1/pause", json={"reason": ""})) == ("reason", "")
    assert field_of(await rig.as_("ann").post("/api/v1/pause", json={})) == ("reason", None)


async def test_a_storm_that_is_reported_again_calls_one_person_once(rig: Rig) -> None:
    problem_of(await rig.as_("vic").get("/api/v1/storm"), 404)
    for _ in range(3):
        assert (await rig.as_("executor").put("/api/v1/storm", json=STORM)).status_code == 204

    [told] = await rig.notifications("storm")
    assert (told["severity"], told["detail"]["unhealthy"]) == ("critical", ["shop/Deployment/web"])
    assert await rig.audit("cluster") == ["service:executor storm:began"]


async def test_a_storm_is_shown_with_ones_own_workloads(rig: Rig) -> None:
    everywhere = ["elsewhere/Deployment/till", "Node/n1", "shop/Deployment/web"]
    await rig.as_("executor").put("/api/v1/storm", json=STORM | {"unhealthy": everywhere})

    assert (await rig.as_("vic").get("/api/v1/storm")).json()["unhealthy"] == everywhere
    assert (await rig.as_("eve").get("/api/v1/storm")).json()["unhealthy"] == everywhere[:2]


async def test_a_storm_ends(rig: Rig) -> None:
    await rig.as_("executor").put("/api/v1/storm", json=STORM)
    await rig.pass_time(seconds=1)
    await rig.as_("executor").put("/api/v1/storm", json=STORM | {"active": False, "unhealthy": []})

    assert (await rig.as_("vic").get("/api/v1/storm")).json()["active"] is False
    assert await rig.audit("cluster") == ["service:executor storm:began", "service:executor storm:ended"]

"""Incidents: what the AI Engine reports and Alertmanager sends, taken once, shown to whom it concerns."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.builders import NOW
from tests.servers import CLUSTER
from tests.services.backend.rig import Rig, field_of, problem_of

from aegis.clients.backend import BackendClient
from aegis.contracts.diagnoses import CauseKind, Diagnosis, Hypothesis
from aegis.contracts.findings import Severity, Symptom
from aegis.contracts.incidents import IncidentReport
from aegis.contracts.targets import WorkloadRef


def workload(name: str = "web", namespace: str = "shop") -> WorkloadRef:
    return WorkloadRef(cluster_id=CLUSTER, namespace=namespace, kind="Deployment", name=name)


def symptom(fingerprint: str = "f-1", **changes: Any) -> Symptom:
    given: dict[str, Any] = {
        "fingerprint": fingerprint, "workload": workload(), "started_at": NOW, "observed_at": NOW,
        "reason": "CrashLoopBackOff", "summary": "it crashes",
    }  # fmt: skip
    return Symptom.model_validate(given | changes)


def report(key: str = "problem-1", **changes: Any) -> IncidentReport:
    given: dict[str, Any] = {"key": key, "workload": workload(), "findings": (symptom(),), "reported_at": NOW}
    return IncidentReport.model_validate(given | changes)


def diagnosed(cause: CauseKind) -> Diagnosis:
    return Diagnosis(hypotheses=(Hypothesis(cause=cause, subject=workload(), confidence=0.9),), made_at=NOW)


async def tell(rig: Rig, *reports: IncidentReport) -> None:
    for one in reports:
        await BackendClient(rig.as_("ai-engine")).report(one)


async def incidents(rig: Rig, name: str = "ada", **query: Any) -> list[dict[str, Any]]:
    return list((await rig.as_(name).get("/api/v1/incidents", params=query)).json()["incidents"])


async def test_a_report_that_comes_twice_is_one_incident_told_of_once(rig: Rig) -> None:
    await tell(rig, report(), report())

    [incident] = await incidents(rig)
    assert len(incident["findings"]) == 1
    assert await rig.audit(incident["id"]) == ["service:ai-engine incident:opened"]


async def test_two_replicas_that_report_at_once_open_one_incident(rig: Rig) -> None:
    await asyncio.gather(*(tell(rig, report()) for _ in range(5)))

    assert len(await incidents(rig)) == 1


async def test_a_later_report_adds_findings_and_replaces_the_diagnosis(rig: Rig) -> None:
    await tell(rig, report(diagnosis=diagnosed(CauseKind.UNKNOWN)))

    worse = symptom("f-2", severity=Severity.CRITICAL)
    await tell(rig, report(findings=(worse,), diagnosis=diagnosed(CauseKind.BAD_REVISION)))

    [incident] = await incidents(rig)
    assert [one["fingerprint"] for one in incident["findings"]] == ["f-1", "f-2"]
    assert incident["severity"] == "critical"
    assert incident["diagnosis"]["hypotheses"][0]["cause"] == "bad_revision"
    assert "incident:diagnosed" in " ".join(await rig.audit(incident["id"]))


async def test_an_incident_resolves_and_comes_back_under_its_name(rig: Rig) -> None:
    await tell(rig, report())
    await rig.pass_time(seconds=1)
    await tell(rig, report(resolved=True))
    [resolved] = await incidents(rig, state="resolved")
    await rig.pass_time(seconds=1)

    await tell(rig, report())

    [again] = await incidents(rig, state="open")
    assert resolved["id"] == again["id"]
    assert again["resolved_at"] is None
    told = [entry.partition(" ")[2] for entry in await rig.audit(again["id"])]
    assert told == ["incident:opened", "incident:resolved", "incident:reopened"]


async def test_what_was_begun_for_an_incident_goes_on_in_the_one_it_is_merged_into(rig: Rig) -> None:
    await tell(rig, report("first"), report("second"))
    remediation_id = await rig.propose(incident_key="second")
    await rig.pass_time(seconds=1)

    await tell(rig, report("second", resolved=True, merged_into="first"))
    await rig.backend.step()
    merged = await rig.state(remediation_id)
    await tell(rig, report("first", resolved=True))
    await rig.backend.step()

    assert (merged, await rig.state(remediation_id)) == ("rehearsing", "cancelled")
    [second] = [one for one in await incidents(rig) if one["key"] == "second"]
    assert second["merged_into"] == "first"
    assert "service:ai-engine incident:merged" in await rig.audit(second["id"])


async def test_a_person_is_called_once_for_what_no_action_helps(rig: Rig) -> None:
    await tell(rig, *(report(needs_person="the store is down") for _ in range(3)))

    [called] = await rig.notifications("needs_person")
    assert called["detail"]["why"] == "the store is down"


async def test_acknowledging_is_said_once_and_by_name(rig: Rig) -> None:
    await tell(rig, report())
    [incident] = await incidents(rig)
    path = f"/api/v1/incidents/{incident['id']}/acknowledge"

    assert (await rig.as_("ole").post(path)).status_code == 204
    assert "acknowledged" in problem_of(await rig.as_("ann").post(path), 409)["detail"]
    assert "person:ole incident:acknowledged" in await rig.audit(incident["id"])


async def test_whoever_is_bound_to_a_namespace_sees_theirs_however_much_there_is_elsewhere(rig: Rig) -> None:
    await tell(rig, report("first", workload=workload("till", "elsewhere")))
    await tell(rig, *(report(f"problem-{number}") for number in range(5)))

    [theirs] = await incidents(rig, "eve", limit=2)

    assert theirs["workload"]["name"] == "till"
    others = next(one for one in await incidents(rig) if one["workload"]["namespace"] == "shop")
    problem_of(await rig.as_("eve").get(f"/api/v1/incidents/{others['id']}"), 404)
    problem_of(await rig.as_("eve").post(f"/api/v1/incidents/{others['id']}/acknowledge"), 404)


async def test_what_is_wrong_elsewhere_is_nobodys_business(rig: Rig) -> None:
    till = workload("till", "elsewhere")
    beside = (symptom("f-1", workload=till), symptom("f-2"), symptom("f-3", workload=workload("n1", "")))
    await tell(rig, report(workload=till, affected=(workload("web"), workload("desk", "elsewhere")), findings=beside))

    [theirs] = await incidents(rig, "eve")

    assert [one["name"] for one in theirs["affected"]] == ["desk"]
    assert {one["fingerprint"] for one in theirs["findings"]} == {"f-1", "f-3"}  # nodes concern everybody
    assert len((await incidents(rig))[0]["findings"]) == 3


async def test_alerts_and_reports_about_one_workload_do_not_wait_for_each_other(rig: Rig) -> None:
    await tell(rig, report())
    message = {
        "version": "4",
        "alerts": [{
            "status": "firing", "startsAt": "2026-01-05T00:00:00Z", "fingerprint": "a1",
            "labels": {"alertname": "Slow", "namespace": "shop", "deployment": "web"},
        }],
    }  # fmt: skip
    for number in range(8):
        body = report(needs_person=f"look {number}").model_dump(mode="json")
        told, alerted = await asyncio.gather(
            rig.as_("ai-engine").post("/api/v1/incidents/reports", json=body),
            rig.as_("alertmanager").post("/api/v1/alerts", json=message),
        )
        assert (told.status_code, alerted.status_code) == (202, 202)


async def test_pages_go_back_in_time(rig: Rig) -> None:
    for number in range(3):
        await tell(rig, report(f"problem-{number}", reported_at=NOW.replace(minute=number)))

    newest = await incidents(rig, limit=2)
    older = await incidents(rig, limit=2, before=newest[-1]["opened_at"])

    assert [one["key"] for one in newest + older] == ["problem-2", "problem-1", "problem-0"]


# Alertmanager


def alert(**changes: Any) -> dict[str, Any]:
    labels = {"alertname": "Slow", "namespace": "shop", "deployment": "web", "severity": "critical"}
    given = {
        "status": "firing", "labels": labels, "annotations": {"summary": "web is slow"},
        "startsAt": "2026-01-05T11:58:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "a1b2",
        "generatorURL": "http://prometheus/graph",
    }  # fmt: skip
    return given | changes


async def fire(rig: Rig, *alerts: dict[str, Any], **changes: Any) -> httpx.Response:
    message = {
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "aegis",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": alerts,
    }  # fmt: skip
    return await rig.as_("alertmanager").post("/api/v1/alerts", json=message | changes)


async def test_a_firing_alert_opens_an_incident_of_the_workload_it_names(rig: Rig) -> None:
    answer = await fire(rig, alert())

    [incident] = await incidents(rig)
    assert answer.json() == {"incident_ids": [incident["id"]]}
    assert incident["workload"] == workload().model_dump()
    assert (incident["severity"], incident["findings"][0]["name"]) == ("critical", "Slow")


async def test_an_alert_that_is_repeated_is_the_same_incident(rig: Rig) -> None:
    for _ in range(3):
        await fire(rig, alert())

    [incident] = await incidents(rig)
    assert len(incident["findings"]) == 1
    assert await rig.audit(incident["id"]) == ["service:alertmanager incident:opened"]


async def test_two_alertmanagers_that_tell_at_once_open_one_incident(rig: Rig) -> None:
    answers = await asyncio.gather(*(fire(rig, alert(), alert(fingerprint="c3")) for _ in range(4)))

    assert {answer.status_code for answer in answers} == {202}
    assert len(await incidents(rig)) == 1


async def test_a_resolved_alert_resolves_its_incident_and_cancels_what_is_not_yet_acting(rig: Rig) -> None:
    await fire(rig, alert())
    [incident] = await incidents(rig)
    remediation_id = await rig.propose(incident_key=incident["key"])
    await rig.pass_time(seconds=1)

    await fire(rig, alert(status="resolved"))
    await rig.backend.step()

    assert (await incidents(rig))[0]["state"] == "resolved"
    assert await rig.state(remediation_id) == "cancelled"


async def test_an_incident_lasts_until_the_last_of_its_alerts_is_resolved(rig: Rig) -> None:
    await fire(rig, alert(), alert(fingerprint="c3"))

    await fire(rig, alert(status="resolved"))
    assert [one["state"] for one in await incidents(rig)] == ["open"]

    await fire(rig, alert(fingerprint="c3", status="resolved"))
    assert [one["state"] for one in await incidents(rig)] == ["resolved"]


async def test_an_alert_joins_the_incident_that_the_ai_engine_has_reported(rig: Rig) -> None:
    await tell(rig, report())

    await fire(rig, alert())

    [incident] = await incidents(rig)
    assert [one["type"] for one in incident["findings"]] == ["symptom", "alert"]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"alertname": "DiskFull", "instance": "node1"}, "/Alert/DiskFull"),
        ({}, "/Alert/unknown"),
        ({"alertname": "", "workload": "", "deployment": ""}, "/Alert/unknown"),
        ({"alertname": "Slow", "namespace": "shop", "workload": "store", "kind": "StatefulSet"},
         "shop/StatefulSet/store"),
        ({"namespace": "shop", "statefulset": "store"}, "shop/StatefulSet/store"),
        ({"alertname": "x" * 1000, "namespace": "n" * 1000}, f"{'n' * 253}/Alert/{'x' * 253}"),
    ],
)  # fmt: skip
async def test_an_alert_without_a_workload_is_an_incident_of_its_own(
    rig: Rig, labels: dict[str, str], named: str
) -> None:
    assert (await fire(rig, alert(labels=labels))).status_code == 202

    [incident] = await incidents(rig)
    found = incident["workload"]
    assert f"{found['namespace']}/{found['kind']}/{found['name']}" == named


async def test_an_alert_is_taken_however_long_its_texts_are(rig: Rig) -> None:
    endless = alert(annotations={"summary": "s" * 10_000}, fingerprint="f" * 1000)

    assert (await fire(rig, endless)).status_code == 202
    assert (await fire(rig, endless | {"status": "resolved"})).status_code == 202
    assert [one["state"] for one in await incidents(rig)] == ["resolved"]


MALFORMED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"version": "3"}, "version"),
    ({"alerts": "none"}, "alerts"),
    ({"alerts": [{"status": "firing", "labels": {}}]}, "alerts[0].startsAt"),
    ({"alerts": [alert(status="burning")]}, "alerts[0].status"),
    ({"alerts": [alert(startsAt="yesterday")]}, "alerts[0].startsAt"),
    ({"alerts": [alert(startsAt="2026-01-05T11:58:00")]}, "alerts[0].startsAt"),
    ({"alerts": [alert(startsAt="0001-01-01T00:00:00+14:00")]}, "alerts[0].startsAt"),
    ({"alerts": [alert(labels={"alertname": 3})]}, "alerts[0].labels.alertname"),
)


async def test_a_malformed_message_is_refused_whole_with_its_field(rig: Rig) -> None:
    for sent, field in MALFORMED:
        answer = await fire(rig, **{"alerts": [alert()], **sent})

        assert field_of(answer)[0] == field
    assert await incidents(rig) == []


async def test_alerts_that_alertmanager_left_out_are_not_lost_unsaid(rig: Rig) -> None:
    for _ in range(2):
        assert (await fire(rig, alert(), truncatedAlerts=7, groupKey="{}:{cluster=a}")).status_code == 202

    [told] = await rig.notifications("alerts_left_out")
    assert told["title"].startswith("Alertmanager left out 7 alerts")
    assert told["detail"]["group_key"] == "{}:{cluster=a}"
    assert (await rig.audit("alertmanager")).count("service:alertmanager alerts:left_out") == 1


async def test_more_alerts_than_are_taken_are_refused_whole_so_that_none_is_lost(rig: Rig) -> None:
    answer = await fire(rig, *[alert()] * 1001)

    assert field_of(answer) == ("alerts", 1001)
    assert "max_alerts" in answer.json()["hint"]
    assert await incidents(rig) == []


async def test_two_messages_about_the_same_workloads_do_not_wait_for_each_other(rig: Rig) -> None:
    web, store = alert(), alert(labels={"alertname": "Slow", "namespace": "shop", "workload": "store"}, fingerprint="s")

    answers = await asyncio.gather(*(fire(rig, *pair) for pair in ((web, store), (store, web)) * 3))

    assert {answer.status_code for answer in answers} == {202}
    assert len(await incidents(rig)) == 2

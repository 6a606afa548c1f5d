"""The rule about what the Backend has promised to remember."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

import orjson

from aegis.simulator.world.invariants.evidence import Acknowledged, Evidence, Ruling, moment

Fact = tuple[object, ...]
"""Something that is in a table, named by what a request or its answer says of it."""


def nothing_acknowledged_is_lost(found: Evidence) -> Ruling:
    """Rule 12: whatever the Backend said yes to, a service or a person, is in its database."""
    ruling = Ruling()
    kept = set(_kept(found))
    for said in found.acknowledged:
        for fact in _promised(said):
            ruling.check(fact in kept, f"{said.sender}: {said.method} {said.path} was acknowledged, and lost is {fact}")
    return ruling


def _promised(said: Acknowledged) -> Iterator[Fact]:
    """Yield what a request that was acknowledged must have left behind."""
    actor = said.sender.replace("-", ":", 1)
    match [said.method, *said.path.removeprefix("/api/v1/").split("/")]:
        case ["POST", "incidents", "reports"]:
            yield "incident", orjson.loads(said.body)["key"]
        case ["POST", "alerts"]:
            for alert in orjson.loads(said.body)["alerts"]:
                yield "alert", alert["fingerprint"]
        case ["POST", "proposals"]:
            yield "remediation", orjson.loads(said.answer)["remediation_id"]
        case ["POST", "remediations"]:
            yield "requester", orjson.loads(said.answer)["remediation_id"], actor
        case ["POST", "remediations", remediation_id, "approve"]:
            yield "approval", remediation_id, actor, orjson.loads(said.body)["plan_hash"]
        case ["POST", "remediations", remediation_id, "reject"]:
            yield "state", remediation_id, "denied"
        case ["POST", "remediations", _, "undo" | "keep" as purpose]:
            yield purpose, orjson.loads(said.answer)["order_id"]
        case ["POST", "orders", order_id, "outcomes"]:
            yield "outcome", order_id, orjson.loads(said.body)["sequence"]
        case ["POST", "pause" | "resume"]:
            answer = orjson.loads(said.answer)
            yield "pause", answer["paused"], actor, moment(answer["since"])
        case ["PUT", "policies", name]:
            yield "policy", name, orjson.loads(said.answer)["version"], orjson.loads(said.body)["source"]
        case _:
            pass


def _kept(found: Evidence) -> Iterator[Fact]:
    tables = found.tables
    for row in tables["incidents"]:
        yield "incident", row["key"]
        yield from (("alert", finding["fingerprint"]) for finding in row["findings"])
    for row in tables["remediations"]:
        yield "remediation", row["id"]
        yield "state", row["id"], row["state"]
        yield from (("requester", row["id"], one) for one in row["requesters"])
    yield from (("approval", row["remediation_id"], row["approver"], row["plan_hash"]) for row in tables["approvals"])
    yield from _approvals_under_an_earlier_decision(found)
    yield from ((row["kind"], row["id"]) for row in tables["work_items"])
    yield from (("outcome", row["order_id"], row["sequence"]) for row in tables["outcomes"])
    yield from (("pause", row["paused"], row["by"], row["since"]) for row in tables["pauses"])
    yield from (("policy", row["name"], row["version"], row["source"]) for row in tables["policy_versions"])


def _approvals_under_an_earlier_decision(found: Evidence) -> Iterator[Fact]:
    """Yield the approvals that no longer count, because people had to be asked anew: the trail keeps them."""
    decided: dict[str, list[datetime]] = defaultdict(list)
    for entry in found.entries:
        if entry.event.startswith("decision:"):
            decided[entry.subject].append(entry.at)
    for entry in found.entries:
        if entry.event == "remediation:approved" and any(at >= entry.at for at in decided[entry.subject][1:]):
            yield "approval", entry.subject, entry.actor, entry.detail["plan_hash"]

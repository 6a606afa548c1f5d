"""The rules about what happens afterwards, what is remembered, and what people may see."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import pairwise

import orjson

from aegis.backend.remediations.lifecycle import CONCLUDED, may_follow
from aegis.contracts.audit import AuditEntry, broken_links
from aegis.contracts.remediations import RemediationState
from aegis.simulator.world.invariants.evidence import Evidence, Row, Ruling, moment

GIVEN_BACK_WITHIN = timedelta(minutes=10)


def leases_are_kept(found: Evidence) -> Ruling:
    """Rule 9: what is held has an end, or a person who knows; an unknown verdict means what the action says."""
    ruling = Ruling()
    told = {row["key"] for row in found.tables["notifications"]}
    by_people = _concluded_by_people(found, "undo")
    for row in found.tables["remediations"]:
        plan, journal = row["plan"], found.journal.get(row["order_id"])
        if plan is None or journal is None:
            continue
        for body in found.outcomes_of(row["order_id"]):
            if body["stage"] == "held":
                _check_held(found, row, journal, body, told, ruling)
            if body["stage"] == "undoing" and plan["on_unknown"] != "revert" and row["order_id"] not in by_people:
                ruling.check(
                    journal["undo_ends_in"] == "released" or _has_not_helped(found, row, body),
                    f"{row['order_id']} was reverted, and nobody could tell that it had not helped",
                )
    return ruling


def _has_not_helped(found: Evidence, row: Row, body: Row) -> bool:
    """Whether somebody knew: the AI Engine that it is worse, or whoever read the owner that it is not well yet."""
    said, at = (body["verification"] or {}).get("judgement"), moment(body["at"])
    if said == "worse":
        return True
    owner, truth = row["proposal"]["owner"], found.truth_at(at)
    seen = truth.owners.get(owner["uid"]) if truth is not None else None
    was_read = any(
        line.user == found.executor and line.code == 200 and line.time == at and line.path.endswith(f"/{owner['name']}")
        for line in found.requests
    )
    return was_read and (said == "not_yet" or seen is None or not seen.is_whole)


def _check_held(  # noqa: PLR0917 (all of them are what a held change left behind)
    found: Evidence, row: Row, journal: Row, body: Row, told: set[str], ruling: Ruling
) -> None:
    lease, until = row["plan"]["lease"], journal["lease_until"]
    if body["escalate"]:
        was_told = any(key.startswith(f"escalated:{row['id']}:") for key in told)
        ruling.check(was_told, f"{row['order_id']} is held, and nobody was told")
        return
    ruling.check(lease is not None and until is not None, f"{row['order_id']} is held without an end")
    if until is not None:
        over = found.ended_at > until + GIVEN_BACK_WITHIN
        ruling.check(not (over and journal["stage"] == "held"), f"{row['order_id']} was held beyond its lease")


def ai_engine_alone_changes_nothing(found: Evidence) -> Ruling:
    """Rule 10: whatever the AI Engine says, only what is whole itself is kept; a person may keep anything."""
    ruling = Ruling()
    by_people = _concluded_by_people(found, "keep")
    for row in found.tables["remediations"]:
        for body in found.outcomes_of(row["order_id"]):
            if body["stage"] != "kept" or row["order_id"] in by_people:
                continue
            truth = found.truth_at(moment(body["at"]))
            owner = truth.owners.get(row["proposal"]["owner"]["uid"]) if truth is not None else None
            ruling.check(owner is not None and owner.is_whole, f"{row['order_id']} was kept, and its owner is {owner}")
            judgement = (body["verification"] or {}).get("judgement")
            ruling.check(judgement == "better", f"{row['order_id']} was kept on the verdict {judgement}")
    return ruling


def _concluded_by_people(found: Evidence, purpose: str) -> set[str]:
    """Return the orders that were kept, or undone, because a person said so."""
    followed = [row for row in found.journal.values() if row["stage"] == "handed_over"]
    return {row["concerns"] for row in followed if orjson.loads(row["order"])["purpose"] == purpose}


def replicas_are_as_good_as_one(found: Evidence) -> Ruling:
    """Rule 13: nothing is under way twice, nobody is told twice, no report is missing."""
    ruling = Ruling()
    by_thing: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in found.tables["remediations"]:
        proposal = row["proposal"]
        thing = (proposal["incident_key"], proposal["action"]["kind"], proposal["target"]["uid"])
        by_thing[thing].append(row)
    for rows in by_thing.values():
        ordered = sorted(rows, key=lambda row: (row["proposed_at"], row["id"]))
        for one, then in pairwise(ordered):
            ended = _concluded_at(found, one)
            ruling.check(
                ended is not None and ended <= then["proposed_at"], f"{one['id']} and {then['id']} are the same thing"
            )
        ruling.looked_at += 1
    announced = Counter((event["involvedObject"]["uid"], event["message"]) for event in found.events)
    for (uid, message), times in announced.items():
        ruling.check(times == 1, f"{times} events tell of {uid}: {message}")
    for order_id in found.journal:
        sequences = [body["sequence"] for body in found.outcomes_of(order_id)]
        ruling.check(sequences == list(range(1, len(sequences) + 1)), f"reports of {order_id} are missing: {sequences}")
    return ruling


def _concluded_at(found: Evidence, row: Row) -> datetime | None:
    moves = [entry for entry in found.entries if entry.subject == row["id"] and _state(entry) is not None]
    ends = [entry.at for entry in moves if _state(entry) in CONCLUDED]
    return min(ends, default=None)


def audit_has_no_gap(found: Evidence) -> Ruling:
    """Rule 14: the chain verifies with both keys, and every move and every write is in it."""
    ruling = Ruling()
    for problem in broken_links(found.entries, found.checkpoints, key=found.key, witnesses=[found.witness]):
        ruling.check(False, problem)
    for row in found.tables["remediations"]:
        moves = [entry for entry in found.entries if entry.subject == row["id"] and _state(entry) is not None]
        _check_path(row, moves, ruling)
    issued = {entry.detail.get("order_id") for entry in found.entries if entry.event == "order:issued"}
    settled = {entry.detail.get("order_id") for entry in found.entries if entry.event == "remediation:acting"}
    late = {entry.subject for entry in found.entries if entry.event == "outcome:late"}
    for _, order_id in found.acts():
        about = found.remediation_of(order_id)
        known = order_id in settled or (about is not None and about["id"] in late)
        ruling.check(order_id in issued and known, f"{order_id} was carried out, and the audit trail does not say so")
    return ruling


def _check_path(row: Row, moves: list[AuditEntry], ruling: Ruling) -> None:
    """The trail must lead from `proposed` to the state the row is in, without a jump."""
    left = sorted(moves, key=lambda entry: entry.at)
    if not left or _state(left[0]) is None:
        ruling.check(False, f"{row['id']} is not in the trail")
        return
    state = RemediationState.PROPOSED
    left = [entry for entry in left if _state(entry) is not RemediationState.PROPOSED]
    while left:
        # Moves of one moment may be numbered in any order; where each came from tells theirs.
        moment_ = [entry for entry in left if entry.at == left[0].at]
        entry = next((one for one in moment_ if one.detail.get("from") == state), None)
        then = _state(entry) if entry is not None else None
        if entry is None or then is None:
            ruling.check(False, f"{row['id']}: no entry of {left[0].at} leads on from {state}")
            return
        ruling.check(may_follow(state, then), f"{row['id']} went from {state} to {then}")
        state = then
        left.remove(entry)
    ruling.check(state == row["state"], f"{row['id']} is {row['state']}, and its trail ends with {state}")


def _state(entry: AuditEntry) -> RemediationState | None:
    subject, _, verb = entry.event.partition(":")
    return RemediationState(verb) if subject == "remediation" and verb in set(RemediationState) else None


def values_stay_inside(found: Evidence) -> Ruling:
    """Rule 15: no value of a variable or a Secret is in any database in the clear."""
    ruling = Ruling()
    for name, dump in found.dumps.items():
        for canary in found.canaries:
            ruling.check(canary not in dump, f"{canary.decode()} is in the database {name}")
    return ruling


def everything_ends(found: Evidence) -> Ruling:
    """Every remediation's path ends: concluded, or held for a person who was told."""
    ruling = Ruling()
    for row in found.tables["remediations"]:
        state = RemediationState(row["state"])
        bodies = found.outcomes_of(row["order_id"])
        is_a_persons = state is RemediationState.HELD and any(body["escalate"] for body in bodies)
        ruling.check(state in CONCLUDED or is_a_persons, f"{row['id']} is still {state}: {row['reason']}")
    for order_id, row in found.journal.items():
        ruling.check(
            row["concluded"] or (row["stage"] == "held" and row["lease_until"] is None),
            f"{order_id} is still {row['stage']} in the journal",
        )
    return ruling

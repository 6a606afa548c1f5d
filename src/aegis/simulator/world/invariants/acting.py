"""The rules about what may be written to the cluster, when, and on whose word."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import orjson

from aegis.contracts.envelope import Envelope, EnvelopeRefusedError, open_envelope
from aegis.contracts.orders import AUDIENCE, Order
from aegis.contracts.targets import effective_mode
from aegis.executor.actions.base import is_stamped
from aegis.executor.ports import FIELD_MANAGER
from aegis.kit.pointers import value_at
from aegis.simulator.kubernetes.objects import Object, controller_of
from aegis.simulator.world.invariants.evidence import Evidence, Ruling, Span, Write, moment

LOOKED_AGAIN_WITHIN = timedelta(seconds=10)
STALE_AFTER = timedelta(seconds=45)
STORM_SEEN_AFTER = timedelta(seconds=90)
MODE = "aegis.dev/mode"
_ENDS = ("kept", "held", "released", "undone", "escalated", "refused")


def only_the_executor_writes(found: Evidence) -> Ruling:
    """Rule 1: nothing changes the cluster but the Executor's account."""
    ruling = Ruling()
    for write in found.writes:
        if not write.dry_run:
            ruling.check(write.user == found.executor, f"{write.user} sent {write.method} {write.path}")
    for line in found.requests:
        if line.is_write and line.user == found.executor:
            ruling.check(line.manager == FIELD_MANAGER, f"{line.path} was written as {line.manager or 'nobody'}")
    return ruling


def nothing_without_a_decision(found: Evidence) -> Ruling:
    """Rule 2: every action has an order, every order a decision, and silence meant no."""
    ruling = Ruling()
    for write, order_id in found.acts():
        row = found.remediation_of(order_id)
        ruling.check(row is not None, f"{write.path} was written on no remediation's order ({order_id or 'unknown'})")
        if row is None:
            continue
        decision, plan = row["decision"] or {}, row["plan"] or {}
        effect = decision.get("effect", "none")
        ruling.check(effect in ("allow", "require_approval"), f"{order_id} was carried out on decision {effect}")
        ruling.check(
            plan.get("facts", {}).get("mode") not in ("off", "observe"), f"{order_id} was carried out in mode observe"
        )
        if effect == "require_approval":
            ruling.check(
                len(_consenting(found, row)) >= max(1, decision["approvals_needed"]),
                f"{order_id} was carried out with fewer approvals than its decision asks for",
            )
        words = {
            entry.event: entry.at for entry in found.entries if entry.subject == row["id"] and entry.at <= write.at
        }
        ruling.check(
            any(event.startswith("decision:") for event in words) and "order:issued" in words,
            f"{order_id} was carried out before its decision and order were on record",
        )
        denied = f"{plan.get('action')} {row['namespace']}"
        decided_at = max((at for event, at in words.items() if event.startswith("decision:")), default=write.at)
        ruling.check(
            not any(span.what == denied and span.holds(decided_at) for span in found.forbidden),
            f"{order_id}: a policy denied {denied}",
        )
    return ruling


def _consenting(found: Evidence, row: Mapping[str, Any]) -> set[str]:
    return {
        one["approver"]
        for one in found.tables["approvals"]
        if one["remediation_id"] == row["id"]
        and one["verdict"] == "approved"
        and one["plan_hash"] == row["plan"]["hash"]
        and one["approver"] not in row["requesters"]
        and one["approver"].startswith("person:")
    }


def orders_are_exact(found: Evidence) -> Ruling:
    """Rule 3: one signed order, one target and whose it is, one plan, its very bytes, in time, at most once."""
    ruling = Ruling()
    envelopes = _orders_handed_out(found, ruling)
    times: Counter[str] = Counter()
    for write, order_id in found.acts():
        times[order_id] += 1
        ruling.check(times[order_id] == 1, f"{order_id} was carried out {times[order_id]} times")
        order, plan = envelopes.get(order_id), found.plans.get(order_id)
        ruling.check(order is not None, f"{order_id or write.path} was never handed out as a signed order")
        ruling.check(plan is not None, f"{order_id or write.path} was carried out without a kept plan")
        if order is None or plan is None:
            continue
        exact = plan.exact
        named = order.proposal.owner if write.steps else order.proposal.target  # whom an eviction names, is evicted
        met = (write.before or {"metadata": {"uid": ""}})["metadata"]["uid"]
        ruling.check(met == named.uid, f"{order_id} was checked as if its target belonged to {named}")
        ruling.check(
            (write.method, write.path, write.body) == (exact.request.method, exact.request.path, exact.request.body),
            f"{order_id}: what was sent is not what was planned",
        )
        hashed = hashlib.sha256(exact.to_bytes()).hexdigest()
        row = found.remediation_of(order_id)
        shown = (row or {}).get("plan") or {}
        ruling.check(
            hashed == order.plan_hash == shown.get("hash"), f"{order_id}: it is not the plan that was decided on"
        )
        ruling.check(write.at <= order.expires_at, f"{order_id} was carried out after it expired")
        ruling.check(
            order.expires_at - order.issued_at <= timedelta(minutes=15), f"{order_id} lives longer than a quarter hour"
        )
    return ruling


def _orders_handed_out(found: Evidence, ruling: Ruling) -> dict[str, Order]:
    orders = {}
    for row in found.tables["work_items"]:
        if row["kind"] != "order":
            continue
        try:
            payload = open_envelope(
                Envelope.model_validate(row["body"]),
                keys={found.key.id: found.key}, cluster_id=found.cluster_id, audience=AUDIENCE,
            )  # fmt: skip
        except EnvelopeRefusedError as error:
            ruling.check(False, f"order {row['id']} cannot be believed: {error}")
            continue
        orders[str(row["id"])] = Order.model_validate_json(payload)
    return orders


def patches_carry_preconditions(found: Evidence) -> Ruling:
    """Rule 4: the object by its UID, the old value of every field, the order's stamp; never a resourceVersion."""
    ruling = Ruling()
    for write in found.done("act", "undo"):
        if write.path.endswith("/eviction"):
            options = orjson.loads(write.body).get("deleteOptions") or {}
            uid = (options.get("preconditions") or {}).get("uid")
            ruling.check(bool(uid), f"{write.path} evicts whoever has that name now")
            continue
        steps = write.steps
        tested = {step["path"]: step.get("value") for step in steps if step["op"] == "test"}
        ruling.check("/metadata/uid" in tested, f"{write.path} does not test the UID")
        ruling.check("/metadata/resourceVersion" not in tested, f"{write.path} tests the resourceVersion")
        ruling.check(bool(write.order_id), f"{write.path} carries no stamp")
        for step in steps:
            if step["op"] != "test":
                ruling.check(step["path"] in tested, f"{write.path} writes {step['path']} whatever it holds")
    return ruling


def guardrails_hold(found: Evidence) -> Ruling:
    """Rule 5: scope, protection, mode, freezes, owner lock, cooldown and budget, across all replicas."""
    ruling = Ruling()
    acts = list(found.acts())
    for write, order_id in acts:
        namespace = (write.namespace or {"metadata": {"name": ""}})["metadata"]["name"]
        protected = [*found.settings.protected_namespaces.split(","), found.settings.own_namespace]
        ruling.check(
            not any(fnmatchcase(namespace, pattern.strip()) for pattern in protected),
            f"{order_id} touched the protected namespace {namespace}",
        )
        mode = effective_mode(_marked(write.namespace), _marked(write.before))
        ruling.check(mode not in ("off", "observe"), f"{order_id} was carried out while the mode was {mode}")
        frozen = [span for span in found.freezes if span.holds(write.at)]
        ruling.check(not frozen, f"{order_id} was carried out in a freeze window")
    _check_reservations(found, acts, ruling)
    return ruling


def _check_reservations(found: Evidence, acts: list[tuple[Write, str]], ruling: Ruling) -> None:
    past: list[tuple[datetime, str, str, datetime]] = []  # began, owner, action, ended
    for write, order_id in acts:
        row = found.remediation_of(order_id)
        if row is None:
            continue
        owner, action = row["proposal"]["owner"]["uid"], row["proposal"]["action"]["kind"]
        began = moment(write.journal.get("acted_at") or write.at)
        settings = found.settings
        recent = [one for one in past if began - one[0] < settings.budget_window]
        ruling.check(len(recent) < settings.budget, f"{order_id} is one action more than the budget allows")
        for earlier, of, what, ended in past:
            if of == owner:
                ruling.check(ended <= write.at, f"{order_id} began while another order was under way on its owner")
                ruling.check(
                    what != action or began - earlier >= settings.cooldown, f"{order_id} began within the cooldown"
                )
        past.append((began, owner, action, _ended(found, order_id)))


def _ended(found: Evidence, order_id: str) -> datetime:
    ends = [moment(body["at"]) for body in found.outcomes_of(order_id) if body["stage"] in _ENDS]
    return min(ends, default=found.ended_at)


def looked_at_again(found: Evidence) -> Ruling:
    """Rule 6: the object was read right before; nothing was planned, or done, on old data that nobody confirmed."""
    ruling = Ruling()
    reads: dict[str, list[datetime]] = {}
    for line in found.requests:
        if line.user == found.executor and line.verb == "get" and line.code == 200:
            reads.setdefault(line.path, []).append(line.time)
    for write, order_id in found.acts():
        path = write.path.removesuffix("/eviction")
        sent_at = found.delayed.get(write.body, write.at)  # for what the wire does with it afterwards nobody can answer
        ruling.check(
            any(sent_at - LOOKED_AGAIN_WITHIN <= at <= sent_at for at in reads.get(path, ())),
            f"{order_id} was carried out without looking again",
        )
        row, plan = found.remediation_of(order_id), found.plans.get(order_id)
        if row is not None and plan is not None and row["proposal"]["proposed_by"].startswith("service:"):
            for when, what in ((plan.shown.made_at, "planned"), (sent_at, "carried out")):
                age = when - moment(row["proposal"]["data_as_of"])
                fresh_enough = age <= STALE_AFTER or _is_confirmed(found, row["proposal"]["id"], when)
                ruling.check(fresh_enough, f"{order_id} was {what} on data {age} old")
    return ruling


def _is_confirmed(found: Evidence, proposal_id: str, when: datetime) -> bool:
    """Whether the AI Engine said right before that what this was proposed for is still so."""
    return any(
        said in ("not_yet", "worse") and of == proposal_id and when - LOOKED_AGAIN_WITHIN <= at <= when
        for at, of, said in found.verdicts
    )


def storms_stop_actions(found: Evidence) -> Ruling:
    """Rule 7: while too much is unhealthy at once, no new action."""
    ruling = Ruling()
    known = [Span(row["since"], row["ended_at"], "storm") for row in found.storms]
    seen = _storms_in_truth(found)
    for span in [*known, *seen]:
        for write, order_id in found.acts():
            ruling.check(not span.holds(write.at), f"{order_id} was carried out in a storm")
        ruling.looked_at += 1
    return ruling


def _storms_in_truth(found: Evidence) -> list[Span]:
    spans: list[Span] = []
    since: datetime | None = None
    for truth in found.truths:
        wanted = [one for one in truth.owners.values() if one.wanted > 0]
        down = sum(1 for one in wanted if one.available == 0)
        least = max(found.settings.storm_minimum, found.settings.storm_share * len(wanted))
        if truth.dark_nodes == 0 and down >= least:
            since = since or truth.at
        elif since is not None:
            if truth.at - since > STORM_SEEN_AFTER:
                spans.append(Span(since + STORM_SEEN_AFTER, truth.at, "storm"))
            since = None
    return spans


def undo_is_complete(found: Evidence) -> Ruling:
    """Rule 8: written down before acting; what was undone holds its old values and nothing of ours."""
    ruling = Ruling()
    acts = {order_id: write for write, order_id in found.acts()}
    for write in found.done("act"):
        if not write.path.endswith("/eviction"):
            ruling.check(write.journal.get("stage") == "acting", f"{write.order_id} was not written down before acting")
    for write in found.done("undo"):
        ruling.check(write.journal.get("stage") == "undoing", f"{write.order_id} was undone without being written down")
        ruling.check(_is_as_planned(found, write), f"{write.order_id}: what was sent is not the undo that was planned")
        if write.order_id in acts and write.after is not None:
            _check_old_values(write, acts[write.order_id], ruling)
    for order_id, row in found.journal.items():
        if row["stage"] in ("undone", "released", "kept") and order_id in acts:
            _check_let_go(found, order_id, row["stage"], acts[order_id], ruling)
        if row["stage"] in ("undone", "released"):
            undone = [one for one in found.done("undo") if one.order_id == order_id]
            ruling.check(len(undone) == 1, f"{order_id} is {row['stage']}, and was undone {len(undone)} times")
    return ruling


def _check_old_values(undo: Write, act: Write, ruling: Ruling) -> None:
    ruling.check(not is_stamped(undo.after, undo.order_id), f"{undo.order_id} was undone, and its stamp is still on")
    for step in act.steps:
        pointer = step["path"]
        if step["op"] in ("add", "replace", "remove") and not pointer.startswith("/metadata/annotations"):
            same = value_at(undo.after, pointer) == value_at(act.before, pointer)
            ruling.check(same, f"{undo.order_id} was undone, and {pointer} has another value than before")


def _is_as_planned(found: Evidence, write: Write) -> bool:
    """To the byte; of what was kept, and let go of, with the order's own stamp put on again before all else."""
    plan = found.plans.get(write.order_id)
    if plan is None or plan.exact.undo is None:
        return False
    if plan.exact.undo.body == write.body:
        return True
    was_let_go = any(one.order_id == write.order_id and one.at < write.at for one in found.done("let_go"))
    first, *rest = orjson.loads(plan.exact.undo.body)
    added = [step for step in write.steps[1:] if step not in rest]
    only_the_stamp = all(
        step["path"].endswith(f"~1{write.order_id}")
        or (step["path"] == "/metadata/annotations" and len(step.get("value") or {}) <= 1)
        for step in added
    )
    return was_let_go and only_the_stamp and write.steps == [first, *added, *rest]


def _check_let_go(found: Evidence, order_id: str, stage: str, act: Write, ruling: Ruling) -> None:
    later = [one for one in found.done("act") if one.path == act.path and one.at > act.at]
    now = found.objects.get((act.before or {"metadata": {"uid": ""}})["metadata"]["uid"])
    if act.path.endswith("/eviction") or now is None:
        return
    ruling.check(not is_stamped(now, order_id), f"{order_id} is {stage}, and its stamp is still on")
    if later:
        return
    managers = [entry.get("manager") for entry in now["metadata"].get("managedFields") or []]
    ruling.check(FIELD_MANAGER not in managers, f"{order_id} is {stage}, and fields are still ours")


def pause_stops(found: Evidence) -> Ruling:
    """Rule 11: paused by whichever switch means no new action; undo goes on."""
    ruling = Ruling()
    spans = [*_backend_pauses(found), *found.operator_pauses]
    for span in spans:
        # What was looked at just before the switch was thrown may still be on its way.
        late = Span(span.since + LOOKED_AGAIN_WITHIN, span.until)
        for write, order_id in found.acts():
            ruling.check(not late.holds(write.at), f"{order_id} was carried out while paused: {span.what}")
        ruling.looked_at += sum(1 for write in found.done("undo") if span.holds(write.at))
    return ruling


def _backend_pauses(found: Evidence) -> list[Span]:
    rows = sorted(found.tables["pauses"], key=lambda row: row["position"])
    spans = []
    for row, then in zip(rows, [*rows[1:], None], strict=False):
        if row["paused"]:
            spans.append(Span(row["since"], then["since"] if then is not None else None, row["reason"]))
    return spans


def operators_objects_are_untouched(found: Evidence) -> Ruling:
    """Rule 16: what a controller of an unknown kind owns, an autoscaler scales or Git describes is theirs."""
    ruling = Ruling()
    scaled = {
        (one["metadata"]["namespace"], one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"])
        for one in found.objects.values()
        if one.get("kind") == "HorizontalPodAutoscaler"
    }
    for write, order_id in found.acts():
        for thing in _owned_things(found, write, order_id):
            owner = controller_of(thing)
            known = ("ReplicaSet", "StatefulSet", "DaemonSet", "Job") if thing.get("kind") == "Pod" else ()
            ruling.check(owner is None or owner["kind"] in known, f"{order_id} touched what {owner} owns")
            meta = thing["metadata"]
            if any(step["path"] == "/spec/replicas" and step["op"] != "test" for step in write.steps):
                key = (meta["namespace"], thing.get("kind", ""), meta["name"])
                ruling.check(key not in scaled, f"{order_id} changed replicas that an autoscaler owns")
            if not write.path.endswith("/eviction"):
                marks = [*(meta.get("labels") or {}), *(meta.get("annotations") or {})]
                git = [mark for mark in marks if "argoproj.io/" in mark or "toolkit.fluxcd.io/" in mark]
                ruling.check(not git, f"{order_id} changed what Git owns ({git})")
    return ruling


def _owned_things(found: Evidence, write: Write, order_id: str) -> list[Object]:
    row = found.remediation_of(order_id)
    owner = found.objects.get(row["proposal"]["owner"]["uid"]) if row is not None else None
    if not write.path.endswith("/eviction"):
        owner = None  # the target itself, as it was at the time
    return [one for one in (write.before, owner) if one is not None]


def _marked(thing: Object | None) -> str | None:
    if thing is None:
        return None
    meta = thing["metadata"]
    marks = [(meta.get(field) or {}).get(MODE) for field in ("labels", "annotations")]
    found = [str(mark) for mark in marks if mark is not None]
    return effective_mode(found[0], found[1]) if len(found) > 1 else next(iter(found), None)

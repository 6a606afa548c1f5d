"""Proposals and requests in; what the Executor fetches and answers; what people see and say."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from aegis.backend.identity.access import anywhere, require, service
from aegis.backend.identity.roles import Permission, Principal
from aegis.backend.incidents import repository as incident_repository
from aegis.backend.remediations import repository
from aegis.backend.remediations.consent import objection
from aegis.backend.remediations.lifecycle import CONCLUDABLE
from aegis.backend.remediations.orders import Conclusion
from aegis.backend.remediations.remediator import WORK, Remediator
from aegis.contracts.actions import Action
from aegis.contracts.approvals import Approval, Verdict
from aegis.contracts.base import Name
from aegis.contracts.decisions import Decision
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.envelope import Envelope
from aegis.contracts.findings import Anomaly
from aegis.contracts.incidents import Incident
from aegis.contracts.orders import Announcement
from aegis.contracts.outcomes import Outcome
from aegis.contracts.plans import Plan, Rehearsal, RehearsalResult
from aegis.contracts.proposals import Proposal
from aegis.contracts.remediations import Remediation, RemediationState
from aegis.contracts.targets import WorkloadRef
from aegis.contracts.work import Work
from aegis.kit.database import Transaction
from aegis.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from aegis.kit.http import PROBLEMS, part
from aegis.policy.decide import Context, matching

LONGEST_WAIT_S = 30.0
WITHDRAWN_FOR = timedelta(minutes=30)
_ORDERS = ("order", *repository.CONCLUSIONS)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Accepted(BaseModel):
    remediation_id: str


class Request(_Body):
    """A person asks for an action on a workload."""

    namespace: Name
    kind: Name = "Deployment"
    name: Name
    action: Action
    reason: str = Field(min_length=1, max_length=1000)
    incident_id: Name | None = None
    """The incident it is for: it takes over cause and signals, and ends with it. For none of them, if not given."""


class Consent(_Body):
    """A yes to exactly the plan with this hash; signed where the Executor's policy floor asks for it."""

    plan_hash: str
    comment: str = Field(default="", max_length=1000)
    key_id: str = ""
    signature: str = ""


class Objection(_Body):
    comment: str = Field(default="", max_length=1000)


class RemediationPage(BaseModel):
    remediations: list[Remediation]


class OutcomePage(BaseModel):
    outcomes: list[Outcome]
    after: str
    """Ask with this next time."""


class RuleExplained(BaseModel):
    rule: str
    effect: str
    condition: str
    came_out: str
    counts: bool
    because: str


class Explanation(BaseModel):
    """Every rule that speaks of a remediation, as the policies in force now see it."""

    decision: Decision | None
    rules: list[RuleExplained]
    policy_version: str


Here = Annotated[Remediator, part(Remediator)]
services = APIRouter(prefix="/api/v1", tags=["services"], responses=PROBLEMS)
people = APIRouter(prefix="/api/v1/remediations", tags=["remediations"], responses=PROBLEMS)


# What services call.


@services.post("/proposals", status_code=202)
async def propose(here: Here, proposal: Proposal, principal: Principal = service("ai-engine")) -> Accepted:
    if proposal.owner.cluster_id != here.ports.settings.cluster_id:
        raise InvalidError(
            f"this Backend answers for cluster {here.ports.settings.cluster_id}",
            field="owner.cluster_id",
            value=proposal.owner.cluster_id,
        )
    said_by = proposal.model_copy(update={"proposed_by": principal.actor})
    async with here.ports.database.transaction() as tx:
        return Accepted(remediation_id=await here.propose(tx, said_by, actor=principal.actor))


@services.get("/work")
async def work(
    here: Here,
    replica: Annotated[str, Query(min_length=1, max_length=100)],
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
    _: Principal = service("executor"),
) -> Work:
    found = await _claim(here, replica)
    if found.is_empty and wait_s > 0:
        await here.ports.database.wait_for_notice(WORK, at_most=timedelta(seconds=wait_s))
        found = await _claim(here, replica)
    return found


async def _claim(here: Remediator, replica: str) -> Work:
    now = here.ports.clock.now()
    async with here.ports.database.transaction() as tx:
        until = now + here.ports.settings.claim_lifetime
        rows = await repository.claim_work(tx, replica=replica, now=now, until=until)
        withdrawn = await repository.withdrawn_orders(tx, since=now - WITHDRAWN_FOR)
    return Work(
        rehearsals=tuple(Rehearsal.model_validate(row.body) for row in rows if row.kind == "rehearsal"),
        orders=tuple(Envelope.model_validate(row.body) for row in rows if row.kind in _ORDERS),
        announcements=tuple(Announcement.model_validate(row.body) for row in rows if row.kind == "announcement"),
        withdrawn=withdrawn,
    )


@services.post("/rehearsals/{rehearsal_id}/result", status_code=204)
async def rehearsed(here: Here, rehearsal_id: str, result: RehearsalResult, _: Principal = service("executor")) -> None:
    _same("rehearsal_id", rehearsal_id, result.rehearsal_id)
    async with here.ports.database.transaction() as tx:
        await here.take_rehearsal(tx, result)


@services.post("/orders/{order_id}/outcomes", status_code=204)
async def outcome(here: Here, order_id: str, outcome: Outcome, _: Principal = service("executor")) -> None:
    _same("order_id", order_id, outcome.order_id)
    async with here.ports.database.transaction() as tx:
        await here.take_outcome(tx, outcome)


@services.post("/announcements/{announcement_id}/done", status_code=204)
async def announced(here: Here, announcement_id: str, _: Principal = service("executor")) -> None:
    async with here.ports.database.transaction() as tx:
        await repository.finish_work(tx, announcement_id)


@services.get("/outcomes")
async def outcomes(
    here: Here,
    after: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    _: Principal = service("ai-engine"),
) -> OutcomePage:
    async with here.ports.database.reading() as tx:
        found = await repository.outcomes_after(tx, int(after or 0), limit=limit)
    return OutcomePage(outcomes=[item for _, item in found], after=str(found[-1][0]) if found else after)


# What people call.


@people.get("")
async def page(
    here: Here,
    state: RemediationState | None = None,
    incident_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    principal: Principal = anywhere(Permission.READ),
) -> RemediationPage:
    async with here.ports.database.transaction() as tx:
        readable = [one for one in await repository.namespaces(tx) if principal.may(Permission.READ, one)]
        found = await repository.page(
            tx, namespaces=readable, state=state, incident_id=incident_id, limit=limit
        )  # fmt: skip
    return RemediationPage(remediations=found)


@people.get("/counts")
async def counts(here: Here, principal: Principal = anywhere(Permission.READ)) -> dict[str, int]:
    """Count all there are, however many, by state."""
    async with here.ports.database.transaction() as tx:
        readable = [one for one in await repository.namespaces(tx) if principal.may(Permission.READ, one)]
        return await repository.count_by_state(tx, namespaces=readable)


@people.post("", status_code=202)
async def request(here: Here, asked: Request, principal: Principal = anywhere(Permission.REQUEST)) -> Accepted:
    """Ask for an action. It is rehearsed and decided like any other; whoever asks cannot approve it."""
    require(principal, Permission.REQUEST, asked.namespace)
    workload = WorkloadRef(
        cluster_id=here.ports.settings.cluster_id, namespace=asked.namespace, kind=asked.kind, name=asked.name
    )
    found = await here.ports.directory.find(workload)
    now = here.ports.clock.now()
    async with here.ports.database.transaction() as tx:
        incident = await _named_incident(tx, asked.incident_id, principal)
        proposal = Proposal(
            id=here.ports.ids.new("pro", now),
            incident_key=incident.key if incident else f"request:{found.target.uid}",
            target=found.target,
            owner=found.owner,
            action=asked.action,
            cause=_cause(incident),
            confidence=1.0,
            rationale=asked.reason,
            signals=_signals(incident),
            proposed_by=principal.actor,
            proposed_at=now,
            data_as_of=now,
        )
        return Accepted(remediation_id=await here.propose(tx, proposal, actor=principal.actor))


async def _named_incident(tx: Transaction, incident_id: str | None, principal: Principal) -> Incident | None:
    if incident_id is None:
        return None
    found = await incident_repository.find(tx, incident_id)
    if found is None or not principal.may(Permission.READ, found.workload.namespace):
        raise NotFoundError(f"there is no incident {incident_id}", hint="`aegis incidents list` shows them.")
    if found.resolved_at is not None:
        raise ConflictError(
            f"incident {incident_id} is resolved",
            field="incident_id",
            value=incident_id,
            hint="A request without an incident stands by itself.",
        )
    return found


@people.get("/{remediation_id}")
async def show(here: Here, remediation_id: str, principal: Principal = anywhere(Permission.READ)) -> Remediation:
    return await _visible(here, remediation_id, principal)


@people.get("/{remediation_id}/explanation")
async def explain(here: Here, remediation_id: str, principal: Principal = anywhere(Permission.READ)) -> Explanation:
    remediation = await _visible(here, remediation_id, principal)
    async with here.ports.database.transaction() as tx:
        in_force = await here.policies.in_force(tx)
    rules = []
    if remediation.plan is not None:
        context = Context(now=here.ports.clock.now(), policy_version=in_force.version)
        for match in matching(remediation.proposal, remediation.plan, in_force.policies, context):
            rule = match.rule
            explained = RuleExplained(
                rule=match.name, effect=rule.effect, condition=rule.when, came_out=match.truth.value,
                counts=match.counts, because=rule.because,
            )  # fmt: skip
            rules.append(explained)
    return Explanation(decision=remediation.decision, rules=rules, policy_version=in_force.version)


@people.post("/{remediation_id}/approve", status_code=202)
async def approve(
    here: Here, remediation_id: str, given: Consent, principal: Principal = anywhere(Permission.APPROVE)
) -> Approval:
    return await _speak(here, remediation_id, given, Verdict.APPROVED, principal)


@people.post("/{remediation_id}/reject", status_code=202)
async def reject(
    here: Here, remediation_id: str, given: Objection, principal: Principal = anywhere(Permission.APPROVE)
) -> None:
    async with here.ports.database.transaction() as tx:
        row = await _awaiting(here, tx, remediation_id, principal)
        require(principal, Permission.APPROVE, row.namespace)
        await here.reject(tx, row, by=principal.actor, reason=given.comment)


@people.post("/{remediation_id}/undo", status_code=202)
async def undo(here: Here, remediation_id: str, principal: Principal = anywhere(Permission.UNDO)) -> dict[str, str]:
    """Take back what was done, as far as the fields still hold it."""
    remediation = await _visible(here, remediation_id, principal)
    require(principal, Permission.UNDO, remediation.proposal.target.namespace)
    if remediation.plan is None or not remediation.plan.reversible:
        raise ConflictError(
            f"{remediation.proposal.action.kind} has no undo",
            hint=f"`aegis remediations show {remediation_id}` tells what it has changed.",
        )
    return await _conclude(here, remediation_id, "undo", principal)


@people.post("/{remediation_id}/keep", status_code=202)
async def keep(here: Here, remediation_id: str, principal: Principal = anywhere(Permission.UNDO)) -> dict[str, str]:
    """Keep for good what is held: it is not given back when its time is over."""
    remediation = await _visible(here, remediation_id, principal)
    require(principal, Permission.UNDO, remediation.proposal.target.namespace)
    return await _conclude(here, remediation_id, "keep", principal)


async def _conclude(here: Remediator, remediation_id: str, purpose: Conclusion, principal: Principal) -> dict[str, str]:
    async with here.ports.database.transaction() as tx:
        row = await repository.take_one(tx, remediation_id)
        assert row is not None
        if await here.known_to_executor(tx, row) not in CONCLUDABLE[purpose]:
            raise ConflictError(
                f"remediation {remediation_id} is {row.state}: there is nothing to {purpose}",
                hint=f"`aegis remediations show {remediation_id}` tells why; to {purpose} makes sense while one is "
                f"{' or '.join(sorted(CONCLUDABLE[purpose]))}.",
            )
        return {"order_id": await here.conclude(tx, row, purpose, by=principal.actor)}


async def _speak(
    here: Remediator, remediation_id: str, given: Consent, verdict: Verdict, principal: Principal
) -> Approval:
    async with here.ports.database.transaction() as tx:
        row = await _awaiting(here, tx, remediation_id, principal)
        plan, decision = Plan.model_validate(row.plan), Decision.model_validate(row.decision)
        why_not = objection(principal, requesters=row.requesters, decision=decision, namespace=row.namespace)
        if why_not is not None:
            raise ForbiddenError(
                why_not, hint="Ask one who may; an admin grants roles: `aegis people list`, `aegis people grant`."
            )
        if given.plan_hash != plan.hash:
            raise ConflictError(
                f"the plan is {plan.hash}, and you approve another",
                field="plan_hash",
                value=given.plan_hash,
                hint=f"`aegis remediations show {remediation_id}` shows what would be done now.",
            )
        now = here.ports.clock.now()
        approval = Approval(
            id=here.ports.ids.new("apr", now),
            remediation_id=remediation_id,
            plan_hash=plan.hash,
            approver=principal.actor,
            verdict=verdict,
            comment=given.comment,
            given_at=now,
            expires_at=now + here.ports.settings.approval_lifetime,
            key_id=given.key_id,
            signature=given.signature,
        )
        if not await repository.add_approval(tx, approval):
            raise ConflictError(
                f"{principal.actor} has spoken about this plan already",
                hint=f"`aegis remediations show {remediation_id}` shows who has, and how many are needed.",
            )
        detail = {"plan_hash": plan.hash, "comment": given.comment}
        await here.trail.record(
            tx, actor=principal.actor, event="remediation:approved", subject=remediation_id, detail=detail
        )
    return approval


async def _awaiting(here: Remediator, tx: Transaction, remediation_id: str, principal: Principal) -> Any:
    row = await repository.take_one(tx, remediation_id)
    if row is None or not principal.may(Permission.READ, row.namespace):
        raise _unknown(remediation_id)
    if row.state != RemediationState.AWAITING_APPROVAL:
        raise ConflictError(
            f"remediation {remediation_id} is {row.state}, and waits for nobody's approval",
            hint="`aegis remediations list --state awaiting_approval` shows what does.",
        )
    if row.expires_at <= here.ports.clock.now():
        raise ConflictError(
            f"remediation {remediation_id} waited for approval until {row.expires_at.isoformat()}",
            hint="Its plan is of a cluster that has moved on: `aegis remediations request` asks for a new one.",
        )
    return row


async def _visible(here: Remediator, remediation_id: str, principal: Principal) -> Remediation:
    async with here.ports.database.transaction() as tx:
        found = await repository.show(tx, remediation_id)
    if found is None or not principal.may(Permission.READ, found.proposal.target.namespace):
        raise _unknown(remediation_id)
    return found


def _unknown(remediation_id: str) -> NotFoundError:
    return NotFoundError(f"there is no remediation {remediation_id}", hint="`aegis remediations list` shows them.")


def _same(field: str, in_path: str, in_body: str) -> None:
    if in_path != in_body:
        raise InvalidError(f"{field} is {in_body} in the body and {in_path} in the path", field=field, value=in_body)


def _cause(incident: Incident | None) -> CauseKind:
    return incident.diagnosis.probable.cause if incident is not None and incident.diagnosis else CauseKind.UNKNOWN


def _signals(incident: Incident | None) -> tuple[str, ...]:
    findings = incident.findings if incident is not None else ()
    return tuple(dict.fromkeys(finding.signal for finding in findings if isinstance(finding, Anomaly)))

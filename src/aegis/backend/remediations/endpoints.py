"""Proposals and requests in; what the Executor fetches and answers; what people see and say."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from aegis.backend.identity.access import Access, require
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


def executor_router(remediator: Remediator, access: Access) -> APIRouter:
    """What services call."""
    routes = APIRouter(prefix="/api/v1", tags=["services"])
    ports = remediator.ports
    database, clock = ports.database, ports.clock

    @routes.post("/proposals", status_code=202)
    async def propose(proposal: Proposal, principal: Principal = access.service("ai-engine")) -> Accepted:
        if proposal.owner.cluster_id != ports.settings.cluster_id:
            raise InvalidError(
                f"this Backend answers for cluster {ports.settings.cluster_id}",
                field="owner.cluster_id",
                value=proposal.owner.cluster_id,
            )
        said_by = proposal.model_copy(update={"proposed_by": principal.actor})
        async with database.transaction() as tx:
            return Accepted(remediation_id=await remediator.propose(tx, said_by, actor=principal.actor))

    @routes.get("/work")
    async def work(
        replica: Annotated[str, Query(min_length=1, max_length=100)],
        wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
        _: Principal = access.service("executor"),
    ) -> Work:
        found = await _claim(replica)
        if found.is_empty and wait_s > 0:
            await database.wait_for_notice(WORK, at_most=timedelta(seconds=wait_s))
            found = await _claim(replica)
        return found

    async def _claim(replica: str) -> Work:
        now = clock.now()
        async with database.transaction() as tx:
            until = now + ports.settings.claim_lifetime
            rows = await repository.claim_work(tx, replica=replica, now=now, until=until)
            withdrawn = await repository.withdrawn_orders(tx, since=now - WITHDRAWN_FOR)
        return Work(
            rehearsals=tuple(Rehearsal.model_validate(row.body) for row in rows if row.kind == "rehearsal"),
            orders=tuple(Envelope.model_validate(row.body) for row in rows if row.kind in _ORDERS),
            announcements=tuple(Announcement.model_validate(row.body) for row in rows if row.kind == "announcement"),
            withdrawn=withdrawn,
        )

    @routes.post("/rehearsals/{rehearsal_id}/result", status_code=204)
    async def rehearsed(rehearsal_id: str, result: RehearsalResult, _: Principal = access.service("executor")) -> None:
        _same("rehearsal_id", rehearsal_id, result.rehearsal_id)
        async with database.transaction() as tx:
            await remediator.take_rehearsal(tx, result)

    @routes.post("/orders/{order_id}/outcomes", status_code=204)
    async def outcome(order_id: str, outcome: Outcome, _: Principal = access.service("executor")) -> None:
        _same("order_id", order_id, outcome.order_id)
        async with database.transaction() as tx:
            await remediator.take_outcome(tx, outcome)

    @routes.post("/announcements/{announcement_id}/done", status_code=204)
    async def announced(announcement_id: str, _: Principal = access.service("executor")) -> None:
        async with database.transaction() as tx:
            await repository.finish_work(tx, announcement_id)

    @routes.get("/outcomes")
    async def outcomes(
        after: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        _: Principal = access.service("ai-engine"),
    ) -> OutcomePage:
        async with database.reading() as tx:
            found = await repository.outcomes_after(tx, int(after or 0), limit=limit)
        return OutcomePage(outcomes=[item for _, item in found], after=str(found[-1][0]) if found else after)

    return routes


def people_router(remediator: Remediator, access: Access) -> APIRouter:
    """What people call."""
    routes = APIRouter(prefix="/api/v1/remediations", tags=["remediations"])
    ports, trail = remediator.ports, remediator.trail
    database, clock = ports.database, ports.clock

    @routes.get("")
    async def page(
        state: RemediationState | None = None,
        incident_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        principal: Principal = access.anywhere(Permission.READ),
    ) -> RemediationPage:
        async with database.transaction() as tx:
            readable = [one for one in await repository.namespaces(tx) if principal.may(Permission.READ, one)]
            found = await repository.page(
                tx, namespaces=readable, state=state, incident_id=incident_id, limit=limit
            )  # fmt: skip
        return RemediationPage(remediations=found)

    @routes.post("", status_code=202)
    async def request(asked: Request, principal: Principal = access.anywhere(Permission.REQUEST)) -> Accepted:
        """Ask for an action. It is rehearsed and decided like any other; whoever asks cannot approve it."""
        require(principal, Permission.REQUEST, asked.namespace)
        workload = WorkloadRef(
            cluster_id=ports.settings.cluster_id, namespace=asked.namespace, kind=asked.kind, name=asked.name
        )
        found = await ports.directory.find(workload)
        now = clock.now()
        async with database.transaction() as tx:
            incident = await _named_incident(tx, asked.incident_id, principal)
            proposal = Proposal(
                id=ports.ids.new("pro", now),
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
            return Accepted(remediation_id=await remediator.propose(tx, proposal, actor=principal.actor))

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

    @routes.get("/{remediation_id}")
    async def show(remediation_id: str, principal: Principal = access.anywhere(Permission.READ)) -> Remediation:
        return await _visible(remediation_id, principal)

    @routes.get("/{remediation_id}/explanation")
    async def explain(remediation_id: str, principal: Principal = access.anywhere(Permission.READ)) -> Explanation:
        remediation = await _visible(remediation_id, principal)
        async with database.transaction() as tx:
            in_force = await remediator.policies.in_force(tx)
        rules = []
        if remediation.plan is not None:
            context = Context(now=clock.now(), policy_version=in_force.version)
            for match in matching(remediation.proposal, remediation.plan, in_force.policies, context):
                rule = match.rule
                explained = RuleExplained(
                    rule=match.name, effect=rule.effect, condition=rule.when, came_out=match.truth.value,
                    counts=match.counts, because=rule.because,
                )  # fmt: skip
                rules.append(explained)
        return Explanation(decision=remediation.decision, rules=rules, policy_version=in_force.version)

    @routes.post("/{remediation_id}/approve", status_code=202)
    async def approve(
        remediation_id: str, given: Consent, principal: Principal = access.anywhere(Permission.APPROVE)
    ) -> Approval:
        return await _speak(remediation_id, given, Verdict.APPROVED, principal)

    @routes.post("/{remediation_id}/reject", status_code=202)
    async def reject(
        remediation_id: str, given: Objection, principal: Principal = access.anywhere(Permission.APPROVE)
    ) -> None:
        async with database.transaction() as tx:
            row = await _awaiting(tx, remediation_id, principal)
            require(principal, Permission.APPROVE, row.namespace)
            await remediator.reject(tx, row, by=principal.actor, reason=given.comment)

    @routes.post("/{remediation_id}/undo", status_code=202)
    async def undo(remediation_id: str, principal: Principal = access.anywhere(Permission.UNDO)) -> dict[str, str]:
        """Take back what was done, as far as the fields still hold it."""
        remediation = await _visible(remediation_id, principal)
        require(principal, Permission.UNDO, remediation.proposal.target.namespace)
        if remediation.plan is None or not remediation.plan.reversible:
            raise ConflictError(
                f"{remediation.proposal.action.kind} has no undo",
                hint=f"`aegis remediations show {remediation_id}` tells what it has changed.",
            )
        return await _conclude(remediation_id, "undo", principal)

    @routes.post("/{remediation_id}/keep", status_code=202)
    async def keep(remediation_id: str, principal: Principal = access.anywhere(Permission.UNDO)) -> dict[str, str]:
        """Keep for good what is held: it is not given back when its time is over."""
        remediation = await _visible(remediation_id, principal)
        require(principal, Permission.UNDO, remediation.proposal.target.namespace)
        return await _conclude(remediation_id, "keep", principal)

    async def _conclude(remediation_id: str, purpose: Conclusion, principal: Principal) -> dict[str, str]:
        async with database.transaction() as tx:
            row = await repository.take_one(tx, remediation_id)
            assert row is not None
            if await remediator.known_to_executor(tx, row) not in CONCLUDABLE[purpose]:
                raise ConflictError(
                    f"remediation {remediation_id} is {row.state}: there is nothing to {purpose}",
                    hint=f"`aegis remediations show {remediation_id}` tells why; to {purpose} makes sense while one is "
                    f"{' or '.join(sorted(CONCLUDABLE[purpose]))}.",
                )
            return {"order_id": await remediator.conclude(tx, row, purpose, by=principal.actor)}

    async def _speak(remediation_id: str, given: Consent, verdict: Verdict, principal: Principal) -> Approval:
        async with database.transaction() as tx:
            row = await _awaiting(tx, remediation_id, principal)
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
            now = clock.now()
            approval = Approval(
                id=ports.ids.new("apr", now),
                remediation_id=remediation_id,
                plan_hash=plan.hash,
                approver=principal.actor,
                verdict=verdict,
                comment=given.comment,
                given_at=now,
                expires_at=now + ports.settings.approval_lifetime,
                key_id=given.key_id,
                signature=given.signature,
            )
            if not await repository.add_approval(tx, approval):
                raise ConflictError(
                    f"{principal.actor} has spoken about this plan already",
                    hint=f"`aegis remediations show {remediation_id}` shows who has, and how many are needed.",
                )
            detail = {"plan_hash": plan.hash, "comment": given.comment}
            await trail.record(
                tx, actor=principal.actor, event="remediation:approved", subject=remediation_id, detail=detail
            )
        return approval

    async def _awaiting(tx: Transaction, remediation_id: str, principal: Principal) -> Any:
        row = await repository.take_one(tx, remediation_id)
        if row is None or not principal.may(Permission.READ, row.namespace):
            raise _unknown(remediation_id)
        if row.state != RemediationState.AWAITING_APPROVAL:
            raise ConflictError(
                f"remediation {remediation_id} is {row.state}, and waits for nobody's approval",
                hint="`aegis remediations list --state awaiting_approval` shows what does.",
            )
        if row.expires_at <= clock.now():
            raise ConflictError(
                f"remediation {remediation_id} waited for approval until {row.expires_at.isoformat()}",
                hint="Its plan is of a cluster that has moved on: `aegis remediations request` asks for a new one.",
            )
        return row

    async def _visible(remediation_id: str, principal: Principal) -> Remediation:
        async with database.transaction() as tx:
            found = await repository.show(tx, remediation_id)
        if found is None or not principal.may(Permission.READ, found.proposal.target.namespace):
            raise _unknown(remediation_id)
        return found

    return routes


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

"""Every rule has a service that breaks it on purpose, and a run in which that rule, and no other, says so.

The same run with the real services breaks nothing: it is the service, and not the run, that the rule speaks of.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import orjson
import pytest
from sqlalchemy import delete
from tests.simulation.conftest import Stage
from tests.simulation.small import NEVER_READY, bad_revision, hopeless, play_out, schedule

from aegis.ai_engine.pipeline import Freshness, Pipeline
from aegis.ai_engine.ports import AiEnginePorts
from aegis.ai_engine.service import AiEngine
from aegis.ai_engine.settings import AiEngineSettings
from aegis.backend.ports import BackendPorts
from aegis.backend.remediations import repository
from aegis.backend.remediations.remediator import Remediator
from aegis.backend.remediations.tables import approvals
from aegis.backend.service import Backend
from aegis.contracts.decisions import Decision, Effect
from aegis.contracts.orders import Order
from aegis.contracts.plans import CheckResult, FieldChange, Plan, Rehearsal
from aegis.contracts.proposals import Proposal
from aegis.contracts.remediations import RemediationState
from aegis.contracts.targets import TargetRef
from aegis.contracts.verifications import Judgement, Verification, VerificationRequest
from aegis.executor.actions.base import Draft
from aegis.executor.guardrails.facts import Facts
from aegis.executor.journal.plan import KeptPlan
from aegis.executor.observe.health import Health
from aegis.executor.observe.judge import Follow, Verdict
from aegis.executor.orders.begin import Beginner
from aegis.executor.orders.look import Eyes
from aegis.executor.orders.rehearse import Rehearser
from aegis.executor.orders.settle import Settler
from aegis.executor.orders.undo import Undoer
from aegis.executor.ports import Cluster, ExactRequest, ExecutorPorts, Object
from aegis.executor.service import Executor, Parts
from aegis.kit.database import Transaction
from aegis.kit.signing import PrivateKey
from aegis.simulator.together.living import Lived, conclude, happen
from aegis.simulator.together.replicas import Kind
from aegis.simulator.together.schedules import (
    ALWAYS_FROZEN,
    Schedule,
    config_map,
    kill,
    owned_by_an_operator,
    propose,
    review,
    say,
    step,
)
from aegis.simulator.together.together import Together
from aegis.simulator.world.invariants import RULES

Services = Mapping[Kind, Callable[..., Any]]
LONG_ENOUGH_S = 1800.0
"""A run that never ends is watched for so long."""


# Broken Executors


class _Deaf(Beginner):
    """Begins an order although a check that was made again says no."""

    ignores = ""

    async def _checked_again(self, order: Order, plan: KeptPlan) -> CheckResult | None:
        no = await super()._checked_again(order, plan)
        return None if no is not None and no.name == self.ignores else no


class DeafToFreezes(_Deaf):
    ignores = "no_freeze"


class DeafToStorms(_Deaf):
    ignores = "no_storm"


class DeafToPauses(_Deaf):
    ignores = "nobody_paused"


class Sloppy(Beginner):
    """Sends almost what was planned."""

    async def write(self, row: Any, plan: KeptPlan) -> None:
        request = replace(plan.exact.request, body=plan.exact.request.body + b"\n")
        await super().write(row, replace(plan, exact=replace(plan.exact, request=request)))


class Blunt(Rehearser):
    """Plans to write whatever the fields hold by then."""

    async def _kept(self, rehearsal: Rehearsal, facts: Facts, draft: Draft) -> Plan:
        steps = [each for each in orjson.loads(draft.request.body) if each["op"] != "test"]
        request = replace(draft.request, body=orjson.dumps(steps))
        return await super()._kept(rehearsal, facts, replace(draft, request=request))


class Talkative(Rehearser):
    """Shows people the variables of a template."""

    async def _kept(self, rehearsal: Rehearsal, facts: Facts, draft: Draft) -> Plan:
        assert facts.owner is not None
        shown = orjson.dumps(facts.owner["spec"]["template"]["spec"]["containers"][0]["env"]).decode()
        change = FieldChange(path="/spec/template/spec/containers/0/env", before=None, after=shown)
        return await super()._kept(rehearsal, facts, replace(draft, changes=(*draft.changes, change)))


class Possessive(Undoer):
    """Never lets go of the fields it wrote."""

    async def let_go(self, plan: KeptPlan) -> None: ...


class Hasty(Settler):
    """Takes back what nobody can tell about, whatever the action says of that."""

    async def _follow(self, row: Any, plan: KeptPlan, verdict: Verdict, verification: Verification | None) -> None:
        if verdict.follow is Follow.HOLD_AND_PAGE:
            verdict = replace(verdict, follow=Follow.UNDO)
        await super()._follow(row, plan, verdict, verification)


class Credulous(Settler):
    """Believes the AI Engine instead of looking at the workload."""

    async def _health(self, plan: KeptPlan) -> Health:
        return Health()


class BlindToOwners(Eyes):
    """Does not see whom an object belongs to."""

    async def read(self, ref: TargetRef) -> Object | None:
        found = await super().read(ref)
        return found and {**found, "metadata": {**found["metadata"], "ownerReferences": []}}


class Remembering:
    """A cluster adapter that reads an object once, until something is written."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[tuple[str, str, str | None, str], Object | None] = {}
        self.list = cluster.list

    async def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        key = (api_version, kind, namespace, name)
        if key not in self._known:
            self._known[key] = await self._cluster.read(*key)
        return self._known[key]

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        if not dry_run:
            self._known.clear()
        return await self._cluster.send(request, dry_run=dry_run)


def _executor_that_remembers(ports: ExecutorPorts) -> Executor:
    return Executor(replace(ports, cluster=Remembering(ports.cluster)))


def _forger(run: Together) -> Callable[[ExecutorPorts], Executor]:
    """Countersigns the audit trail with a key that is not its own."""
    return lambda ports: Executor(replace(ports, witness_key=PrivateKey.from_text(run.keys.data)))


# Broken Backends


class Headstrong(Remediator):
    """Orders what policy denies."""

    async def _follow(self, tx: Transaction, row: Any, plan: Plan, decision: Decision) -> None:
        if decision.effect is Effect.DENY:
            await self._order(tx, row, plan, decision, reason="never mind")
        else:
            await super()._follow(tx, row, plan, decision)


class Forgetful(Remediator):
    """Says yes to a proposal, and writes nothing down."""

    async def propose(self, tx: Transaction, proposal: Proposal, *, actor: str) -> str:
        return self.ports.ids.new("rem", self.ports.clock.now())


class Careless(Remediator):
    """Says yes to an approval, and has it no more when it counts."""

    async def step(self) -> None:
        async with self.ports.database.transaction() as tx:
            await tx.execute(delete(approvals))
        await super().step()


class Eager(Remediator):
    """Begins anew each time it is told the same thing."""

    async def propose(self, tx: Transaction, proposal: Proposal, *, actor: str) -> str:
        return await self._add(tx, proposal, dedupe_key=self.ports.ids.new("key", self.ports.clock.now()), actor=actor)


class Discreet(Remediator):
    """Does not tell the audit trail about one kind of move."""

    async def _move(self, tx: Transaction, row: Any, to: RemediationState, **values: Any) -> None:  # type: ignore[override]
        if to is RemediationState.SETTLING:
            await repository.move(tx, row.id, now_in=row.state, to=to, updated_at=self.ports.clock.now())
        else:
            await super()._move(tx, row, to, **values)


class Patient(Remediator):
    """Waits for approvals for ever."""

    async def _follow_up_approvals(self) -> None: ...


# Broken AI Engines


class Meddler(AiEngine):
    """Restarts a workload by itself, with a token it should not have."""

    def __init__(self, run: Together, *given: Any) -> None:
        super().__init__(*given)
        self._run = run
        self._http: httpx2.AsyncClient | None = None

    async def step(self) -> None:
        await super().step()
        if self._http is None:
            self._http = self._run.cluster_http(self._run.tokens["admin"])
            await self._http.patch(
                "/apis/apps/v1/namespaces/shop/deployments/web",
                content=orjson.dumps({"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}),
                headers={"Content-Type": "application/merge-patch+json"},
            )


class Flattering(Pipeline):
    """Finds everything better than it was: an AI Engine may be as wrong as that."""

    def verify(self, request: VerificationRequest, now: Any, fresh: Freshness) -> Verification:
        return super().verify(request, now, fresh).model_copy(update={"judgement": Judgement.BETTER})


def _flattering_ai_engine(ports: AiEnginePorts, settings: AiEngineSettings, _: Pipeline) -> AiEngine:
    pipeline = Flattering(cluster_id=settings.cluster_id, metrics_interval=settings.metrics_interval)
    return AiEngine(ports, settings, pipeline)


# The runs


def _executor(**parts: Any) -> Services:
    return {"executor": partial(Executor, parts=Parts(**parts))}


def _backend(remediator: type[Remediator]) -> Services:
    def build(ports: BackendPorts) -> Backend:
        return Backend(ports, remediator)

    return {"backend": build}


def _frozen() -> Schedule:
    made = schedule(5, lasts_s=60)
    return hopeless(made.at(0, config_map(freeze=ALWAYS_FROZEN)).at(60, config_map(freeze="")))


def _paused() -> Schedule:
    made = schedule(11, lasts_s=60).at(5, NEVER_READY).at(5, say("ole", "pause")).at(60, say("ada", "resume"))
    return made.at(20, propose("@entry", {"kind": "scale_workload", "by": 1}))


def _storm() -> Schedule:
    """Five of six go down for good; the sixth could be scaled out."""
    made = schedule(7, workloads=6, lasts_s=110)
    for name in ("cart", "search", "orders", "payments", "profile"):
        target = f"shop/{name}"
        made.at(5, step(do="behave", target=target, changes={"never_ready": True}, survives_restart=True))
        made.at(5, step(do="crash", target=target))
    return made.at(100, propose("@entry", {"kind": "scale_workload", "by": 1}))


def _approved_late() -> Schedule:
    return hopeless(schedule(6, mode="approve", lasts_s=50).at(50, review("ann", "approve")))


def _approved() -> Schedule:
    made = schedule(19, mode="approve", lasts_s=60, backend_settings={"approval_lifetime": timedelta(minutes=5)})
    return hopeless(made).at(40, review("ann", "approve"))


def _nobody_can_tell() -> Schedule:
    """The AI Engine goes, once its proposal is made."""
    made = bad_revision(schedule(9, lasts_s=12)).at(6, kill("ai-engine", for_s=3600))
    return made.at(12, propose("@entry", {"kind": "rollback_rollout"}))


def _restarted_in_vain() -> Schedule:
    made = schedule(10, lasts_s=20).at(5, NEVER_READY)
    return made.at(15, propose("@entry", {"kind": "restart_workload"}))


def _said_twice() -> Schedule:
    made = hopeless(schedule(13, lasts_s=12), incident="case-1")
    return made.at(12, propose("@entry", {"kind": "scale_workload", "by": 1}, incident="case-1"))


def _owned() -> Schedule:
    made = hopeless(schedule(16))
    made.furnish.append(owned_by_an_operator("@entry"))
    return made


@dataclass(frozen=True)
class Case:
    """A run, and the service that breaks a rule in it."""

    schedule: Callable[[], Schedule]
    broken: Callable[[Together], Services]
    around: Services | None = None
    """Services that are otherwise in both runs."""
    proposals: int = 1
    """So many are waited for."""


def _case(make: Callable[[], Schedule], broken: Services, **given: Any) -> Case:
    return Case(make, lambda _: broken, **given)


CASES: Mapping[str, Case] = {
    "only_the_executor_writes": Case(
        lambda: schedule(1, lasts_s=30), lambda run: {"ai-engine": partial(Meddler, run)}, proposals=0
    ),
    "nothing_without_a_decision": _case(lambda: hopeless(schedule(2), confidence=0.3), _backend(Headstrong)),
    "orders_are_exact": _case(lambda: bad_revision(schedule(3)), _executor(beginner=Sloppy)),
    "patches_carry_preconditions": _case(lambda: bad_revision(schedule(4)), _executor(rehearser=Blunt)),
    "guardrails_hold": _case(_frozen, _executor(beginner=DeafToFreezes)),
    "looked_at_again": _case(_approved_late, {"executor": _executor_that_remembers}),
    "storms_stop_actions": _case(_storm, _executor(beginner=DeafToStorms)),
    "undo_is_complete": _case(lambda: bad_revision(schedule(8)), _executor(undoer=Possessive)),
    "leases_are_kept": _case(_nobody_can_tell, _executor(settler=Hasty)),
    "ai_engine_alone_changes_nothing": _case(
        _restarted_in_vain, _executor(settler=Credulous), around={"ai-engine": _flattering_ai_engine}
    ),
    "pause_stops": _case(_paused, _executor(beginner=DeafToPauses)),
    "nothing_acknowledged_is_lost": _case(lambda: hopeless(schedule(12, lasts_s=30)), _backend(Forgetful), proposals=0),
    "nothing_acknowledged_is_lost: approvals": _case(_approved, _backend(Careless)),
    "replicas_are_as_good_as_one": _case(_said_twice, _backend(Eager)),
    "audit_has_no_gap": _case(lambda: hopeless(schedule(14)), _backend(Discreet)),
    "audit_has_no_gap: countersigned": Case(lambda: hopeless(schedule(18)), lambda run: {"executor": _forger(run)}),
    "values_stay_inside": _case(lambda: bad_revision(schedule(15)), _executor(rehearser=Talkative)),
    "operators_objects_are_untouched": _case(_owned, _executor(eyes=BlindToOwners)),
    "everything_ends": _case(lambda: hopeless(schedule(17, mode="approve")), _backend(Patient)),
}
"""By the rule that is broken; where one has several cases, with what of it."""


async def _lived(stage: Stage, case: Case, *, is_broken: bool) -> Lived:
    made = case.schedule()
    made.furnish.append(lambda run: run.services.update(case.around or {}))
    if is_broken:
        made.furnish.append(lambda run: run.services.update(case.broken(run)))
    async with stage.begin(made) as run:
        await happen(run, made)
        within = timedelta(seconds=LONG_ENOUGH_S if is_broken else 2 * LONG_ENOUGH_S)
        await play_out(run, proposals=case.proposals, within=within)
        return await conclude(run, within_s=LONG_ENOUGH_S)


def rule_of(case: str) -> str:
    return case.partition(":")[0]


@pytest.mark.parametrize("case", CASES)
def test_a_broken_service_is_caught_by_the_rule_it_breaks_and_no_other(case: str, stage: Stage) -> None:
    life = stage.run(_lived(stage, CASES[case], is_broken=True))

    broken = {name: ruling.broken for name, ruling in life.rulings.items() if ruling.broken}
    assert broken.keys() == {rule_of(case)}, broken
    assert life.surprises == []


@pytest.mark.parametrize("case", CASES)
def test_the_real_services_break_no_rule_in_the_same_run(
    case: str, stage: Stage, lived: Callable[[Lived], None]
) -> None:
    lived(stage.run(_lived(stage, CASES[case], is_broken=False)))


def test_every_rule_has_a_broken_service() -> None:
    assert {rule_of(case) for case in CASES} == set(RULES)

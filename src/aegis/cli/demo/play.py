"""Play one story: watch Aegis through its public API, do what the story's people do, and judge the end."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aegis.cli.audit import read_export
from aegis.cli.demo.stage import Stage
from aegis.cli.demo.story import Act, Case, Story, When
from aegis.contracts.audit import broken_links, not_countersigned
from aegis.contracts.remediations import Remediation, RemediationState
from aegis.kit.errors import AegisError, TemporaryError
from aegis.kit.signing import PublicKey

LOOK_EVERY_S = 0.2
_OVER = frozenset(
    {
        RemediationState.KEPT, RemediationState.RELEASED, RemediationState.ESCALATED, RemediationState.REFUSED,
        RemediationState.DENIED, RemediationState.EXPIRED, RemediationState.OBSERVED, RemediationState.CANCELLED,
    }
)  # fmt: skip
UNTOUCHED, QUIET, FAILED = "untouched", "quiet", "failed"


@dataclass
class Seen:
    """What the public API shows at one moment."""

    incidents: list[dict[str, Any]] = field(default_factory=list)
    remediations: list[Remediation] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Ending:
    """How a story ended, as the demo's table and JSON show it."""

    story: str
    fault: str
    target: str | None
    detected_after_s: float | None
    verified_after_s: float | None
    cause: str | None
    action: str | None
    decision: str | None
    result: str
    expected: str
    ok: bool
    problems: tuple[str, ...] = ()
    audit: dict[str, Any] = field(default_factory=dict)


class Play:
    def __init__(self, stage: Stage, *, delay_s: float = 0.0) -> None:
        """Take a stage, and by how much what happens on it is delayed: no two seeds have the same times."""
        self._stage = stage
        self._story: Story = stage.story
        self._delay_s = delay_s
        self._seen = Seen()
        self._done: set[str] = set()
        self._left = list(self._story.acts)
        self._problems: list[str] = []
        self._began_at: datetime
        self._targets: dict[str, str] = {}

    async def run(self) -> list[Ending]:
        """Play to the end; whatever goes wrong is in the endings."""
        stage = self._stage
        try:
            await stage.set_up()
            await self._begin()
            await self._until_over()
            return await self._endings()
        except AegisError as error:
            return [self._failed(case, str(error)) for case in self._story.cases]
        finally:
            await stage.tear_down()

    async def _begin(self) -> None:
        steps = []
        for step in self._story.steps:
            resolved = await self._stage.resolved(step)
            steps.append(resolved | {"at_s": resolved["at_s"] + self._delay_s})
        self._began_at = await self._stage.cluster.plan(steps) + timedelta(seconds=self._delay_s)

    async def _until_over(self) -> None:
        over_since: datetime | None = None
        last = self._began_at + timedelta(seconds=self._story.first_fault_s + self._story.within_s)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._seen = await asyncio.to_thread(self._look)
            except TemporaryError:
                continue  # the Backend is one of those that are killed
            await self._find_targets()
            await self._act()
            now = self._stage.clock.now()
            if now > last:
                return
            over_since = (over_since or now) if self._is_over() else None
            settled = timedelta(seconds=self._story.settled_for_s)
            if over_since is not None and now - over_since >= settled:
                return

    async def _find_targets(self) -> None:
        """Name the targets once they are there: some are made by a step."""
        for case in self._story.cases:
            if case.target and case.target not in self._targets and self._stage.clock.now() > self._fault_at(case):
                self._targets[case.target] = await self._stage.find(case.target)

    def _fault_at(self, case: Case) -> datetime:
        return self._began_at + timedelta(seconds=case.at_s)

    def _look(self) -> Seen:
        api = self._stage.api()
        found = api.get("/api/v1/remediations", limit=200)["remediations"]
        return Seen(
            incidents=api.get("/api/v1/incidents", limit=200)["incidents"],
            remediations=[Remediation.model_validate(one) for one in found],
            notifications=api.get("/api/v1/notifications", limit=200)["notifications"],
        )

    def _is_over(self) -> bool:
        """Whether what must happen has happened; what must not happen needs its whole time."""
        if self._left or any(one.state not in _OVER for one in self._seen.remediations):
            return False
        return all(self._is_case_over(case) for case in self._story.cases)

    def _is_case_over(self, case: Case) -> bool:
        expected = case.expect
        if expected.result in (UNTOUCHED, QUIET) and not (expected.notified or expected.reason):
            return False
        return not self._complaints(case)

    async def _act(self) -> None:
        for act in list(self._left):
            if self._has_come(act.when):
                self._left.remove(act)
                await self._carry_out(act)
                self._done.add(act.name)

    def _has_come(self, when: When) -> bool:
        earliest = self._began_at + timedelta(seconds=self._story.first_fault_s + when.after_s)
        if self._stage.clock.now() < earliest:
            return False
        if when.remediation and not any(one.state in when.remediation for one in self._seen.remediations):
            return False
        if when.incident and not self._seen.incidents:
            return False
        return not when.done or when.done in self._done

    async def _carry_out(self, act: Act) -> None:
        if act.kill is not None:
            await self._stage.killed_and_started_again(act.kill)
        if act.step is not None:
            await self._stage.cluster.do(await self._stage.resolved(act.step))
        if act.request is not None or act.approve:
            try:
                await asyncio.to_thread(self._speak, act)
            except AegisError as error:
                if error.code != act.must_fail:
                    wanted = f", and must be refused as {act.must_fail}" if act.must_fail else ""
                    self._problems.append(f"{act.name or act.person}: {error} ({error.code}){wanted}")
            else:
                if act.must_fail:
                    self._problems.append(f"{act.name or act.person}: the API must refuse it as {act.must_fail}")

    def _speak(self, act: Act) -> None:
        api = self._stage.api(act.person)
        if act.request is not None:
            namespace, kind, name = self._target_of(self._story.cases[0]).split("/")
            parameters = {key: name if value == "@name" else value for key, value in act.parameters.items()}
            action = {"kind": act.request, **parameters}
            body = {"namespace": namespace, "kind": kind, "name": name, "action": action, "reason": self._story.title}
            api.post("/api/v1/remediations", body)
        if act.approve:
            waiting = next(one for one in self._seen.remediations if one.state is RemediationState.AWAITING_APPROVAL)
            assert waiting.plan is not None
            api.post(f"/api/v1/remediations/{waiting.id}/approve", {"plan_hash": waiting.plan.hash, "comment": "demo"})

    def _target_of(self, case: Case) -> str:
        return self._targets.get(case.target, "")

    async def _endings(self) -> list[Ending]:
        audit = await asyncio.to_thread(self._audit)
        writes = await self._stage.cluster.writes_of("executor")
        return [await self._ending(case, audit, writes) for case in self._story.cases]

    async def _ending(self, case: Case, audit: dict[str, Any], writes: list[dict[str, Any]]) -> Ending:
        main, incident = self._main_remediation(case), self._main_incident(case)
        problems = [*self._problems, *self._complaints(case), *await self._wrong_cause(case)]
        problems += [*self._wrong_writes(case, writes), *audit["problems"]]
        if case.expect.result == QUIET and audit["orders"]:
            problems.append(f"{audit['orders']} orders were issued, and none was needed")
        fault_at = self._fault_at(case)
        return Ending(
            story=self._name_of(case),
            fault=case.fault,
            target=self._target_of(case) or None,
            detected_after_s=_after(fault_at, datetime.fromisoformat(incident["opened_at"])) if incident else None,
            verified_after_s=_verified_after(main, fault_at),
            cause=_spelled_cause(self._cause(case)),
            action=main.proposal.action.kind.value if main else None,
            decision=_decision(main),
            result=self._result(case),
            expected=case.expect.result,
            ok=not problems,
            problems=tuple(problems),
            audit=audit,
        )

    def _name_of(self, case: Case) -> str:
        return f"{self._story.name}/{case.name}" if case.name else self._story.name

    def _failed(self, case: Case, why: str) -> Ending:
        return Ending(
            story=self._name_of(case), fault=case.fault, target=self._target_of(case) or None, detected_after_s=None,
            verified_after_s=None, cause=None, action=None, decision=None, result=FAILED,
            expected=case.expect.result, ok=False, problems=(why,),
        )  # fmt: skip

    def _remediations_of(self, case: Case) -> list[Remediation]:
        """Return the remediations of a case: those on its target; all of them where the story has one case."""
        if len(self._story.cases) == 1:
            return self._seen.remediations
        return [one for one in self._seen.remediations if str(one.proposal.owner) == self._target_of(case)]

    def _main_remediation(self, case: Case) -> Remediation | None:
        """Return the remediation that came furthest."""
        found = self._remediations_of(case)
        return max(found, key=lambda one: (len(one.outcomes), one.plan is not None), default=None)

    def _main_incident(self, case: Case) -> dict[str, Any] | None:
        after = [
            one for one in self._seen.incidents if datetime.fromisoformat(one["opened_at"]) >= self._fault_at(case)
        ]
        target = self._target_of(case)
        about = [one for one in after if target in {_name(one["workload"]), *map(_name, one["affected"])}]
        return min(about or after, key=lambda one: str(one["opened_at"]), default=None)

    def _result(self, case: Case) -> str:
        expected = case.expect.result
        found = self._remediations_of(case)
        if expected in (UNTOUCHED, QUIET) and not any(_acted(one) for one in found):
            ordered = any(one.state in _ORDERED for one in found)
            return UNTOUCHED if ordered or expected == UNTOUCHED else QUIET
        main = self._main_remediation(case)
        if main is None:
            return "nothing"
        stages = [outcome.stage.value for outcome in main.outcomes]
        return "undone" if "undone" in stages else main.state.value

    def _complaints(self, case: Case) -> list[str]:
        """Return what is not as it must be, of what the public API shows."""
        expected = case.expect
        found = []
        if self._result(case) != expected.result:
            found.append(f"ended {self._result(case)}, must end {expected.result}: {self._why(case)}")
        main = self._main_remediation(case)
        if expected.action is not None and (main is None or main.proposal.action.kind is not expected.action):
            found.append(f"must take {expected.action}")
        if expected.reason and not any(expected.reason in text for text in self._reasons(case)):
            found.append(f"nobody said {expected.reason!r}: {self._reasons(case)}")
        stages = {outcome.stage.value for outcome in main.outcomes} | {main.state.value} if main else set()
        found += [f"was never {state}" for state in expected.passed if state.value not in stages]
        kinds = [one["kind"] for one in self._seen.notifications]
        for kind, count in expected.notified.items():
            if kinds.count(kind) != count:
                found.append(f"{kinds.count(kind)} notifications of kind {kind}, must be {count}")
        return found

    def _cause(self, case: Case) -> tuple[str, str] | None:
        """Return what was diagnosed for the case's target, and where that sits.

        What was acted on is what was the cause then: an incident may be joined by later faults elsewhere, and its
        diagnosis goes on changing.
        """
        proposed = [one for one in self._remediations_of(case) if not one.proposal.proposed_by.startswith("person:")]
        if proposed:
            first = min(proposed, key=lambda one: one.proposed_at).proposal
            return first.cause.value, str(first.owner)
        hypotheses = ((self._main_incident(case) or {}).get("diagnosis") or {}).get("hypotheses") or []
        return (hypotheses[0]["cause"], _name(hypotheses[0]["subject"])) if hypotheses else None

    async def _wrong_cause(self, case: Case) -> list[str]:
        expected = case.expect
        if expected.cause is None:
            return []
        found = self._cause(case)
        if found is None or found[0] != expected.cause:
            return [f"named {_spelled_cause(found)} as the cause, must name {expected.cause}"]
        wanted = await self._stage.find(expected.cause_at) if expected.cause_at else found[1]
        return [] if found[1] == wanted else [f"named {_spelled_cause(found)} as the cause, must name that of {wanted}"]

    def _wrong_writes(self, case: Case, writes: list[dict[str, Any]]) -> list[str]:
        expected = case.expect
        namespace, _, name = self._target_of(case).partition("/")
        short = name.partition("/")[2]
        touched = [one for one in writes if one["resource"] != "events"]
        if any(_may_write(one.expect.result) for one in self._story.cases) and len(self._story.cases) > 1:
            touched = [one for one in touched if (one["namespace"], one["name"]) == (namespace, short)]
        if not _may_write(expected.result) and touched:
            return [f"{len(touched)} writes, and nothing was to be touched"]
        if expected.writes is not None and len(touched) != expected.writes:
            return [f"{len(touched)} writes to workloads in the API server's log, must be {expected.writes}"]
        return []

    def _audit(self) -> dict[str, Any]:
        """Export the audit trail, and verify it with nothing but the two public keys."""
        api = self._stage.api()
        file = self._stage.folder / "audit.jsonl"
        with file.open("wb") as out:
            for line in api.lines("/api/v1/audit/export"):
                out.write(line + b"\n")
        entries, checkpoints = read_export(file)
        key = PublicKey.from_text(self._stage.secrets.public_key)
        witness = PublicKey.from_text(self._stage.secrets.witness_public_key)
        problems = broken_links(entries, checkpoints, key=key, witnesses=[witness])
        return {
            "entries": len(entries),
            "checkpoints": len(checkpoints),
            "countersigned": len(checkpoints) - not_countersigned(checkpoints),
            "orders": sum(one.event == "order:issued" for one in entries),
            "problems": [f"audit: {one}" for one in problems],
        }

    def _reasons(self, case: Case) -> list[str]:
        found = self._remediations_of(case)
        return [*(one.reason for one in found), *(outcome.reason for one in found for outcome in one.outcomes)]

    def _why(self, case: Case) -> str:
        states = [f"{one.proposal.action.kind} {one.state}: {one.reason}" for one in self._remediations_of(case)]
        return "; ".join(states) or "no remediation"


_WRITING = frozenset({"kept", "held", "released", "undone", "escalated"})


def _may_write(result: str) -> bool:
    return result in _WRITING


def _after(fault_at: datetime, moment: datetime) -> float:
    return round((moment - fault_at).total_seconds(), 1)


_ORDERED = frozenset({RemediationState.ORDERED, RemediationState.BLOCKED, RemediationState.EXPIRED})


def _acted(remediation: Remediation) -> bool:
    return any(
        outcome.stage.value in ("settling", "kept", "held", "undoing", "undone") for outcome in remediation.outcomes
    )


def _verified_after(remediation: Remediation | None, fault_at: datetime) -> float | None:
    if remediation is None:
        return None
    found = [one.at for one in remediation.outcomes if one.stage.value in ("kept", "held", "undoing")]
    return round((found[0] - fault_at).total_seconds(), 1) if found else None


def _spelled_cause(cause: tuple[str, str] | None) -> str | None:
    return f"{cause[0]} of {cause[1]}" if cause is not None else None


def _decision(remediation: Remediation | None) -> str | None:
    if remediation is None or remediation.decision is None:
        return None
    approvers = [approval.approver for approval in remediation.approvals]
    return (
        f"approved by {', '.join(approvers)}"
        if approvers
        else f"{remediation.decision.effect} by {remediation.decision.rule}"
    )


def _name(workload: dict[str, str]) -> str:
    return f"{workload['namespace']}/{workload['kind']}/{workload['name']}"

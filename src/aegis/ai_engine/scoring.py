"""How right the pipeline was about a recording, by the label that people gave it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import model_validator

from aegis.ai_engine.replay import Diagnosed, Proposed, ReplayReport
from aegis.catalogue.actions import ACTIONS
from aegis.contracts.actions import ActionKind
from aegis.contracts.base import Contract, Name

Verdict = Literal["right", "silent", "harmful"]


class Blamed(Contract):
    """The object to blame."""

    kind: Name
    namespace: Name | None = None
    name: Name


class Fix(Contract):
    """What a person did about it."""

    at: float


class Label(Contract):
    """What people know of a recording. Times are seconds since 1970."""

    id: Name
    file: str = ""
    fault: bool
    root_cause: Blamed | None = None
    fault_start: float | None = None
    fix: Fix | None = None
    actions: frozenset[ActionKind] | None = None
    """The actions that are right; if not given, those that `expected_action` begins a clause with."""
    people: bool | None = None
    """Whether it is right to call a person; if not given, whether no action is, or `expected_action` says notify."""
    expected_action: str = ""

    @model_validator(mode="after")
    def _blames_and_dates_its_fault(self) -> Self:
        if self.fault and (self.root_cause is None or self.fault_start is None):
            raise ValueError("a run with a fault has a root_cause and a fault_start")
        return self


@dataclass(frozen=True)
class Score:
    """How one run was handled.

    * harmful: an action was proposed in a quiet run; or on another target than the one to blame; or of a kind
      that the label does not ask for (every action, where the label asks for people only).
    * right: in a quiet run nothing was proposed and nobody was called; where an action is asked for it was
      proposed (or, where the label asks for people too, a person was called); where people are asked for, a person
      was called about the right object or what runs on it, before the recording ended.
    * silent: anything else. Nothing was harmed, and nothing was healed.
    """

    run: str
    verdict: Verdict
    reason: str
    after_fault: float | None = None
    """Seconds from the fault to the proposal, or to the call for a person."""
    cause: str = ""


def score(report: ReplayReport, label: Label) -> Score:
    """Compare with a label. After a person's fix nothing counts for it any more, and harm still counts against it."""
    if not label.fault:
        return _score_quiet(label.id, report)
    assert label.root_cause is not None
    assert label.fault_start is not None
    run, blamed, start = label.id, label.root_cause, label.fault_start
    actions, people = _asked_for(label, blamed)
    until = label.fix.at if label.fix else float("inf")
    harmful = next((one for one in report.proposals if one.action not in actions or not _is_about(one, blamed)), None)
    if harmful is not None:
        return Score(
            run, "harmful", f"{harmful.action} on {harmful.kind}/{harmful.name}", harmful.at - start, harmful.cause
        )
    proposals = [one for one in report.proposals if one.at <= until]
    if proposals:
        first = proposals[0]
        return Score(run, "right", f"{first.action} on {first.kind}/{first.name}", first.at - start, first.cause)
    calls = [one for one in report.diagnoses if one.needs_person and one.at <= until]
    right_calls = [one for one in calls if _is_about(one, blamed)]
    if people and right_calls:
        call = right_calls[0]
        return Score(run, "right", f"calls a person about {call.kind}/{call.name}", call.at - start, call.cause)
    called = f"called a person about {calls[0].kind}/{calls[0].name}" if calls else "said nothing"
    return Score(run, "silent", called, cause=calls[0].cause if calls else "")


def _score_quiet(run: str, report: ReplayReport) -> Score:
    if report.proposals:
        first = report.proposals[0]
        return Score(run, "harmful", f"{first.action} on {first.kind}/{first.name} in a quiet run", cause=first.cause)
    calls = [one for one in report.diagnoses if one.needs_person]
    if calls:
        return Score(run, "silent", f"called a person for nothing: {calls[0].summary}", cause=calls[0].cause)
    return Score(run, "right", "left alone")


def _asked_for(label: Label, blamed: Blamed) -> tuple[frozenset[ActionKind], bool]:
    """Return the actions that are right, and whether calling a person is."""
    actions = label.actions if label.actions is not None else actions_in(label.expected_action, blamed.kind)
    if label.people is not None:
        return actions, label.people
    return actions, not actions or "notify" in label.expected_action.lower()


_CLAUSE = re.compile(r"[;(),]|\bor\b|\band\b")
_TARGETS = frozenset({"rollout", "workload", "pod"})
"""What an action's name calls its target; people say the object's kind instead."""
_KINDS = frozenset[str]().union(*(facts.target_kinds for facts in ACTIONS.values()))


def actions_in(remedy: str, kind: str) -> frozenset[ActionKind]:
    """Read a remedy in free text: a clause that begins with an action's name asks for it.

    Only where the action is for objects of the kind that the clause names, or else of `kind`.

    >>> sorted(actions_in("rollback Deployment packer (or scale it out)", "Deployment"))
    [<ActionKind.ROLLBACK_ROLLOUT: 'rollback_rollout'>, <ActionKind.SCALE_WORKLOAD: 'scale_workload'>]
    >>> sorted(actions_in("rollback StatefulSet store; do not scale out web; notify", "StatefulSet"))
    []
    """
    return frozenset(action for clause in _CLAUSE.split(remedy) for action in _actions_of(clause, kind))


def _actions_of(clause: str, kind: str) -> Iterator[ActionKind]:
    kinds = {word for word in clause.split() if word in _KINDS} or {kind}
    words = clause.lower().replace("roll back", "rollback").replace("_", " ").split()
    for action, facts in ACTIONS.items():
        verb, _, what = action.partition("_")
        if words[:1] == [verb] and (what in words or what in _TARGETS) and kinds <= facts.target_kinds:
            yield action


def _is_about(one: Proposed | Diagnosed, blamed: Blamed) -> bool:
    """Whether it concerns the object to blame, or the workload that this object belongs to or serves."""
    if (one.kind, one.name) == (blamed.kind, blamed.name):
        return one.namespace in (blamed.namespace, "")
    if blamed.kind in ("Deployment", "StatefulSet", "CronJob", "Job", "Node"):
        return False
    # A Service, a budget or an autoscaler is named after what it is for; a pod after its owner; a volume and a
    # quota stand in the text.
    named = blamed.name == one.name or blamed.name.startswith(f"{one.name}-")
    text = one.needs_person if isinstance(one, Diagnosed) else one.rationale
    told = "quota" in text if blamed.kind == "ResourceQuota" else f"volume {blamed.name}" in text
    return one.namespace == blamed.namespace and (named or told)


def totals(scores: Sequence[Score]) -> dict[Verdict, int]:
    verdicts: tuple[Verdict, ...] = ("right", "silent", "harmful")
    return {verdict: sum(one.verdict == verdict for one in scores) for verdict in verdicts}

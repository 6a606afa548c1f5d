"""The same pipeline over recorded clusters; the recordings here are extracts of real ones."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from aegis.ai_engine.replay import Diagnosed, Proposed, ReplayReport, replay
from aegis.ai_engine.scoring import Label, actions_in, score, totals
from aegis.ai_engine.sources.recording import read
from aegis.contracts.actions import ActionKind
from aegis.contracts.diagnoses import CauseKind

RECORDINGS = Path(__file__).parent / "recordings"


def called(report: ReplayReport) -> set[str]:
    return {f"{one.cause} {one.kind}/{one.name}" for one in report.diagnoses if one.needs_person}


@pytest.mark.parametrize(
    ("run", "cause", "name"),
    [
        ("crashloop-exit-at-start-left", "bad_revision", "web"),
        ("imagepull-missing-tag-left", "image_unavailable", "gateway"),
        ("config-missing-volume-left", "configuration_missing", "gateway"),
        ("readiness-never-stuck-rollout", "bad_revision", "site"),
        ("unschedulable-left", "bad_revision", "web"),
        ("oom-limit-too-low-raised", "memory_limit_too_low", "billing"),
        ("errors-30-percent-undone", "bad_revision", "web"),
    ],
)
def test_a_bad_rollout_is_rolled_back(run: str, cause: str, name: str) -> None:
    report = replay(RECORDINGS / f"{run}.jsonl.gz")

    assert {(one.action, one.cause, one.name) for one in report.proposals} == {("rollback_rollout", cause, name)}


@pytest.mark.parametrize(
    ("run", "about"),
    [
        ("quota-exhausted-left", "quota_exhausted Deployment/gateway"),
        ("node-not-ready-evicted", "node_lost Node/node1"),
        ("store-crash-dependency-outage", "bad_revision StatefulSet/store"),
        ("liveness-too-tight-left", "probe_too_tight Deployment/frontend"),
        ("pool-exhaustion-made-worse", "connections_exhausted StatefulSet/ledger"),
    ],
)
def test_what_no_action_helps_is_a_persons_matter(run: str, about: str) -> None:
    report = replay(RECORDINGS / f"{run}.jsonl.gz")

    assert report.proposals == []
    assert about in called(report)


@pytest.mark.parametrize("run", ["quiet-restarts-once", "quiet-rolling-update"])
def test_a_quiet_cluster_is_left_alone(run: str) -> None:
    report = replay(RECORDINGS / f"{run}.jsonl.gz")

    assert report.proposals == []
    assert called(report) == set()


def test_without_metrics_what_only_metrics_show_is_missed_and_nothing_is_guessed() -> None:
    report = replay(RECORDINGS / "errors-30-percent-undone.jsonl.gz", with_metrics=False)

    assert report.proposals == []


def test_what_people_noted_beside_a_recording_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"t": 1, "type": "mark", "mark": "fault", "kind": "crash-loop"}\n')

    assert list(read(path)) == []


# -- scoring


def label(expected: str, *, kind: str = "Deployment", name: str = "web", **more: Any) -> Label:
    cause = {"kind": kind, "namespace": "shop", "name": name}
    fault = {"id": "run", "fault": True, "root_cause": cause, "expected_action": expected, "fault_start": 100.0}
    return Label.model_validate({**fault, "fix": None, **more})


def proposed(action: ActionKind = ActionKind.ROLLBACK_ROLLOUT, name: str = "web", at: float = 120.0) -> ReplayReport:
    one = Proposed(20.0, at, action, "Deployment", "shop", name, CauseKind.BAD_REVISION, 0.9, "because")
    return ReplayReport("run", proposals=[one])


def person(name: str = "web", at: float = 120.0, *, kind: str = "Deployment", text: str = "look") -> ReplayReport:
    one = Diagnosed(20.0, at, "inc", CauseKind.UNKNOWN, kind, "shop", name, 0.9, "because", text)
    return ReplayReport("run", diagnoses=[one])


ROLLBACK = "rollback Deployment web to the previous revision"


def test_the_expected_action_on_the_right_target_is_right() -> None:
    found = score(proposed(), label(ROLLBACK))

    assert (found.verdict, found.after_fault) == ("right", 20.0)


def test_the_right_action_on_another_target_is_harmful() -> None:
    assert score(proposed(name="cart"), label(ROLLBACK)).verdict == "harmful"


def test_another_action_on_the_right_target_is_harmful() -> None:
    assert score(proposed(ActionKind.RESTART_WORKLOAD), label(ROLLBACK)).verdict == "harmful"


def test_any_action_where_people_are_asked_for_is_harmful() -> None:
    assert score(proposed(), label("notify: web writes more than its limit")).verdict == "harmful"


def test_a_call_for_the_right_person_is_right_where_people_are_asked_for() -> None:
    assert score(person(), label("notify: web writes more than its limit")).verdict == "right"


def test_a_call_about_something_else_is_silence() -> None:
    assert score(person("cart"), label("notify: web writes more than its limit")).verdict == "silent"


def test_calling_a_person_is_not_enough_where_an_action_is_asked_for() -> None:
    assert score(person(), label(ROLLBACK)).verdict == "silent"


def test_help_after_the_persons_own_fix_is_too_late_and_harm_is_still_harm() -> None:
    fixed = label(ROLLBACK, fix={"at": 110.0})

    assert score(proposed(), fixed).verdict == "silent"
    assert score(proposed(name="cart"), fixed).verdict == "harmful"


def test_acting_in_a_quiet_run_is_harmful_and_calling_somebody_is_not_right() -> None:
    quiet = Label(id="run", fault=False)

    assert score(ReplayReport("run"), quiet).verdict == "right"
    assert score(proposed(), quiet).verdict == "harmful"
    assert score(person(), quiet).verdict == "silent"


def test_a_volume_is_named_by_the_workload_that_writes_to_it() -> None:
    asked = label("notify before it is full", kind="PersistentVolumeClaim", name="spool")

    assert score(person("web", text="it keeps data on volume spool"), asked).verdict == "right"
    assert score(person("web", text="nothing known"), asked).verdict == "silent"


def test_a_label_may_name_actions_and_people_outright() -> None:
    either = label("whatever helps", actions=["rollback_rollout"], people=True)
    only_the_action = label("notify", actions=["rollback_rollout"], people=False)

    assert (score(proposed(), either).verdict, score(person(), either).verdict) == ("right", "right")
    assert (score(proposed(), only_the_action).verdict, score(person(), only_the_action).verdict) == ("right", "silent")


@pytest.mark.parametrize(
    ("remedy", "kind", "actions"),
    [
        ("roll back the change of limit", "Deployment", {"rollback_rollout"}),
        ("scale_workload", "StatefulSet", {"scale_workload"}),
        ("raise the memory limit of Deployment web", "Deployment", {"raise_memory"}),
        ("raise the CPU limit of Deployment web", "Deployment", set()),
        ("rollback it", "StatefulSet", set()),
        ("scale Deployment web out", "HorizontalPodAutoscaler", {"scale_workload"}),
        ("evict the pod; a restart helps for a while only", "Pod", {"evict_pod"}),
        ("do not restart web, never scale it", "Deployment", set()),
        ("", "Deployment", set()),
    ],
)
def test_a_remedy_in_free_text_asks_for_the_actions_that_its_clauses_begin_with(
    remedy: str, kind: str, actions: set[str]
) -> None:
    assert actions_in(remedy, kind) == actions


def test_totals_count_every_run() -> None:
    scores = [score(proposed(), label(ROLLBACK)), score(ReplayReport("run"), label(ROLLBACK))]

    assert totals(scores) == {"right": 1, "silent": 1, "harmful": 0}

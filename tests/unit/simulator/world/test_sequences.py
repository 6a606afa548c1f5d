"""The same fault here and on a real cluster: the same fields change, in the same order, at about the same time.

Times: the simulator moves in steps of a second and the recorded node was busy, so a fact may come three
seconds or a quarter of its time earlier or later. The order of facts that a real cluster has within 1.5
seconds of each other is chance there and not compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.simulator.world.builders import Life
from tests.unit.simulator.world.sequences import facts_of, order_mistakes, recorded, simulated

from aegis.simulator.kubernetes.objects import copy_of
from aegis.simulator.kubernetes.resources import DEPLOYMENTS
from aegis.simulator.world.topologies import shop

# Both sides show these whenever a pod starts; whether one came before the fault as well is chance.
_EVERYDAY = {"event Warning Unhealthy on Pod"}


@dataclass(frozen=True)
class Case:
    """A recording, the workload it is about there and here, and the same fault in steps of ours."""

    run: str
    there: str
    here: str
    steps: Sequence[Mapping[str, Any]]
    until: float
    before: Sequence[Mapping[str, Any]] = ()
    replicas: int = 2
    deadline_s: int | None = None
    ignored: set[str] = field(default_factory=set)
    tolerance_s: float = 3.0


_WEB = {"target": "shop/web"}
_BAD = {"do": "deploy", "target": "shop/web", "tag": "1.5.0"}
CASES = [
    Case("crashloop-exit-at-start-left", "web", "web", [{**_BAD, "behaviour": {"exit_at_start": 1}}], 100),
    Case(
        "imagepull-missing-tag-left",
        "gateway",
        "web",
        [{"do": "set_image", **_WEB, "image": "registry.example/shop/web:1.5.0-rc9"}],
        30,
        # The recorded node had no network: its pull took ten seconds to fail, ours takes one.
        tolerance_s=10.5,
    ),
    Case("quiet-rolling-update", "web", "web", [_BAD], 30, replicas=3),
    Case(
        "oom-limit-too-low-raised",
        "billing",
        "worker",
        [{"do": "set_resources", "target": "shop/worker", "limits": {"memory": "64Mi"}}],
        60,
        before=[
            {
                "do": "deploy",
                "target": "shop/worker",
                "tag": "1.4.1",
                "behaviour": {"burst_mib": 60, "burst_after_s": 6},
            }
        ],
    ),
    Case(
        "readiness-never-stuck-rollout",
        "site",
        "web",
        [{**_BAD, "behaviour": {"never_ready": True}}],
        45,
        deadline_s=30,
    ),
    Case(
        "quota-exhausted-left",
        "gateway",
        "web",
        [_BAD],
        45,
        before=[{"do": "set_quota", "namespace": "shop", "hard": {"pods": "6"}}],
    ),
    Case(
        "unschedulable-left",
        "web",
        "web",
        [{"do": "set_resources", **_WEB, "limits": {"cpu": "12"}, "requests": {"cpu": "12"}}],
        30,
    ),
    Case(
        "quiet-restarts-once",
        "billing",
        "worker",
        [{"do": "deploy", "target": "shop/worker", "tag": "1.5.0", "behaviour": {"exits_once": True}}],
        45,
    ),
    Case("quiet-scale-by-person", "web", "web", [{"do": "scale", **_WEB, "replicas": 5}], 25),
    Case(
        "config-missing-key-supplied",
        "frontend",
        "web",
        [{"do": "require_key", **_WEB, "config_map": "web-settings", "key": "currency"}],
        45,
    ),
    Case(
        "config-missing-volume-left",
        "gateway",
        "web",
        [{"do": "mount", **_WEB, "config_map": "tax-rates"}],
        45,
    ),
    # What follows at +71 s there comes from a toleration of 20 s; ours is Kubernetes' default of 300 s.
    Case("node-not-ready-evicted", "web", "web", [{"do": "cut_power", "node": "node1"}], 65),
]


def life_of(case: Case) -> dict[str, float]:
    life = Life(shop(web_replicas=case.replicas))
    if case.deadline_s:
        found = copy_of(life.world.store.get(DEPLOYMENTS, "shop", case.here))
        found["spec"]["progressDeadlineSeconds"] = case.deadline_s
        life.world.store.update(DEPLOYMENTS, found)
    for step in case.before:
        life.do(**step)
    life.go(60)
    store = life.world.store
    changes = [(-1.0, each) for each in store.changes(1000)]
    version = store.resource_version
    for step in case.steps:
        life.do(**step)
    for second in range(int(case.until)):
        life.go(1)
        changes += [(second + 1.0, each) for each in store.changes(version)]
        version = store.resource_version
    return facts_of(simulated(changes), case.here, until=case.until)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.run)
def test_the_same_fault_leads_to_the_same_facts(case: Case) -> None:
    real = facts_of(recorded(case.run), case.there, until=case.until)

    ours = life_of(case)

    skipped = _EVERYDAY | case.ignored
    assert set(ours) - skipped == set(real) - skipped
    assert order_mistakes(real, ours, apart=1.5) == []
    late = {
        fact: (at, ours[fact])
        for fact, at in real.items()
        if fact in ours and abs(ours[fact] - at) > max(case.tolerance_s, 0.25 * at)
    }
    assert late == {}


def test_a_crashing_store_shows_first_in_others_and_only_then_in_itself() -> None:
    """Its recording ran on a starved node (13 s to end a pod), so only the order of the story is compared."""
    real = facts_of(recorded("store-crash-dependency-outage"), "store", until=60)
    story = [
        "old pod deleting",
        "old pod gone",
        "new pod bound",
        "new pod lastState terminated Error 1",
        "new pod restartCount=2",
        "new pod restartCount=3",
    ]
    bad = {"do": "deploy", "target": "shop/store", "tag": "2.0.0", "behaviour": {"exit_at_start": 1}}

    ours = life_of(Case("", "store", "store", [bad], 60))

    assert sorted(story, key=real.__getitem__) == story
    assert sorted(story, key=ours.__getitem__) == story
    assert ours["new pod state waiting CrashLoopBackOff"] > ours["new pod state terminated Error 1"]

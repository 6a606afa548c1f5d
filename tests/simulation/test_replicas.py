"""Two replicas of everything, every order delivered twice, and one of them killed wherever it writes something down.

Where that is nobody lists: an undisturbed run of the same seed says which boundaries the services pass.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import pytest
from tests.simulation.conftest import Stage
from tests.simulation.small import NEVER_READY, READY, SCALE_OUT, bad_revision, play_out, schedule

from aegis.contracts.outcomes import Stage as OrderStage
from aegis.simulator.together.living import Lived, conclude, happen
from aegis.simulator.together.replicas import Kind, Replica
from aegis.simulator.together.schedules import Schedule, propose, say
from aegis.simulator.together.together import KINDS, Together

AWAY = timedelta(seconds=75)
"""For so long a killed replica stays away, longer than its claims: the other one has to finish what it left."""
STEP_S = 15.0
"""Every service has a turn so often: claims last four times as long."""
DEATHS = 8
"""So many of each service in one run, far apart: a run for each boundary would take too long."""
PARTS = 2
"""Each story is tested in so many parts, which may run side by side."""
_MOVES = re.compile(r"after .*(stage|state|INSERT journal|INSERT remediations|PATCH)")
"""What takes an order or a remediation a step further."""


@dataclass(frozen=True)
class Story:
    """Something that is healed, or tried, and how it must end."""

    schedule: Callable[[], Schedule]
    may_end_in: Collection[OrderStage]
    undos: int


@dataclass(frozen=True)
class Boundary:
    """Where a service can be killed: just before or after it writes something, after so many moves of the whole.

    Looking again, with nothing moved meanwhile, is the same boundary.
    """

    service: Kind
    named: str
    moves: int


@dataclass
class Watch:
    """Notes every boundary that is passed, and kills at some of them: whichever replica comes there first."""

    run: Together
    deadly: set[Boundary]
    passed: list[tuple[str, Boundary]] = field(default_factory=list)
    """With the name of the replica."""
    died_at: set[Boundary] = field(default_factory=set)
    _moves: int = 0

    def __post_init__(self) -> None:
        for replica in self.run.all_replicas():
            replica.at_boundary = partial(self._note, replica)

    def _note(self, replica: Replica, named: str) -> None:
        here = Boundary(replica.kind, named, self._moves)
        self.passed.append((replica.name, here))
        self._moves += _MOVES.match(named) is not None
        if here in self.deadly:
            self.deadly.remove(here)
            self.died_at.add(here)
            replica.crash_at, replica.back_at = len(replica.boundaries), self.run.clock.now() + AWAY


@dataclass(frozen=True)
class Run:
    """A story, lived once."""

    life: Lived
    watch: Watch
    deaths: int
    deliveries: list[int]
    """How often each signed order reached an Executor."""


def _schedule(seed: int, *, pods: int) -> Schedule:
    return schedule(seed, pods=pods, resumed=False, replicas=dict.fromkeys(KINDS, 2))


def _kept_rollback() -> Schedule:
    return bad_revision(_schedule(7, pods=2))


def _undone_scale() -> Schedule:
    return _schedule(8, pods=1).at(5, NEVER_READY).at(10, _proposed_until_it_is_heard)


def _released_scale() -> Schedule:
    made = _schedule(9, pods=1).at(5, NEVER_READY).at(10, _proposed_until_it_is_heard)
    return made.at(10, _ready_once_it_was_acted_on)


async def _proposed_until_it_is_heard(run: Together) -> str:
    """Do as the AI Engine's outbox does: the Backend may die over it."""
    while not await run.records.fetchval("SELECT count(*) FROM remediations"):
        await propose("@entry", SCALE_OUT)(run)
        await run.tick(timedelta(seconds=5))
    return "proposed to scale out"


async def _ready_once_it_was_acted_on(run: Together) -> str:
    not_yet = "('received', 'blocked', 'acting')"  # a write that was still to come would find nothing wrong
    while not await run.journal.fetchval(f"SELECT count(*) FROM journal WHERE stage NOT IN {not_yet}"):
        await run.tick(timedelta(seconds=5))
    return await READY(run)


STORIES = {
    "kept rollback": Story(_kept_rollback, {OrderStage.KEPT}, undos=0),
    "undone scale": Story(_undone_scale, {OrderStage.UNDONE}, undos=1),
    # While nobody can say whether it helped, because both AI Engines have just come back, it is taken back at once.
    "released scale": Story(_released_scale, {OrderStage.RELEASED, OrderStage.UNDONE}, undos=1),
}


async def _lived(stage: Stage, story: Story, deadly: Collection[Boundary] = ()) -> Run:
    made = story.schedule()
    async with stage.begin(made) as run:
        run.network.delivers_orders_twice = True
        await say("ada", "resume")(run)
        watch = Watch(run, set(deadly))
        await happen(run, made)
        await play_out(run, proposals=1, step_s=STEP_S)
        life = await conclude(run)
        deaths = sum(one.deaths for one in run.all_replicas())
        return Run(life, watch, deaths, list(run.network.order_deliveries.values()))


def _boundaries(undisturbed: Watch) -> list[Boundary]:
    """Return every boundary of a run, once.

    Where one replica passes two in a row, with nothing written in between, what a death leaves behind is the same.
    """
    found: dict[Boundary, None] = {}
    before = ""
    for name, here in undisturbed.passed:
        if not (name == before and here.named.startswith("before")):
            found[here] = None
        before = name if here.named.startswith("after") else ""
    return list(found)


def _rounds(boundaries: Sequence[Boundary]) -> list[set[Boundary]]:
    """Share the deaths out over runs."""
    rounds = [set[Boundary]() for _ in range(len(boundaries))]
    for kind in KINDS:
        own = [one for one in boundaries if one.service == kind]
        runs = -(-len(own) // DEATHS)
        for index, one in enumerate(own):
            rounds[index % runs].add(one)
    return [some for some in rounds if some]


def _problems(run: Run, story: Story) -> list[str]:
    """Say where a run did not end as it would with one replica that nobody kills."""
    evidence, found = run.life.evidence, list(run.life.broken)
    ended = [row["stage"] for row in evidence.journal.values()]
    if len(ended) != 1 or ended[0] not in story.may_end_in:
        found.append(f"the journal's orders ended in {ended}")
    writes = {kind: len(evidence.done(kind)) for kind in ("act", "undo", "let_go", "other")}
    if writes != {"act": 1, "undo": story.undos, "let_go": 1, "other": 0}:
        found.append(f"the cluster was written to otherwise: {writes}")
    if not run.deliveries or min(run.deliveries) < 2:
        found.append(f"orders were delivered {run.deliveries} times")
    if run.deaths != len(run.watch.died_at):
        found.append(f"{run.deaths} replicas died")
    return [f"killed at {sorted(map(str, run.watch.died_at))}: {problem}" for problem in found]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", STORIES)
def test_killing_a_replica_at_any_boundary_changes_nothing(
    name: str, part: int, stage: Stage, lived: Callable[[Lived], None]
) -> None:
    story = STORIES[name]
    undisturbed = stage.run(_lived(stage, story))
    assert _problems(undisturbed, story) == []
    boundaries = _boundaries(undisturbed.watch)
    assert {one.service for one in boundaries} == set(KINDS)

    told: list[str] = []
    left = _rounds(boundaries)[part::PARTS]
    while left:
        deadly = left.pop(0)
        run = stage.run(_lived(stage, story, deadly))
        lived(run.life)
        told += _problems(run, story)
        # An earlier death may lead past a later one's place: among fewer it does happen, at the latest alone.
        missed = [one for one in boundaries if one in deadly - run.watch.died_at]
        assert len(missed) < len(deadly), f"nobody came to {missed}"
        left += [set(half) for half in (missed[::2], missed[1::2]) if half]

    assert told == []

"""How often Aegis would act where nothing breaks: the AI Engine over drawn worlds, on their own time.

Each seed is another day: other workloads, another call graph, other traffic, on which people deploy, scale and restart
as a story tells it (`examples/09-quiet`). Whatever is proposed then is wrong, and ends this with exit code 1.
"""

import argparse
import asyncio
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from aegis.ai_engine.pipeline import Freshness, Pipeline
from aegis.ai_engine.ports import ObjectChange, Sample, labels_of
from aegis.ai_engine.sources.kubernetes import PATHS
from aegis.cli.demo.story import Story, load_story
from aegis.kit.clock import VirtualClock
from aegis.simulator.world.faults import STEP
from aegis.simulator.world.scenario import Scenario
from aegis.simulator.world.world import World

STORY = Path("examples/09-quiet/story.yaml")
COLUMN = timedelta(seconds=15)
CONCLUDE = timedelta(seconds=5)
WARM = timedelta(seconds=60)


@dataclass
class Day:
    seed: int
    workload_hours: float = 0.0
    incidents: list[str] = field(default_factory=list)
    proposals: list[str] = field(default_factory=list)


class Eyes:
    """The AI Engine's pipeline, fed with a world's changes and signals as its watches would."""

    def __init__(self, world: World, clock: VirtualClock, day: Day) -> None:
        self._world, self._clock, self._day = world, clock, day
        self._pipeline = Pipeline(cluster_id="days", metrics_interval=COLUMN)
        self._seen = world.store.history.oldest
        self._column_at = clock.now()

    async def look_until(self, end: datetime) -> None:
        while self._clock.now() < end:
            await self._clock.advance(CONCLUDE)
            now = self._clock.now()
            self._world.advance(now)
            self._take_changes(now)
            if now >= self._column_at:
                self._pipeline.take([_sample(one, now) for one in self._world.samples()], now)
                self._column_at = now + COLUMN
            self._conclude(now)

    def _take_changes(self, now: datetime) -> None:
        changes = self._world.store.changes(self._seen)
        self._seen = self._world.store.resource_version
        self._pipeline.apply(
            ObjectChange(one.resource.plural, one.object, now, one.type == "DELETED")
            for one in changes
            if one.resource.plural in PATHS
        )

    def _conclude(self, now: datetime) -> None:
        stale = COLUMN * 3
        fresh = Freshness(now, self._pipeline.metrics_as_of, True, stale, cluster_stale_after=stale)
        found = self._pipeline.conclude(now, fresh)
        at = f"{now - self._world.began_at}"
        for report in found.reports:
            if report.diagnosis is not None and not report.resolved:
                probable = report.diagnosis.probable
                self._day.incidents.append(
                    f"{at} {probable.cause} {probable.confidence} {probable.subject}: {probable.summary}"
                )
        for one in found.proposals:
            self._day.proposals.append(f"{at} {one.action.kind} {one.target} {one.confidence}: {one.rationale}")


def _sample(one: Any, now: datetime) -> Sample:
    return Sample(one.metric, labels_of(one.labels), one.value, now.timestamp())


def named(given: Any, names: list[str]) -> Any:
    """Put workloads' names where a story says `#2`."""
    return names[int(given[1:])] if isinstance(given, str) and re.fullmatch(r"#\d+", given) else given


async def live(story: Story, seed: int) -> Day:
    clock, day = VirtualClock(), Day(seed)
    world = Scenario.model_validate({**story.scenario, "name": story.name, "seed": seed}).world(clock)
    eyes = Eyes(world, clock, day)
    await eyes.look_until(clock.now() + WARM)
    workloads = [one.workload for one in world.health()]
    names = sorted(f"{one.namespace}/{one.name}" for one in workloads if one.kind == "Deployment")
    for given in story.steps:
        step = {key: named(value, names) for key, value in given.items()}
        at = clock.now() + timedelta(seconds=step.pop("at_s"))
        world.plan(at, STEP.validate_python(step))
    await eyes.look_until(clock.now() + timedelta(seconds=story.within_s))
    day.workload_hours = len(workloads) * story.within_s / 3600
    return day


def day_of(story: Story, seed: int) -> Day:
    return asyncio.run(live(story, seed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=24, help="how many are drawn")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--story", type=Path, default=STORY)
    given = parser.parse_args()
    lived: list[Day] = []
    with ProcessPoolExecutor() as processes:
        seeds = range(given.first_seed, given.first_seed + given.days)
        for day in processes.map(partial(day_of, load_story(given.story)), seeds):
            lived.append(day)
            for kind, found in (("incident", day.incidents), ("PROPOSAL", day.proposals)):
                for one in found:
                    print(f"seed {day.seed}: {kind} {one}", flush=True)
    hours = sum(one.workload_hours for one in lived)
    wrong = sum(len(one.proposals) for one in lived)
    noisy = sum(bool(one.incidents) for one in lived)
    print(f"{len(lived)} days of {hours:.0f} workload-hours: {wrong} actions proposed, {noisy} days with an incident")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

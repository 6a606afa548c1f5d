"""Scenario files: a story with an ending, refused with a clear word where it makes no sense."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from aegis.kit.clock import VirtualClock
from aegis.kit.errors import InvalidError
from aegis.simulator.world.scenario import Scenario, load, parse
from aegis.simulator.world.world import World

STORY = """
name: A bad revision of the front door
seed: 7
topology: {shape: random, workloads: 8}
steps:
  - {at_s: 60, do: deploy, target: "@entry", tag: 9.9.0, behaviour: {error_share: 0.5}, note: the fault}
  - {at_s: 150, do: undo, target: "@entry"}
"""


def failing(world: World, *, last_s: int) -> float:
    since = world.clock.now() - timedelta(seconds=last_s)
    recent = [each for each in world.telemetry.users if each.at > since]
    return sum(each.failed for each in recent) / sum(each.requests for each in recent)


async def test_a_story_runs_from_beginning_to_end() -> None:
    clock = VirtualClock()
    world = parse(STORY).world(clock)

    shares = []
    for _ in range(6):
        await clock.advance(timedelta(seconds=50))
        world.advance(clock.now())
        shares.append(failing(world, last_s=15))

    assert shares[0] == 0.0
    assert shares[1] > 0.2
    assert shares[2] > 0.2
    assert shares[-1] == 0.0


async def test_a_world_lives_along_with_its_clock() -> None:
    clock = VirtualClock()
    world = parse(STORY).world(clock)
    living = asyncio.create_task(world.run())

    await asyncio.sleep(0)
    await clock.advance(timedelta(seconds=30))
    living.cancel()

    assert world.telemetry.users[-1].at - world.began_at >= timedelta(seconds=29)


def test_two_worlds_of_a_scenario_are_the_same() -> None:
    def signals(scenario: Scenario) -> list[object]:
        world = scenario.world(VirtualClock())
        world.advance(world.began_at + timedelta(seconds=100))
        return list(world.samples())

    assert signals(parse(STORY)) == signals(parse(STORY))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{name: x}", "seed is missing"),
        ("{name: x, seed: 1, duration_s: 300}", "duration_s is not known here"),
        ("{name: x, seed: 1, steps: [{at_s: 1, do: explode}]}", "steps[0].step"),
        ("{name: x, seed: 1, steps: [{at_s: 1, do: scale, target: web, replicas: 1}]}", "steps[0].step.scale.target"),
        ("{name: x, seed: 1, steps: [{do: undo, target: a/b}]}", "steps[0].at_s"),
        ("{name: x, seed: 1, topology: {workloads: 99}}", "topology.workloads"),
        (
            "{name: x, seed: 1, steps: [{at_s: 1, do: deploy, target: a/b, tag: x, behaviour: {explode: 1}}]}",
            "explode",
        ),
        ("{name: [", "is no YAML"),
        ("nothing", "the file"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text, source="story.yaml")

    assert complaint in caught.value.message
    assert "story.yaml" in caught.value.message


def test_a_scenario_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "story.yaml").write_text(STORY)

    assert load(tmp_path / "story.yaml").seed == 7
    with pytest.raises(InvalidError, match="cannot be read"):
        load(tmp_path / "missing.yaml")


def test_a_step_that_cannot_be_done_is_told_and_the_world_goes_on() -> None:
    world = parse("{name: x, seed: 1, steps: [{at_s: 5, do: undo, target: '@entry'}]}").world(VirtualClock())

    world.advance(world.began_at + timedelta(seconds=30))

    assert "undo was refused" in world.story[0][1]
    assert world.telemetry.users

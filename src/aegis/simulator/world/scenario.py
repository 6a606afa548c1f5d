"""A scenario: a world drawn from a seed, and what happens in it when, read from a YAML file."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from aegis.kit.clock import Clock
from aegis.kit.errors import InvalidError
from aegis.kit.mistakes import mistake_of
from aegis.kit.yaml import YamlError, read_yaml
from aegis.simulator.world.programs import Program
from aegis.simulator.world.timed import TimedStep
from aegis.simulator.world.topologies import TopologySpec, draw
from aegis.simulator.world.world import World


class Scenario(BaseModel):
    """A story with an ending."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    seed: int
    topology: TopologySpec = TopologySpec()
    images: dict[str, Program] = {}
    """Images beyond those of the topology, for manifests that a step applies."""
    steps: tuple[TimedStep, ...] = ()

    def world(self, clock: Clock) -> World:
        """Make the world and plan its steps; nothing has happened yet."""
        world = World(seed=self.seed, clock=clock)
        world.install(draw(self.seed, self.topology))
        for image, program in self.images.items():
            world.registry.push(image, program)
        for each in self.steps:
            world.plan(world.began_at + timedelta(seconds=each.at_s), each.step)
        return world


def parse(text: str, *, source: str = "scenario") -> Scenario:
    """Read a scenario.

    >>> parse("{name: quiet, seed: 1, steps: [{at_s: 60, do: surge, factor: 2, for_s: 30}]}").steps[0].step.do
    'surge'

    Raises:
        InvalidError: with every mistake in it, and where it is.
    """
    try:
        return Scenario.model_validate(read_yaml(text))
    except YamlError as error:
        raise InvalidError(f"{source} is no YAML: {error}") from error
    except ValidationError as error:
        mistakes = "; ".join(_mistake(each) for each in error.errors())
        raise InvalidError(
            f"{source}: {mistakes}", hint="the steps are listed in aegis.simulator.world.faults"
        ) from error


def load(path: Path) -> Scenario:
    """Read a scenario's file.

    Raises:
        InvalidError: the file is not there or not a scenario.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"scenario {path} cannot be read: {error}") from error
    return parse(text, source=path.name)


def _mistake(error: Any) -> str:
    mistake = mistake_of(error)
    return f"{mistake.field or 'the file'} {mistake.message}"

"""Whatever goes wrong, in whatever order, the rules hold. A seed that breaks one is named."""

from collections.abc import Callable

import pytest
from tests.simulation.conftest import Stage

from aegis.simulator.together.living import Lived, live
from aegis.simulator.together.schedules import random_schedule


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("first_seed")
        metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("schedules")))


def test_the_rules_hold_whatever_happens(seed: int, stage: Stage, lived: Callable[[Lived], None]) -> None:
    async def story() -> Lived:
        schedule = random_schedule(seed)
        async with stage.begin(schedule) as run:
            return await live(run, schedule)

    lived(stage.run(story()))

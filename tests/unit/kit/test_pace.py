"""A shared fast clock, and who slows it down."""

from datetime import timedelta
from pathlib import Path

import pytest

from aegis.kit.clock import clock_from
from aegis.kit.pace import Pace
from aegis.simulator.world.governor import Governor, slowdown

EPOCH = 1_767_571_200.0


def test_everybody_reads_the_same_clock_and_a_new_rate_makes_no_jump(tmp_path: Path) -> None:
    pace = Pace.begin(tmp_path / "clock", epoch=EPOCH, rate=1000)
    clock, other = clock_from(f"paced:{tmp_path / 'clock'}"), clock_from(f"paced:{tmp_path / 'clock'}")

    before = clock.now()
    pace.change(0.001)
    after, after_that = clock.now(), other.now()

    assert before <= after <= after_that
    assert after_that - after < timedelta(seconds=1)


async def test_a_sleeper_wakes_by_the_clock(tmp_path: Path) -> None:
    pace = Pace.begin(tmp_path / "clock", epoch=EPOCH, rate=100)
    clock = clock_from(f"paced:{tmp_path / 'clock'}")
    end = clock.now() + timedelta(seconds=100)

    pace.change(100_000)
    await clock.sleep(timedelta(seconds=100))

    assert clock.now() >= end


def test_a_clock_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing-here"):
        clock_from(f"paced:{tmp_path / 'nothing-here'}")


def test_a_world_that_lags_slows_the_clock_and_one_that_caught_up_does_not(tmp_path: Path) -> None:
    pace = Pace.begin(tmp_path / "clock", epoch=EPOCH, rate=60)
    governor = Governor(pace)

    governor.oversee(lambda: None, lag_s=80)
    lagging = pace.rate
    governor.oversee(lambda: None, lag_s=1)

    assert lagging == pytest.approx(60 / slowdown(share=1, lag_s=80))
    assert pace.rate == 60

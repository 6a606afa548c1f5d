"""The arithmetic of the columnar detectors, compiled at first use: importing this module compiles nothing."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Kernel = Callable[..., None]


@cache
def usual_range() -> Kernel:
    """Return the compiled `_usual_range`."""
    return _compiled(_usual_range)


@cache
def steady_rise() -> Kernel:
    """Return the compiled `_steady_rise`."""
    return _compiled(_steady_rise)


def _compiled(function: Any) -> Kernel:
    """One thread: memory is the limit, so a second one wins little, and threads cost a service more than that."""
    import numba  # noqa: PLC0415 (half a second that only those who score pay)

    kernel: Kernel = numba.njit(cache=True, nogil=True)(function)
    return kernel


# The weights of the four looks at a value, and where the score is one half (in scales off the usual).
_LEVEL, _FAST, _DIFF, _ENERGY = 0.4, 0.3, 0.1, 0.2
_HALF = 16.0
_FAR = 20.0
_FLOOR_SHARE = 0.5
_LEVEL_SHARE = 0.02
_SIGMA = 1.25


def _usual_range(  # noqa: PLR0917 (compiled functions know no keywords)
    values: Floats, mask: Mask, floors: Floats, state: tuple[Floats, ...], scores: Floats,
    slow_rate: float, fast_rate: float, energy_rate: float,
    warm_up: float, freeze_at: float, frozen_share: float,
) -> None:  # fmt: skip
    slow, fast, spread, diff, energy, last, count = state
    for i in range(values.shape[0]):
        if not mask[i]:
            scores[i] = 0.0
            continue
        x = values[i]
        if count[i] == 0.0:
            slow[i] = fast[i] = last[i] = x
            spread[i] = diff[i] = energy[i] = 0.0
            count[i] = 1.0
            scores[i] = 0.0
            continue
        floor = max(floors[i] * _FLOOR_SHARE, abs(slow[i]) * _LEVEL_SHARE)
        level_scale = max(spread[i] * _SIGMA, floor)
        diff_scale = max(diff[i] * _SIGMA, floor)
        off = x - slow[i]
        step = abs(x - last[i])
        level = min(abs(off) / level_scale, _FAR)
        fast[i] += fast_rate * (x - fast[i])
        energy[i] += energy_rate * (level * level - energy[i])
        raw = (
            _LEVEL * level
            + _FAST * min(abs(fast[i] - slow[i]) / level_scale, _FAR)
            + _DIFF * min(step / diff_scale, _FAR)
            + _ENERGY * np.sqrt(energy[i])
        )
        score = raw * raw / (raw * raw + _HALF) if count[i] >= warm_up else 0.0
        scores[i] = score
        # While warming up it averages; afterwards it forgets slowly. The less usual a value is, the less is learned
        # from it: what rises step by step would otherwise teach a young series that it is usual.
        rate = max(1.0 / (count[i] + 1.0), slow_rate) * max(0.0, 1.0 - score / freeze_at)
        rate = max(rate, slow_rate * frozen_share)
        slow[i] += rate * off
        spread[i] += rate * (abs(off) - spread[i])
        diff[i] += rate * (step - diff[i])
        last[i] = x
        count[i] += 1.0


def _steady_rise(  # noqa: PLR0917
    values: Floats, mask: Mask, floors: Floats, state: tuple[Floats, ...], scores: Floats, rate: float, warm_up: float
) -> None:
    move, travel, last, count = state
    for i in range(values.shape[0]):
        scores[i] = 0.0
        if not mask[i]:
            continue
        x = values[i]
        if count[i] == 0.0:
            last[i] = x
            move[i] = travel[i] = 0.0
            count[i] = 1.0
            continue
        step = x - last[i]
        share = max(1.0 / count[i], rate)
        move[i] += share * (step - move[i])
        travel[i] += share * (abs(step) - travel[i])
        last[i] = x
        count[i] += 1.0
        risen = move[i] / rate
        if count[i] > warm_up and travel[i] > 0.0 and risen > floors[i]:
            scores[i] = (move[i] / travel[i]) ** 2

"""Tier 0 beside what people would otherwise take: river's half-space trees and a rolling z-score in pandas.

Run `python benchmarks/detection.py`. All three score the same numbers in the same run; what counts is the ratio.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from river.anomaly import HalfSpaceTrees

from aegis.ai_engine.detection.usual_range import UsualRange

GOAL = 25e6
# Of the slow ones a sample is enough to know their speed.
RIVER_SAMPLES = 6_000
PANDAS_SERIES, PANDAS_COLUMNS, PANDAS_WINDOW = 2_000, 240, 60


def columns(series: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(100, 5, (count, series)).astype(np.float32)


def seconds(work: Callable[[], object], *, repeats: int) -> float:
    """Return the best of several runs: the others were disturbed."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def tier_zero(series: int, *, repeats: int) -> float:
    """Return series-samples a second of one column after another."""
    values = columns(series, 8)
    detector = UsualRange(series)
    seen, floors = np.ones(series, np.bool_), np.full(series, 0.5, np.float32)
    detector.step(values[0], seen, floors)  # compiles

    def work() -> None:
        for column in values:
            detector.step(column, seen, floors)

    return values.size / seconds(work, repeats=repeats)


def half_space_trees(*, repeats: int) -> float:
    values = columns(1, RIVER_SAMPLES)[:, 0].tolist()

    def work() -> None:
        model = HalfSpaceTrees(seed=1)
        for value in values:
            point = {"x": value}
            model.score_one(point)
            model.learn_one(point)

    return len(values) / seconds(work, repeats=repeats)


def rolling_z_score(*, repeats: int) -> float:
    frame = pd.DataFrame(columns(PANDAS_SERIES, PANDAS_COLUMNS))

    def work() -> pd.DataFrame:
        window = frame.rolling(PANDAS_WINDOW)
        return ((frame - window.mean()) / window.std()).abs()

    return frame.size / seconds(work, repeats=repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    river, pandas = half_space_trees(repeats=2), rolling_z_score(repeats=given.repeats)
    print(f"one thread each; tier 0 keeps {UsualRange(1).bytes_per_series} bytes a series")
    print(f"{'detector':34} {'series-samples/s':>18} {'river':>10} {'pandas':>10}")
    print(f"{'river HalfSpaceTrees':34} {river:18,.0f} {1:>9}x {river / pandas:>9.3f}x")
    print(f"{'pandas rolling z-score':34} {pandas:18,.0f} {pandas / river:>9,.0f}x {1:>9}x")
    for series in given.series:
        ours = tier_zero(series, repeats=given.repeats)
        reached = "goal reached" if ours >= GOAL else f"below the goal of {GOAL / 1e6:.0f} M"
        name = f"tier 0, {series:,} series"
        print(f"{name:34} {ours:18,.0f} {ours / river:>9,.0f}x {ours / pandas:>9.1f}x  {reached}")


if __name__ == "__main__":
    main()

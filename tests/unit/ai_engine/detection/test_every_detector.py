"""What every columnar detector promises, checked for each line of the registry."""

import numpy as np
import pytest

from aegis.ai_engine.detection.registry import DETECTORS, Detector

SERIES = 6
COLUMNS = 60


def columns(seed: int = 1) -> np.ndarray:
    """Six series of different temper: noise, a level shift, a climb, spikes, silence, huge numbers."""
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 1, (COLUMNS, SERIES))
    values[40:, 1] += 30
    values[:, 2] = np.linspace(0, 100, COLUMNS)
    values[::13, 3] *= 50
    values[:, 4] = 0
    values[:, 5] *= 1e9
    return values.astype(np.float32)


def scores(name: str, values: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    detector = DETECTORS[name](SERIES)
    floors = np.full(SERIES, 0.5, np.float32)
    seen = np.ones(values.shape, np.bool_) if mask is None else mask
    return np.array([detector.step(row, present, floors) for row, present in zip(values, seen, strict=True)])


@pytest.fixture(params=sorted(DETECTORS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_scores_are_between_zero_and_one(name: str) -> None:
    found = scores(name, columns())

    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_memory_does_not_grow_with_time(name: str) -> None:
    detector: Detector = DETECTORS[name](SERIES)
    floors, seen = np.full(SERIES, 0.5, np.float32), np.ones(SERIES, np.bool_)
    before = detector.state().nbytes

    for row in columns():
        detector.step(row, seen, floors)

    assert detector.state().nbytes == before == SERIES * detector.bytes_per_series
    assert detector.bytes_per_series <= 28


def test_the_score_of_a_beginning_does_not_know_the_end(name: str) -> None:
    values = columns()

    np.testing.assert_array_equal(scores(name, values[:45]), scores(name, values)[:45])


def test_the_same_input_gets_the_same_answer(name: str) -> None:
    np.testing.assert_array_equal(scores(name, columns()), scores(name, columns()))


def test_it_is_silent_while_it_warms_up(name: str) -> None:
    assert scores(name, columns())[:4].max() == 0


def test_a_series_knows_nothing_of_its_neighbours(name: str) -> None:
    values, other = columns(), columns()
    other[:, 3:] *= -7

    np.testing.assert_array_equal(scores(name, values)[:, :3], scores(name, other)[:, :3])


def test_what_is_missing_scores_nothing_and_teaches_nothing(name: str) -> None:
    values = columns()
    mask = np.ones(values.shape, np.bool_)
    mask[20:30] = False
    nonsense = values.copy()
    nonsense[20:30] = 1e6

    found = scores(name, nonsense, mask)

    assert found[20:30].max() == 0
    np.testing.assert_array_equal(found, scores(name, values, mask))


def test_a_detector_goes_on_where_its_state_was_kept(name: str) -> None:
    values, floors, seen = columns(), np.full(SERIES, 0.5, np.float32), np.ones(SERIES, np.bool_)
    first = DETECTORS[name](SERIES)
    for row in values[:30]:
        first.step(row, seen, floors)
    second = DETECTORS[name](SERIES)

    second.restore(first.state())

    np.testing.assert_array_equal(first.step(values[30], seen, floors), second.step(values[30], seen, floors))


def test_a_slot_that_is_given_to_another_series_starts_anew(name: str) -> None:
    floors, seen = np.full(SERIES, 0.5, np.float32), np.ones(SERIES, np.bool_)
    detector = DETECTORS[name](SERIES)
    for row in columns():
        detector.step(row, seen, floors)

    detector.forget(1)

    assert detector.state()[:, 1].max() == 0
    assert detector.state()[:, 0].max() > 0


def test_growing_keeps_what_was_learned(name: str) -> None:
    floors, seen = np.full(SERIES, 0.5, np.float32), np.ones(SERIES, np.bool_)
    detector = DETECTORS[name](SERIES)
    for row in columns():
        detector.step(row, seen, floors)
    before = detector.state()

    detector.resize(SERIES * 2)

    np.testing.assert_array_equal(detector.state()[:, :SERIES], before)
    assert detector.state()[:, SERIES:].max() == 0

"""The board: newest values as columns, whatever samples do."""

import numpy as np
import pytest
from tests.unit.ai_engine.builders import CLUSTER, SHOP, ref

from aegis.ai_engine.detection.anomalies import Anomalies
from aegis.ai_engine.detection.board import Board
from aegis.ai_engine.ports import Sample, labels_of
from aegis.catalogue.signals import (
    CALL_ERROR_RATIO,
    CONNECTIONS_REFUSED,
    ERROR_RATIO,
    LATENCY,
    MEMORY_USAGE,
    REQUEST_RATE,
    Signal,
)

STEP = 15.0
T0 = 1_767_600_000.0


class Shown:
    """A board fed by hand, one column every fifteen seconds."""

    def __init__(self) -> None:
        self.board = Board(cluster_id=CLUSTER, step_seconds=STEP, capacity=4)
        self.anomalies = Anomalies(self.board)
        self.now = T0

    def column(self, *samples: Sample) -> None:
        self.now += STEP
        self.board.take(samples, self.now)
        self.anomalies.update(self.now)

    def show(self, signal: Signal, values: list[float | None], name: str = "web") -> None:
        for value in values:
            self.column(*([self.sample(signal, value, name)] if value is not None else []))

    def sample(self, signal: Signal, value: float, name: str = "web", *, age: float = 0.0, **labels: str) -> Sample:
        found = labels_of({"namespace": SHOP, "kind": "Deployment", "workload": name, **labels})
        return Sample(signal.metric, found, value, self.now + STEP - age)


def test_a_window_holds_what_was_shown_without_what_was_missing() -> None:
    shown = Shown()

    shown.show(LATENCY, [0.1, None, 0.3])

    window = shown.board.window(LATENCY, ref("web"), start=T0, end=shown.now)
    np.testing.assert_allclose(window.values, [0.1, 0.3], rtol=1e-6)
    assert list(window.at) == [T0 + STEP, T0 + 3 * STEP]


def test_a_sample_older_than_three_steps_is_missing() -> None:
    shown = Shown()

    shown.column(shown.sample(LATENCY, 9.0, age=46))
    shown.column(shown.sample(LATENCY, 1.0, age=44))

    assert len(shown.board.window(LATENCY, ref("web"), start=T0, end=shown.now)) == 1


def test_a_sample_of_the_future_is_missing_and_makes_nothing_old() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1])

    shown.column(shown.sample(LATENCY, 9.0, age=-3600))
    shown.show(LATENCY, [0.2])

    assert shown.board.newest_at == shown.now
    assert shown.board.latest(LATENCY, ref("web"), now=shown.now) == pytest.approx(0.2)


def test_a_clock_that_goes_back_keeps_what_is_usual_and_waits_for_nothing() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1] * 40)
    band = shown.board.band(LATENCY, ref("web"))
    shown.now -= 7200

    shown.show(LATENCY, [0.1])

    assert shown.board.newest_at == shown.now
    assert shown.board.band(LATENCY, ref("web")) == band
    assert len(shown.board.window(LATENCY, ref("web"), start=T0 - 7200, end=T0 + 7200)) == 1


def test_an_anomaly_that_lasts_while_the_clock_goes_back_begins_anew() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1] * 40 + [2.0] * 6)
    assert len(shown.anomalies.findings()) == 1
    shown.now -= 7200

    shown.show(LATENCY, [2.0] * 6)

    [found] = shown.anomalies.findings()
    assert found.started_at.timestamp() <= found.observed_at.timestamp() <= shown.now


def test_the_newest_value_is_unknown_once_it_is_old() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1])

    assert shown.board.latest(LATENCY, ref("web"), now=shown.now + 40) is not None
    assert shown.board.latest(LATENCY, ref("web"), now=shown.now + 50) is None


def test_the_same_sample_again_is_not_a_new_observation() -> None:
    shown = Shown()
    sample = shown.sample(LATENCY, 0.1)

    shown.column(sample)
    shown.column(sample)

    assert len(shown.board.window(LATENCY, ref("web"), start=T0, end=shown.now)) == 1


def test_a_counter_is_looked_at_by_its_increase_and_a_reset_counts_from_zero() -> None:
    shown = Shown()

    shown.show(CONNECTIONS_REFUSED, [100, 103, 103, 2])

    window = shown.board.window(CONNECTIONS_REFUSED, ref("web"), start=T0, end=shown.now)
    assert list(window.values) == [3, 0, 2]


def test_more_series_than_there_was_room_for_are_taken_in() -> None:
    shown = Shown()

    shown.column(*(shown.sample(LATENCY, number, f"w{number}") for number in range(50)))

    assert len(shown.board) == 50
    assert shown.board.latest(LATENCY, ref("w49"), now=shown.now) == 49


def test_unknown_metrics_are_left_alone() -> None:
    shown = Shown()

    shown.column(Sample("aegis:something_else", labels_of({"workload": "web"}), 1.0, shown.now))

    assert len(shown.board) == 0


def test_calls_are_told_apart_by_whom_they_go_to() -> None:
    shown = Shown()

    shown.column(
        shown.sample(CALL_ERROR_RATIO, 0.5, peer_workload="cart"),
        shown.sample(CALL_ERROR_RATIO, 0.0, peer_workload="auth"),
    )

    assert shown.board.latest(CALL_ERROR_RATIO, ref("web"), now=shown.now, peer_workload="cart") == 0.5


def test_a_band_is_known_after_warm_up_and_never_thinner_than_what_matters() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1] * 5)
    assert shown.board.band(LATENCY, ref("web")) is None

    shown.show(LATENCY, [0.1] * 5)

    band = shown.board.band(LATENCY, ref("web"))
    assert band is not None
    assert band.high - 0.1 >= LATENCY.floor * 0.99
    assert band.holds(0.12)
    assert not band.holds(0.3)


def test_a_fault_is_not_learned_as_usual() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1, 0.11, 0.1, 0.09] * 5)

    shown.show(LATENCY, [1.0] * 40)

    band = shown.board.band(LATENCY, ref("web"))
    assert band is not None
    assert not band.holds(1.0)


def test_what_rises_step_by_step_does_not_teach_a_young_series_that_it_is_usual() -> None:
    """Five milliseconds become a hundred over a minute and a half, as rates over a window do when users pour in."""
    shown = Shown()
    shown.show(LATENCY, [0.005] * 10)

    shown.show(LATENCY, [0.005 + 0.012 * step for step in range(1, 10)] + [0.12] * 3)

    [found] = shown.anomalies.findings()
    assert found.signal == "latency_seconds"
    assert found.usual < 0.02


def test_a_high_value_that_lasts_becomes_an_anomaly_and_a_spike_does_not() -> None:
    shown = Shown()
    shown.show(ERROR_RATIO, [0.0] * 20)

    shown.show(ERROR_RATIO, [0.5])
    spike = shown.anomalies.findings()
    shown.show(ERROR_RATIO, [0.0, 0.0, 0.0])
    after = shown.anomalies.findings()
    shown.show(ERROR_RATIO, [0.5, 0.5, 0.6])
    [lasting] = shown.anomalies.findings()

    assert spike == after == []
    assert (lasting.signal, lasting.severity) == ("error_ratio", "critical")
    assert lasting.usual == pytest.approx(0, abs=0.01)


def test_an_anomaly_ends_when_the_value_is_back() -> None:
    shown = Shown()
    shown.show(ERROR_RATIO, [0.0] * 20 + [0.5] * 6)
    assert shown.anomalies.findings() != []

    shown.show(ERROR_RATIO, [0.0] * 3)

    assert shown.anomalies.findings() == []


def test_missing_data_neither_begins_nor_ends_an_anomaly() -> None:
    shown = Shown()
    shown.show(ERROR_RATIO, [0.0] * 20 + [0.5] * 6)

    shown.show(ERROR_RATIO, [None] * 5)

    assert len(shown.anomalies.findings()) == 1


def test_a_value_that_is_better_than_usual_is_no_finding() -> None:
    shown = Shown()
    shown.show(LATENCY, [1.0] * 20)

    shown.show(LATENCY, [0.1] * 6)

    assert shown.anomalies.findings() == []


def test_traffic_that_changes_is_worth_knowing_and_nobody_is_called_for_it() -> None:
    shown = Shown()
    shown.show(REQUEST_RATE, [10.0] * 20 + [50.0] * 6)

    assert {one.severity for one in shown.anomalies.findings()} == {"info"}


def test_memory_that_climbs_to_its_limit_is_foreseen_and_a_plateau_is_not() -> None:
    climbing, settling = Shown(), Shown()

    climbing.show(MEMORY_USAGE, [0.3 + 0.02 * step for step in range(30)])
    settling.show(MEMORY_USAGE, [0.9 - 0.6 * 0.7**step for step in range(40)])

    assert [one.severity for one in climbing.anomalies.findings()] == ["warning"]
    assert [one for one in settling.anomalies.findings() if one.severity != "info"] == []


def test_a_board_goes_on_where_it_was_kept() -> None:
    shown, again = Shown(), Shown()
    shown.show(LATENCY, [0.1, 0.12] * 10)

    again.board.restore(shown.board.to_plain())

    assert again.board.band(LATENCY, ref("web")) == shown.board.band(LATENCY, ref("web"))


def test_series_that_are_gone_give_their_slots_back() -> None:
    shown = Shown()
    shown.show(LATENCY, [0.1], name="gone")

    shown.show(LATENCY, [0.1] * 480, name="web")

    assert len(shown.board) == 1
    assert shown.board.slots(LATENCY, ref("gone")) == []

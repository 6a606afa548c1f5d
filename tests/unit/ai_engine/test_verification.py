"""Did it help? Better needs all, worse needs certainty, and what is not known is said to be unknown."""

from datetime import datetime, timedelta

import pytest
from tests.unit.ai_engine.builders import World

from aegis.catalogue.signals import ERROR_RATIO, LATENCY, REQUEST_RATE
from aegis.contracts.verifications import Judgement


@pytest.fixture
def world() -> World:
    """A revision that failed requests was just rolled back."""
    made = World()
    made.node("n1")
    made.deploy("web", env={"UPSTREAM": "cart"})
    made.deploy("cart")
    for name in ("web", "cart"):
        made.show(REQUEST_RATE, name, 20)
        made.show(ERROR_RATIO, name, 0.0)
        made.show(LATENCY, name, 0.05)
    made.run(300)
    made.show(ERROR_RATIO, "web", 0.3)
    made.run(120)
    return made


def acted(world: World) -> datetime:
    return world.now


def test_back_in_the_band_with_healthy_pods_is_better(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.001)
    world.run(60)

    verdict = world.verify("web", ERROR_RATIO, LATENCY, acted_at=at)

    assert verdict.judgement is Judgement.BETTER
    assert [one.in_band for one in verdict.signals] == [True, True]


def test_one_signal_still_outside_is_not_yet(world: World) -> None:
    at = acted(world)
    world.run(60)

    verdict = world.verify("web", ERROR_RATIO, LATENCY, acted_at=at)

    assert verdict.judgement is Judgement.NOT_YET
    assert "error_ratio" in verdict.reasons[0]


def test_the_band_is_that_of_before_the_incident_however_long_it_lasted(world: World) -> None:
    at = acted(world)
    world.run(3600)

    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.NOT_YET


def test_clearly_worse_for_two_columns_is_worse(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.8)
    world.run(40)
    once = world.verify("web", ERROR_RATIO, acted_at=at).judgement
    world.run(30)

    assert once is not Judgement.WORSE
    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.WORSE


def test_a_little_worse_is_only_not_yet(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.33)
    world.run(90)

    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.NOT_YET


def test_something_new_that_breaks_in_a_dependency_is_worse(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(20)
    world.crash("cart", 0)

    verdict = world.verify("web", ERROR_RATIO, acted_at=at)

    assert verdict.judgement is Judgement.WORSE
    assert [one.workload.name for one in verdict.new_findings] == ["cart"]


def test_what_broke_before_is_not_blamed_on_the_action(world: World) -> None:
    world.crash("cart", 0)
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(60)

    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is not Judgement.WORSE


def test_a_neighbours_own_rollout_is_not_blamed_on_the_action(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.roll_out("cart", 2)
    world.crash("cart", 0, revision=2)

    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.BETTER


def test_who_only_shares_the_node_is_harmed_only_by_what_is_scarce(world: World) -> None:
    world.deploy("stranger")
    world.run(60)
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(30)
    world.crash("stranger", 0)
    crash = world.verify("web", ERROR_RATIO, acted_at=at).judgement
    world.crash("stranger", 1, reason="OOMKilled", code=137)

    assert crash is Judgement.BETTER
    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.WORSE


def test_pods_that_are_not_ready_are_not_yet(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.deployment_status("web", ready=1)
    world.run(60)

    verdict = world.verify("web", ERROR_RATIO, acted_at=at)

    assert verdict.judgement is Judgement.NOT_YET
    assert "1 of 2" in verdict.reasons[0]


def test_pods_of_another_revision_are_not_yet(world: World) -> None:
    world.roll_out("web", 2)
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(60)

    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.NOT_YET


def test_metrics_that_are_gone_make_it_unknown(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(30)
    world.metrics_answer = False
    world.run(60)

    assert world.verify("web", ERROR_RATIO, acted_at=at).judgement is Judgement.UNKNOWN


def test_a_signal_without_data_makes_it_unknown(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", None)
    world.run(60)

    verdict = world.verify("web", ERROR_RATIO, acted_at=at)

    assert verdict.judgement is Judgement.UNKNOWN
    assert verdict.signals[0].in_band is None


def test_objects_that_are_out_of_date_make_it_unknown(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.cluster_answers = False
    world.run(60)

    verdict = world.verify("web", ERROR_RATIO, acted_at=at)

    assert verdict.judgement is Judgement.UNKNOWN
    assert "out of date" in verdict.reasons[0]


def test_where_no_signals_are_named_objects_alone_decide_and_the_reasons_say_so() -> None:
    world = World(metrics=False)
    world.deploy("web")
    world.run(60)

    verdict = world.verify("web", acted_at=world.now - timedelta(minutes=1))

    assert verdict.judgement is Judgement.BETTER
    assert "objects alone" in verdict.reasons[0]


def test_a_metrics_system_that_is_gone_since_signals_were_named_makes_it_unknown(world: World) -> None:
    at = acted(world)
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(60)
    world.has_metrics = False

    verdict = world.verify("web", ERROR_RATIO, acted_at=at)

    assert verdict.judgement is Judgement.UNKNOWN
    assert "metrics system" in verdict.reasons[0]


def test_a_workload_that_is_gone_is_not_better(world: World) -> None:
    assert world.verify("nobody", acted_at=world.now).judgement is Judgement.NOT_YET


def test_an_incident_nobody_knows_is_judged_by_what_is_usual_now(world: World) -> None:
    world.show(ERROR_RATIO, "web", 0.0)
    world.run(60)

    verdict = world.verify("web", ERROR_RATIO, acted_at=world.now - timedelta(minutes=1), key="inc-unknown")

    assert verdict.judgement is Judgement.BETTER


# -- may a temporary change be given back?


@pytest.fixture
def surged() -> World:
    made = World()
    made.deploy("web")
    made.show(REQUEST_RATE, "web", 20)
    made.show(LATENCY, "web", 0.05)
    made.run(300)
    made.show(REQUEST_RATE, "web", 80)
    made.show(LATENCY, "web", 0.9)
    made.run(120)
    return made


def test_a_change_is_needed_while_traffic_is_above_what_was_usual(surged: World) -> None:
    surged.show(LATENCY, "web", 0.05)
    surged.run(180)

    verdict = surged.verify("web", acted_at=surged.now, purpose="release")

    assert verdict.judgement is Judgement.NOT_YET


def test_a_change_may_be_given_back_once_traffic_has_been_usual_for_a_while(surged: World) -> None:
    surged.show(REQUEST_RATE, "web", 20)
    surged.show(LATENCY, "web", 0.05)
    surged.run(60)
    early = surged.verify("web", acted_at=surged.now, purpose="release").judgement
    surged.run(120)

    assert early is Judgement.NOT_YET
    assert surged.verify("web", acted_at=surged.now, purpose="release").judgement is Judgement.BETTER


def test_whether_a_change_may_be_given_back_is_unknown_without_traffic(surged: World) -> None:
    surged.metrics_answer = False
    surged.run(120)

    assert surged.verify("web", acted_at=surged.now, purpose="release").judgement is Judgement.UNKNOWN

"""What chance brings up too seldom: each run leads to one move of a remediation, one action, or one guardrail's no."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.simulation.conftest import Stage
from tests.simulation.small import SCALE_OUT, bad_revision, hopeless, play_out, schedule

from aegis.contracts.remediations import RemediationState as S
from aegis.simulator.together.living import Exercised, Lived, conclude, happen
from aegis.simulator.together.network import Trouble
from aegis.simulator.together.replicas import CrashError
from aegis.simulator.together.schedules import (
    CALM,
    Schedule,
    alert,
    config_map,
    keep,
    propose,
    review,
    say,
    step,
    take_back,
    weather,
)
from aegis.simulator.together.together import Together
from aegis.simulator.world.faults import STEP

Act = Callable[[Together], Awaitable[None]]
RESTART: dict[str, Any] = {"kind": "restart_workload", "allow_single_replica": True}


# What a run consists of


def turns(*names: str) -> Act:
    """Let services take their steps in this order, in no time."""

    async def act(run: Together) -> None:
        for name in names:
            await run.turn(name)

    return act


def away(kind: str, *, for_s: float, tick_s: float = 400.0) -> Act:
    """Let the only replica of a service be gone for so long."""

    async def act(run: Together) -> None:
        (replica,) = run.replicas[kind]  # type: ignore[index]
        await replica.die(back_at=run.clock.now() + timedelta(seconds=for_s))
        await run.run(for_s, tick_s=tick_s)

    return act


def passing(seconds: float, *, tick_s: float = 5.0) -> Act:
    async def act(run: Together) -> None:
        await run.run(seconds, tick_s=tick_s)

    return act


def until(state: S) -> Act:
    """Let time pass until the only remediation is in this state."""

    async def act(run: Together) -> None:
        for _ in range(200):
            if await _state(run) == state:
                return
            await run.tick(timedelta(seconds=5))
        raise AssertionError(f"it never was {state}, it is {await _state(run)}")

    return act


def over(*, proposals: int = 1) -> Act:
    async def act(run: Together) -> None:
        await play_out(run, proposals=proposals)

    return act


async def alert_fires(run: Together) -> None:
    await alert("@entry", resolved=False)(run)


async def alert_resolves(run: Together) -> None:
    await alert("@entry", resolved=True)(run)
    await run.turn("backend.step")


async def proposed_for_the_alert(run: Together) -> None:
    key = await run.records.fetchval("SELECT key FROM incidents")
    await propose("@entry", SCALE_OUT, incident=key)(run)


def does(do: Callable[[Together], Awaitable[str]]) -> Act:
    async def act(run: Together) -> None:
        run.story.append((run.clock.now(), await do(run)))

    return act


def at_the_write(change: Callable[[Together], None]) -> Act:
    """Let something happen in the moment before the Executor writes to the cluster."""

    async def act(run: Together) -> None:
        (executor,) = run.replicas["executor"]
        untouched = executor.at_boundary

        def passes(boundary: str) -> None:
            if boundary.startswith("before sending PATCH"):
                executor.at_boundary = untouched
                change(run)

        executor.at_boundary = passes

    return act


def _someone_scales(run: Together) -> None:
    run.world.do(STEP.validate_python({"do": "scale", "target": "@entry", "replicas": 3}))


def _dies_while_someone_scales(run: Together) -> None:
    _someone_scales(run)
    (executor,) = run.replicas["executor"]
    executor.back_at = run.clock.now() + timedelta(seconds=2000)
    raise CrashError(executor, "before it wrote")


def _answers_get_lost(run: Together) -> None:
    run.network.troubles["executor", "cluster"] = Trouble(answer_lost=1.0)


async def _answers_come_again(run: Together) -> None:
    run.network.troubles["executor", "cluster"] = CALM


async def _state(run: Together) -> str:
    return str(await run.records.fetchval("SELECT state FROM remediations"))


# The runs


@dataclass(frozen=True)
class Case:
    """A run, and what comes up in it, as `Exercised` names it."""

    schedule: Callable[[], Schedule]
    acts: tuple[Act, ...]
    shows: str


def _case(shows: str, made: Callable[[], Schedule], *acts: Act) -> Case:
    return Case(made, acts, shows)


TO_DECIDING = ("backend.step", "executor.fetch")
TO_ORDERED = (*TO_DECIDING, "backend.step")
TO_BLOCKED = (*TO_ORDERED, "executor.fetch", "executor.step")
SCALE = does(propose("@entry", SCALE_OUT))
PAUSE, RESUME = does(say("ole", "pause")), does(say("ada", "resume"))
AFTER_THE_COOLDOWN = passing(300, tick_s=60)
FOR_THE_ALERT = (alert_fires, proposed_for_the_alert)


def _quiet(**given: Any) -> Callable[[], Schedule]:
    return lambda: schedule(21, **given)


def _hopeless() -> Schedule:
    return hopeless(schedule(22))


def _hopeless_while_paused() -> Schedule:
    return hopeless(schedule(28).at(6, say("ole", "pause")))


def _in_approve_mode() -> Schedule:
    return schedule(23, mode="approve")


def _within(namespaces: str) -> Callable[[], Schedule]:
    return _quiet(executor_settings={"namespaces": namespaces})


def _protecting(namespaces: str) -> Callable[[], Schedule]:
    return _quiet(executor_settings={"protected_namespaces": namespaces})


def _killed_for_memory() -> Schedule:
    """It needs 160 MiB of late, and may have 128."""
    made = schedule(24, lasts_s=60)
    return made.at(5, step(do="behave", target="@entry", changes={"memory_mib": 160.0}, survives_restart=True))


def _without_disruptions() -> Schedule:
    made = schedule(25, pods=2)
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "none", "namespace": "shop"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
    }  # fmt: skip
    return made.at(1, step(do="apply", manifest=budget))


CASES = (
    # Nobody wants any more what an alert was the reason for
    _case("transitions: proposed→cancelled", _quiet(), *FOR_THE_ALERT, alert_resolves),
    _case("transitions: rehearsing→cancelled", _quiet(), *FOR_THE_ALERT, turns("backend.step"), alert_resolves),
    _case("transitions: deciding→cancelled", _quiet(), *FOR_THE_ALERT, turns(*TO_DECIDING), alert_resolves),
    _case("transitions: ordered→cancelled", _quiet(), *FOR_THE_ALERT, turns(*TO_ORDERED), alert_resolves),
    _case("transitions: blocked→cancelled", _quiet(), *FOR_THE_ALERT, PAUSE, turns(*TO_BLOCKED), alert_resolves),
    _case("transitions: awaiting_approval→cancelled", _in_approve_mode, *FOR_THE_ALERT, turns(*TO_ORDERED),
          alert_resolves),
    _case("transitions: cancelled→acting", _quiet(), *FOR_THE_ALERT, turns(*TO_ORDERED, "executor.fetch"),
          alert_resolves, turns("executor.step")),
    # The Executor is gone for long
    _case("transitions: rehearsing→expired", _quiet(), SCALE, turns("backend.step"), away("executor", for_s=400)),
    _case("transitions: ordered→expired", _quiet(), SCALE, turns(*TO_ORDERED, "executor.fetch"),
          away("executor", for_s=660)),
    _case("transitions: ordered→escalated", _quiet(), SCALE, turns(*TO_ORDERED), away("executor", for_s=2000)),
    _case("transitions: blocked→expired", _hopeless_while_paused, over(), RESUME),
    _case("transitions: blocked→escalated", _quiet(), SCALE, PAUSE, turns(*TO_BLOCKED), away("executor", for_s=2000)),
    _case("transitions: acting→escalated", _quiet(), at_the_write(_answers_get_lost), SCALE, turns(*TO_BLOCKED),
          away("executor", for_s=2000), _answers_come_again),
    _case("transitions: settling→escalated", _quiet(), SCALE, until(S.SETTLING), away("executor", for_s=2000)),
    _case("transitions: held→escalated", _quiet(), SCALE, until(S.HELD), away("executor", for_s=5000)),
    # ... and is heard again; the runs above lead from `escalated` to `expired`, `held` and `released`
    _case("transitions: escalated→refused", _quiet(), at_the_write(_dies_while_someone_scales), SCALE,
          turns(*TO_BLOCKED), passing(2100, tick_s=400)),
    _case("transitions: escalated→kept", _quiet(), does(propose("@entry", RESTART)), until(S.SETTLING),
          away("executor", for_s=2000)),
    _case("transitions: escalated→undone", _hopeless, until(S.SETTLING), away("executor", for_s=2000)),
    _case("transitions: held→kept", _quiet(), SCALE, until(S.HELD), does(keep()), passing(30)),
    # Another order is carried out on what is held
    _case("transitions: undoing→released", _quiet(), SCALE, until(S.HELD),
          does(propose("@entry", RESTART)), over(proposals=2)),
    # The API server is gone for longer than it may settle
    _case("transitions: settling→held", lambda: bad_revision(schedule(27)), until(S.SETTLING), does(weather(1.0)),
          passing(400), does(weather(0.0))),
    # Something changes on the way
    _case("transitions: blocked→refused", _quiet(), SCALE, PAUSE, turns(*TO_BLOCKED),
          does(step(do="label", target="@entry", labels={"aegis.dev/mode": "off"})), passing(30)),
    _case("transitions: acting→refused", _quiet(), at_the_write(_someone_scales), SCALE),
    _case("guardrails: preconditions", _quiet(), at_the_write(_someone_scales), SCALE),
    _case("transitions: undoing→escalated", _hopeless, until(S.SETTLING), does(step(do="scale", target="@entry",
          replicas=4))),
    _case("transitions: kept→undoing", lambda: bad_revision(schedule(26)), over(), does(take_back()), passing(30)),
    _case("transitions: ordered→refused", _quiet(), does(config_map(policy_floor="scale_workload: 1")), SCALE),
    # Guardrails
    _case("guardrails: policy_floor_is_met", _quiet(), does(config_map(policy_floor="scale_workload: 1")), SCALE),
    _case("guardrails: namespace_in_scope", _within("elsewhere-*"), SCALE),
    _case("guardrails: target_is_unprotected", _protecting("sho*"), SCALE),
    _case("guardrails: cluster", _quiet(), SCALE, turns(*TO_ORDERED), does(weather(1.0)),
          turns("executor.fetch", "executor.step"), does(weather(0.0))),
    _case("guardrails: data_is_fresh", _quiet(), does(propose("@entry", SCALE_OUT, age_s=600))),
    _case("guardrails: quota_and_nodes_have_room", _quiet(), does(step(do="set_quota", namespace="shop",
          hard={"pods": "1"})), passing(5), SCALE),
    _case("guardrails: budget_of_disruption_allows", _without_disruptions,
          does(propose("@entry", {"kind": "evict_pod"}))),
    _case("guardrails: cooldown", _quiet(), does(propose("@entry", RESTART)), over(),
          does(propose("@entry", RESTART))),
    _case("guardrails: back_off", _quiet(), SCALE, until(S.SETTLING), does(take_back()), until(S.UNDONE),
          does(propose("@entry", RESTART))),
    _case("guardrails: owner_lock", _quiet(), SCALE, until(S.SETTLING), does(propose("@entry", RESTART)), passing(10)),
    _case("guardrails: has_not_failed_before", _quiet(),
          *(act for count in range(1, 5) for act in (does(propose("@entry", RESTART)), over(proposals=count),
          AFTER_THE_COOLDOWN))),
    _case("guardrails: budget", _quiet(workloads=6), *(does(propose(f"shop/{name}", RESTART)) for name in
          ("web", "cart", "search", "orders", "payments", "profile"))),
    # Actions
    _case("actions: raise_memory", _killed_for_memory, does(propose("@entry", {"kind": "raise_memory", "factor": 1.5})),
          until(S.AWAITING_APPROVAL), does(review("ann", "approve"))),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.shows)
def test_it_comes_up_and_no_rule_is_broken(case: Case, stage: Stage, lived: Callable[[Lived], None]) -> None:
    async def story() -> Lived:
        made = case.schedule()
        async with stage.begin(made) as run:
            await happen(run, made)
            for act in case.acts:
                await act(run)
            await play_out(run, proposals=1)
            return await conclude(run)

    life = stage.run(story())

    lived(life)
    kind, _, name = case.shows.partition(": ")
    assert getattr(life.exercised, kind)[name] > 0, _shown(life.exercised)


def _shown(exercised: Exercised) -> Mapping[str, Mapping[str, int]]:
    return {kind: exercised.to_plain()[kind] for kind in ("transitions", "guardrails", "actions")}

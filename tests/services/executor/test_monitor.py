"""What one reading of the whole cluster proves, and what it takes more of."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.services.executor.rig import Rig

from aegis.executor.journal import repository
from aegis.executor.service import Executor
from aegis.simulator.kubernetes.objects import Object, copy_of
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, PODS

Happening = Callable[[Rig], None]
INTERVAL = timedelta(seconds=10)


async def readings(rig: Rig, times: int) -> None:
    for _ in range(times):
        await rig.executor.monitor()
        await rig.clock.advance(INTERVAL)


# Revisions known to be healthy


@pytest.fixture
def alone(rig: Rig) -> Rig:
    """The newest revision, and no other, serves."""
    rig.store.delete(PODS, "shop", "web-old-9", grace_s=0)
    return rig


async def known_healthy(rig: Rig) -> frozenset[str]:
    async with rig.database.transaction() as tx:
        return await repository.seen_healthy(tx, rig.ref().uid)


async def test_a_revision_is_known_to_be_healthy_once_it_has_been_so_for_a_while(alone: Rig) -> None:
    await readings(alone, 2)
    assert await known_healthy(alone) == frozenset()

    await readings(alone, 1)

    assert await known_healthy(alone) == {"new"}


def crashes(rig: Rig) -> None:
    def started_again(pod: Object) -> None:
        [status] = pod["status"]["containerStatuses"]
        status["restartCount"] += 1

    rig.change(PODS, "web-new-0", started_again)


def is_made_anew(rig: Rig) -> None:
    pod = copy_of(rig.find(PODS, "web-new-0"))
    rig.store.delete(PODS, "shop", "web-new-0", grace_s=0)
    pod["metadata"] = {key: pod["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    rig.store.create(PODS, pod)


@pytest.mark.parametrize("happens", [crashes, is_made_anew])
async def test_what_is_ready_between_two_crashes_is_not_known_to_be_healthy(alone: Rig, happens: Happening) -> None:
    for _ in range(5):
        happens(alone)
        await readings(alone, 2)

    assert await known_healthy(alone) == frozenset()


async def test_a_revision_that_is_ill_in_between_begins_anew(alone: Rig) -> None:
    await readings(alone, 2)
    alone.change(DEPLOYMENTS, "web", lambda it: it["status"].update(availableReplicas=1))
    await readings(alone, 1)
    alone.roll_out()

    await readings(alone, 2)

    assert await known_healthy(alone) == frozenset()


# The storm brake


@pytest.fixture
def stricken(rig: Rig) -> Rig:
    """Six workloads, of which none has a pod."""
    spec = rig.find(DEPLOYMENTS, "web")["spec"]
    for number in range(6):
        rig.store.create(DEPLOYMENTS, {"metadata": {"name": f"ill-{number}", "namespace": "shop"}, "spec": spec})
    return rig


async def is_storm(rig: Rig) -> bool:
    async with rig.database.transaction() as tx:
        return await repository.current_storm(tx) is not None


async def test_two_bad_readings_in_a_row_are_a_storm(stricken: Rig) -> None:
    await readings(stricken, 1)
    assert not await is_storm(stricken)

    await stricken.executor.monitor()

    assert await is_storm(stricken)


async def test_a_storm_is_over_after_its_quiet_time_where_the_clock_has_gone_back_too(stricken: Rig) -> None:
    await readings(stricken, 2)
    for number in range(6):
        stricken.store.delete(DEPLOYMENTS, "shop", f"ill-{number}")
    stricken.store.collect_garbage()
    await stricken.clock.advance(timedelta(hours=-2))
    await readings(stricken, 1)
    assert await is_storm(stricken)

    await stricken.clock.advance(timedelta(minutes=5))
    await readings(stricken, 1)

    assert not await is_storm(stricken)


async def test_what_several_replicas_read_at_one_moment_is_one_reading(stricken: Rig) -> None:
    for replica in [stricken.executor, Executor(stricken.ports), Executor(stricken.ports)]:
        await replica.monitor()
        await stricken.clock.advance(timedelta(seconds=1))

    assert not await is_storm(stricken)


async def test_a_good_reading_in_between_ends_the_row(stricken: Rig) -> None:
    await readings(stricken, 1)
    await stricken.read_health()
    await stricken.clock.advance(INTERVAL)

    await stricken.executor.monitor()

    assert not await is_storm(stricken)

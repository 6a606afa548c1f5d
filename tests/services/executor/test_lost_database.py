"""PostgreSQL is restarted at the worst moments of an order: what the cluster says then is believed, nothing is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.services.executor.rig import Rig

from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.verifications import Judgement
from aegis.executor.ports import Cluster, ExactRequest, Object
from aegis.kit.database import Database
from aegis.kit.embedded import PostgresServer
from aegis.kit.errors import TemporaryError
from aegis.simulator.kubernetes.resources import DEPLOYMENTS


@dataclass
class Fateful:
    """A cluster at whose next write the database stops; the write itself is done, or never reaches the cluster."""

    inner: Cluster
    server: PostgresServer
    is_next_fatal: bool = False
    is_done: bool = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        if dry_run or not self.is_next_fatal:
            return await self.inner.send(request, dry_run=dry_run)
        self.is_next_fatal = False
        self.server.stop()
        if not self.is_done:
            raise TemporaryError("it never arrived")
        return await self.inner.send(request, dry_run=dry_run)


@pytest.fixture
def stopped_and_started(server: PostgresServer) -> Iterator[PostgresServer]:
    """The server that all tests share: whatever happens, it runs afterwards."""
    yield server
    server.stop()
    server.start()


async def an_order_at_a_fateful_cluster(database: Database, server: PostgresServer) -> tuple[Rig, Fateful, Order]:
    rig = Rig(database, around=lambda cluster: Fateful(cluster, server))
    fateful = rig.ports.cluster
    assert isinstance(fateful, Fateful)
    proposal = rig.proposal()
    return rig, fateful, rig.order(proposal, await rig.plan(proposal))


@pytest.mark.parametrize("is_done", [True, False])
async def test_an_order_that_was_acting_is_carried_out_once(
    database: Database, stopped_and_started: PostgresServer, *, is_done: bool
) -> None:
    rig, fateful, order = await an_order_at_a_fateful_cluster(database, stopped_and_started)
    fateful.is_next_fatal, fateful.is_done = True, is_done

    with pytest.raises(TemporaryError):
        await rig.give(order)
    with pytest.raises(TemporaryError):
        await rig.executor.step()
    assert len(rig.written) == is_done
    stopped_and_started.start()
    rig.verifier.says = Judgement.NOT_YET
    await rig.look_for(seconds=65)

    assert [one.stage for one in rig.backend.outcomes] == [Stage.ACTING, Stage.SETTLING]
    assert len(rig.written) == 1
    await rig.close()


@pytest.mark.parametrize("is_done", [True, False])
async def test_an_order_that_was_being_undone_is_undone_once(
    database: Database, stopped_and_started: PostgresServer, *, is_done: bool
) -> None:
    rig, fateful, order = await an_order_at_a_fateful_cluster(database, stopped_and_started)
    before = rig.find(DEPLOYMENTS, "web")
    rig.verifier.says = Judgement.WORSE
    await rig.give(order)
    fateful.is_next_fatal, fateful.is_done = True, is_done

    with pytest.raises(TemporaryError):
        await rig.look_for(seconds=20)
    stopped_and_started.start()
    await rig.look_for(seconds=65)

    web = rig.find(DEPLOYMENTS, "web")
    assert rig.said(order).stage is Stage.UNDONE
    assert [one.stage for one in rig.backend.outcomes].count(Stage.UNDONE) == 1
    assert web["spec"] == before["spec"]
    assert not any(key.startswith("order.aegis.dev/") for key in web["metadata"].get("annotations") or {})
    assert web["metadata"]["generation"] == before["metadata"]["generation"] + 2, "done once, and undone once"
    await rig.close()

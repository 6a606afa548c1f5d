"""A service key that is changed at the Backend first costs no report: what the other service has to tell waits."""

import httpx
from tests.builders import NOW
from tests.servers import KEYS, Templates, backend_ports

from aegis.backend.service import Backend
from aegis.clients.backend import BackendClient
from aegis.contracts.outcomes import Outcome, Stage
from aegis.executor.journal.tables import outbox
from aegis.kit.database import Database
from aegis.kit.outbox import Outbox, Undelivered

NEW = "aegis-service.executor.of-tomorrow"
KEPT = Outcome(order_id="ord-1", remediation_id="rem-1", sequence=3, stage=Stage.KEPT, at=NOW)


async def test_a_report_that_meets_the_new_key_first_is_delivered_with_it(
    templates: Templates, backend_url: str
) -> None:
    executor_url = await templates.executor()
    journal, database = Database(executor_url), Database(backend_url)
    reports = Outbox(outbox)
    async with journal.transaction() as tx:
        await reports.put(tx, queue="outcomes", key="ord-1:3", body=KEPT.model_dump_json().encode(), at=NOW)
    backend = Backend(backend_ports(database, settings={"service_keys": f"executor={NEW}"}))
    await backend.prepare()

    async def flush(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(backend.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://backend", headers=headers) as http:

            async def send(body: bytes) -> None:
                await BackendClient(http).report_outcome(Outcome.model_validate_json(body))

            return await reports.flush(journal, {"outcomes": send})

    assert await flush(KEYS.service["executor"]) == 0
    async with journal.transaction() as tx:
        assert await reports.undelivered(tx) == Undelivered(waiting=1, refused=0)
    assert await flush(NEW) == 1

    await journal.close()
    await database.close()
    await templates.drop(executor_url)

"""What the Executor has to tell reaches the Backend, whatever stands in between today."""

from datetime import timedelta

import httpx
import pytest
from tests.services.executor.rig import Rig

from aegis.clients.backend import BackendClient
from aegis.contracts.work import Work
from aegis.kit.http import PROBLEM


class AnsweringBackend:
    """A Backend that takes reports today as `answer` says, behind the client that the Executor really has."""

    def __init__(self) -> None:
        self.answer = httpx.Response(204)
        self.taken: list[str] = []
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._take), base_url="http://backend")
        self.client = BackendClient(http)

    def _take(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content="null")  # no checkpoint waits for a witness
        if self.answer.is_success:
            self.taken.append(request.url.path)
        return self.answer


@pytest.fixture
async def backend(rig: Rig) -> AnsweringBackend:
    """Answers an Executor that has an outcome of `ord-1` to report."""
    proposal = rig.proposal()
    rig.backend.work = Work(orders=(rig.seal(rig.order(proposal, await rig.plan(proposal))),))
    await rig.executor.fetch(wait=timedelta())
    rig.backend.is_up = False
    await rig.executor.step()
    made = AnsweringBackend()
    rig.backend = made.client  # type: ignore[assignment]
    rig.restart()
    return made


def problem(status: int) -> httpx.Response:
    return httpx.Response(status, json={"detail": "no", "status": status}, headers={"Content-Type": PROBLEM})


async def undelivered(rig: Rig) -> dict[str, float | None]:
    await rig.executor.monitor()
    value = rig.executor.registry.get_sample_value
    return {state: value("aegis_executor_undelivered", {"state": state}) for state in ("waiting", "refused")}


@pytest.mark.parametrize(
    "answer",
    [
        problem(401), problem(403), problem(404), problem(405), problem(503),
        httpx.Response(409, text="a proxy's page"), httpx.Response(302, headers={"Location": "/login"}),
    ],
    ids=lambda answer: str(answer.status_code),
)  # fmt: skip
async def test_a_report_waits_for_whatever_says_nothing_of_the_report_itself(
    rig: Rig, backend: AnsweringBackend, answer: httpx.Response
) -> None:
    backend.answer = answer
    await rig.executor.report()
    waited = await undelivered(rig)

    backend.answer = httpx.Response(204)
    await rig.executor.report()

    assert waited == {"waiting": 1, "refused": 0}
    assert backend.taken == ["/api/v1/orders/ord-1/outcomes"]
    assert await undelivered(rig) == {"waiting": 0, "refused": 0}


@pytest.mark.parametrize("status", [409, 413, 422])
async def test_a_report_that_the_backend_will_never_take_is_put_aside_and_counted(
    rig: Rig, backend: AnsweringBackend, status: int
) -> None:
    backend.answer = problem(status)
    await rig.executor.report()
    backend.answer = httpx.Response(204)

    await rig.executor.report()

    assert backend.taken == []
    assert await undelivered(rig) == {"waiting": 0, "refused": 1}

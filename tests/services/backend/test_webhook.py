"""The signed webhook: the receiver can tell who sent it, and nothing that was told is lost on the way."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import orjson
import pytest
from tests.servers import KEYS
from tests.services.backend.rig import Rig

from aegis.backend.notifications.webhook import SIGNATURE_HEADER, WebhookReceiver
from aegis.kit.clock import VirtualClock
from aegis.kit.database import Database
from aegis.kit.signing import PrivateKey, PublicKey

STORM = {"active": True, "unhealthy": ["shop/Deployment/web"], "workloads": 9}


@dataclass
class Inbox:
    """Somebody's server; `answer` says how it is today."""

    answer: Callable[[], httpx.Response] = lambda: httpx.Response(200)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answered = self.answer()
        if answered.is_success:
            self.requests.append(request)
        return answered

    def titles(self) -> list[str]:
        return [orjson.loads(request.content)["detail"]["since"] for request in self.requests]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def told(rig: Rig, inbox: Inbox) -> Rig:
    """A Backend that tells the inbox; on the same database as `rig`."""
    return telling(rig.database, inbox)


def telling(database: Database, inbox: Inbox) -> Rig:
    clock = VirtualClock()
    http = httpx.AsyncClient(transport=httpx.MockTransport(inbox))
    key = PrivateKey.from_text(KEYS.signing)
    made = Rig(database, {"receiver": WebhookReceiver(http, "http://inbox/aegis", key, clock), "clock": clock})
    made.clock = clock
    return made


async def storm(rig: Rig, minute: int) -> str:
    since = f"2026-01-05T12:{minute:02}:00+00:00"
    answer = await rig.as_("executor").put("/api/v1/storm", json=STORM | {"since": since})
    assert answer.status_code == 204
    return since


def is_genuine(request: httpx.Request, key: PublicKey) -> bool:
    """Check a delivery as the guide tells receivers to: over time and body, with the Backend's public key."""
    parts = dict(part.split("=", 1) for part in request.headers[SIGNATURE_HEADER].split(","))
    return parts["key"] == key.id and key.is_signed(f"{parts['t']}.".encode() + request.content, parts["ed25519"])


async def test_a_receiver_can_tell_who_sent_it_and_when(told: Rig, inbox: Inbox) -> None:
    await storm(told, 0)
    await told.backend.tidy()

    [request] = inbox.requests
    key = PublicKey.from_text((await told.as_("vic").get("/api/v1/audit/key")).json()["public_key"])
    assert is_genuine(request, key)
    assert f"t={int(told.clock.now().timestamp())}," in request.headers[SIGNATURE_HEADER]
    assert orjson.loads(request.content)["kind"] == "storm"


async def test_an_altered_delivery_or_one_of_a_stranger_is_told_apart(told: Rig, inbox: Inbox) -> None:
    await storm(told, 0)
    await told.backend.tidy()
    [request] = inbox.requests
    key = PrivateKey.from_text(KEYS.signing).public
    signature = request.headers[SIGNATURE_HEADER]

    def again(content: bytes, signed: str) -> httpx.Request:
        return httpx.Request("POST", "http://inbox", content=content, headers={SIGNATURE_HEADER: signed})

    assert is_genuine(again(request.content, signature), key)
    assert not is_genuine(again(request.content + b" ", signature), key)
    assert not is_genuine(again(request.content, signature.replace("t=1", "t=2")), key)
    assert not is_genuine(request, PrivateKey.from_text(base64.b64encode(bytes(32)).decode()).public)


async def test_nothing_is_lost_while_the_receiver_is_down_and_all_comes_once_and_in_order(
    told: Rig, inbox: Inbox
) -> None:
    def refuses_to_connect() -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    def takes_too_long() -> httpx.Response:
        raise httpx.ReadTimeout("no answer")

    sent = []
    for minute, bad_day in enumerate(
        (refuses_to_connect, takes_too_long, lambda: httpx.Response(500), lambda: httpx.Response(404))
    ):
        inbox.answer = bad_day
        sent.append(await storm(told, minute))
        await told.backend.tidy()
        assert inbox.requests == []

    inbox.answer = lambda: httpx.Response(204)
    await told.backend.tidy()
    await told.backend.tidy()

    assert inbox.titles() == sent


async def test_what_waits_outlives_the_process_that_was_told(told: Rig, inbox: Inbox) -> None:
    inbox.answer = lambda: httpx.Response(503)
    since = await storm(told, 0)
    await told.backend.tidy()

    inbox.answer = lambda: httpx.Response(200)
    another = telling(told.database, inbox)
    await another.backend.tidy()

    assert inbox.titles() == [since]


async def metric(rig: Rig, name: str) -> float:
    lines = (await rig.anybody().get("/metrics")).text.splitlines()
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(f"{name} "))


async def test_what_does_not_get_through_is_counted_and_what_waits_is_shown(told: Rig, inbox: Inbox) -> None:
    inbox.answer = lambda: httpx.Response(503)
    await storm(told, 0)
    for _ in range(2):
        await told.backend.tidy()

    assert await metric(told, "aegis_notification_failures_total") == 2
    assert await metric(told, 'aegis_notifications_undelivered{state="waiting"}') == 1
    assert await metric(told, 'aegis_notifications_undelivered{state="refused"}') == 0

    inbox.answer = lambda: httpx.Response(200)
    await told.backend.tidy()
    assert await metric(told, "aegis_notification_failures_total") == 2
    assert await metric(told, 'aegis_notifications_undelivered{state="waiting"}') == 0


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_one_that_the_receiver_refuses_for_good_holds_up_none_behind_it_and_is_shown(
    told: Rig, inbox: Inbox, status: int
) -> None:
    inbox.answer = lambda: httpx.Response(status)
    await storm(told, 0)
    await told.backend.tidy()

    inbox.answer = lambda: httpx.Response(200)
    later = await storm(told, 1)
    await told.backend.tidy()

    assert inbox.titles() == [later]
    assert await metric(told, "aegis_notification_failures_total") == 1
    assert await metric(told, 'aegis_notifications_undelivered{state="refused"}') == 1

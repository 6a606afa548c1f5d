"""What an order's word is worth to the Executor: no more than its plan, its approvers and the operator say."""

from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from tests.builders import NOW, plan, proposal, target

from aegis.contracts.actions import RestartWorkload, RollbackRollout
from aegis.contracts.approvals import Approval, Verdict
from aegis.contracts.orders import Order
from aegis.contracts.work import Pause
from aegis.executor.actions.base import JSON_PATCH
from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.guardrails.facts import Switches
from aegis.executor.journal.plan import ExactPlan, KeptPlan
from aegis.executor.orders.begin import consents, is_plan_for
from aegis.executor.orders.look import Eyes
from aegis.executor.orders.receive import waits_until
from aegis.executor.ports import ExactRequest
from aegis.executor.settings import ExecutorSettings
from aegis.kit.clock import VirtualClock

SETTINGS = ExecutorSettings.model_validate(
    {"backend_key": "-", "ai_engine_key": "-", "order_keys": "-", "witness_key": "-", "data_key": "A" * 43 + "="}
)
EXACT = ExactPlan("ord-1", "uid-web", ExactRequest("PATCH", "/", JSON_PATCH, b"[]"), None)
KEPT = KeptPlan(proposal(), EXACT, plan())


def order(**changes: Any) -> Order:
    given: dict[str, Any] = {
        "id": "ord-1", "remediation_id": "rem-1", "proposal": proposal(), "plan_hash": "a" * 64,
        "issued_at": NOW, "expires_at": NOW + timedelta(minutes=10),
    }  # fmt: skip
    return Order.model_validate(given | changes)


def test_an_order_for_what_its_plan_is_for_is_carried_out() -> None:
    assert is_plan_for(order(), KEPT)


@pytest.mark.parametrize(
    "asked",
    [
        proposal(target=target("other")),
        proposal(owner=target("other")),
        proposal(RestartWorkload()),
        proposal(RollbackRollout(to_revision=1)),
        proposal(signals=("error_ratio",)),
    ],
)
def test_a_plan_for_one_thing_is_not_carried_out_by_an_order_for_another(asked: Any) -> None:
    assert not is_plan_for(order(proposal=asked), KEPT)


def approval(**changes: Any) -> Approval:
    given: dict[str, Any] = {
        "id": "apr-1", "remediation_id": "rem-1", "plan_hash": "a" * 64, "approver": "person:ann",
        "verdict": Verdict.APPROVED, "given_at": NOW, "expires_at": NOW + timedelta(minutes=15),
    }  # fmt: skip
    return Approval.model_validate(given | changes)


def test_a_yes_to_this_very_plan_consents() -> None:
    assert consents(order(approvals=(approval(),))) == (approval(),)


@pytest.mark.parametrize(
    "changes", [{"plan_hash": "b" * 64}, {"remediation_id": "rem-2"}, {"verdict": Verdict.REJECTED}]
)
def test_what_was_said_about_something_else_or_was_no_yes_consents_to_nothing(changes: dict[str, Any]) -> None:
    assert consents(order(approvals=(approval(**changes),))) == ()


def test_an_order_waits_a_quarter_of_an_hour_at_most_whatever_it_says() -> None:
    a_year = order(expires_at=NOW + timedelta(days=365))

    assert waits_until(a_year, now=NOW) == NOW + timedelta(minutes=15)
    assert waits_until(order(), now=NOW) == NOW + timedelta(minutes=10)


@dataclass
class Operator:
    """A cluster in which somebody wrote the guardrails' ConfigMap, and a Backend that nobody paused."""

    data: dict[str, str] = field(default_factory=dict)

    async def read(self, *_: object) -> dict[str, Any]:
        return {"data": self.data}

    async def pause(self) -> Pause:
        return Pause(paused=False, reason="", since=NOW)


async def switches(**data: str) -> Switches:
    operator = Operator({key.replace("_", "-"): text for key, text in data.items()})
    ports: Any = SimpleNamespace(settings=SETTINGS, cluster=operator, backend=operator)
    return await Eyes(ports).switches()


async def test_what_the_operator_wrote_is_what_holds() -> None:
    found = await switches(
        paused="false", reason="none", policy_floor="rollback_rollout: 2",
        freeze="[{name: night, cron: '0 3 * * *', minutes: 5, timeZone: Europe/Berlin, namespaces: [shop]}]",
    )  # fmt: skip

    assert (found.operator_paused, found.floor) == (False, {"rollback_rollout": 2})
    assert [one.time_zone for one in found.freezes] == ["Europe/Berlin"]


@pytest.mark.parametrize(
    ("data", "unknown"),
    [
        ({"pause": "true"}, "pause"),
        ({"freeze": "[{cron: '0 3 * * *', minutes: 5, timezone: Europe/Berlin}]"}, "timezone"),
        ({"policy_floor": "rollback_rolout: 2"}, "rollback_rolout"),
    ],
)
async def test_a_misspelled_guardrail_stops_and_is_named(
    data: dict[str, str], unknown: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = await switches(**data)

    assert found.operator_paused is None
    assert f"{unknown} is unknown; known are " in found.unreadable
    assert found.unreadable in caplog.text


async def test_an_object_of_a_kind_we_have_nothing_to_do_with_is_not_there_for_us() -> None:
    ports: Any = SimpleNamespace(settings=SETTINGS, cluster=KubernetesCluster(httpx2.AsyncClient(), VirtualClock()))

    assert await Eyes(ports).read(target().model_copy(update={"api_version": "batch/v1", "kind": "Job"})) is None

"""What may be wrong with an order, and what may go wrong around the Executor: it would rather not act."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from tests.services.executor.rig import Rig

from aegis.contracts.actions import EvictPod, ScaleWorkload
from aegis.contracts.envelope import Envelope
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Stage
from aegis.contracts.plans import RehearsalStatus
from aegis.contracts.targets import TargetRef
from aegis.contracts.verifications import Judgement
from aegis.contracts.work import Work
from aegis.executor.ports import Cluster, ExactRequest, Object, WriteRefusedError
from aegis.kit.database import Database
from aegis.kit.errors import TemporaryError
from aegis.kit.signing import PrivateKey
from aegis.simulator.kubernetes.resources import CLUSTERROLES, DEPLOYMENTS, PODS

STRANGER = PrivateKey(bytes(32))


@dataclass
class Stumbling:
    """A cluster that has one object which nobody here expects to be as it is."""

    inner: Cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def read(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        if name == "odd":
            raise KeyError("canary")
        return await self.inner.read(api_version, kind, namespace, name)


async def an_order(rig: Rig) -> Order:
    proposal = rig.proposal()
    return rig.order(proposal, await rig.plan(proposal))


async def one_that_waits(rig: Rig) -> Order:
    order = await an_order(rig)
    rig.backend.paused = True
    await rig.give(order)
    return order


async def one_that_was_carried_out(rig: Rig, *, says: Judgement | None) -> Order:
    """Return an order of which the AI Engine says this from now on."""
    order = await an_order(rig)
    rig.verifier.says = says
    await rig.give(order)
    return order


def take_away(rig: Rig, resource: str, verb: str) -> str:
    """Take a right away from the Executor, and return the rule that gives it back."""
    role = rig.find(CLUSTERROLES, "aegis-executor")
    [rule] = [one for one in role["rules"] if one["resources"] == [resource]]
    rig.change(
        CLUSTERROLES,
        "aegis-executor",
        lambda it: [
            rule["verbs"].remove(verb)
            for rule in it["rules"]
            if resource in rule["resources"] and verb in rule["verbs"]
        ],
    )
    return f"{{apiGroups: [{rule['apiGroups'][0]}], resources: [{resource}], verbs: [{verb}]}}"


# Envelopes that nobody can believe


def unsigned(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order).model_copy(update={"signature": ""})


def altered(rig: Rig, order: Order) -> Envelope:
    other = order.model_copy(update={"expires_at": order.expires_at + timedelta(hours=1)})
    payload = base64.b64encode(other.model_dump_json().encode()).decode()
    return rig.seal(order).model_copy(update={"payload": payload})


def of_a_stranger(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order, key=STRANGER)


def in_the_name_of_the_backend(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order, key=STRANGER).model_copy(update={"key_id": rig.seal(order).key_id})


def for_another_cluster(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order, cluster_id="elsewhere")


def for_somebody_else(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order, audience="ai-engine")


def relabelled_for_this_cluster(rig: Rig, order: Order) -> Envelope:
    return for_another_cluster(rig, order).model_copy(update={"cluster_id": rig.seal(order).cluster_id})


def of_the_future(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order).model_copy(update={"version": 2})


def no_base64(rig: Rig, order: Order) -> Envelope:
    return rig.seal(order).model_copy(update={"payload": "!"})


@pytest.mark.parametrize(
    "forge",
    [
        unsigned, altered, of_a_stranger, in_the_name_of_the_backend, for_another_cluster, for_somebody_else,
        relabelled_for_this_cluster, of_the_future, no_base64,
    ],
)  # fmt: skip
async def test_an_envelope_that_cannot_be_believed_is_counted_and_never_opened(
    rig: Rig, forge: Callable[[Rig, Order], Envelope]
) -> None:
    order = await an_order(rig)

    await rig.give(forge(rig, order))

    assert await rig.journal(order.id) is None
    assert rig.written == []
    await rig.executor.monitor()
    assert rig.executor.registry.get_sample_value("aegis_executor_envelopes_refused", {"why": "envelope"}) == 1


async def test_a_signed_order_with_a_field_we_do_not_know_is_refused(rig: Rig) -> None:
    class LaterOrder(Order):
        force: bool = True

    order = LaterOrder.model_validate((await an_order(rig)).model_dump())

    await rig.give(rig.seal(order))

    assert await rig.journal(order.id) is None
    assert rig.written == []


async def test_an_order_that_comes_again_is_carried_out_once(rig: Rig) -> None:
    order = await an_order(rig)
    sealed = rig.seal(order)

    await rig.give(sealed, sealed)
    await rig.give(sealed)
    rig.restart()
    await rig.give(sealed)

    assert len(rig.written) == 1
    assert [one.stage for one in rig.backend.outcomes] == [Stage.ACTING, Stage.SETTLING]


async def test_an_order_that_has_expired_is_not_begun(rig: Rig) -> None:
    order = await an_order(rig)
    await rig.pass_time(minutes=10)

    await rig.give(order)

    assert rig.said(order).stage is Stage.EXPIRED
    assert rig.written == []


async def test_a_clock_that_jumps_ahead_expires_what_waits_and_begins_nothing(rig: Rig) -> None:
    order = await one_that_waits(rig)

    await rig.pass_time(hours=3)
    rig.backend.paused = False
    await rig.executor.step()

    assert rig.said(order).stage is Stage.EXPIRED
    assert rig.written == []


async def test_a_clock_that_jumps_ahead_while_it_settles_keeps_nothing_on_old_looks(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.BETTER)
    rig.roll_out()

    await rig.pass_time(hours=3)
    await rig.executor.step()

    assert rig.said(order).stage is not Stage.KEPT, "one look is no settling window"


@pytest.mark.parametrize("gap", [timedelta(seconds=40), timedelta(hours=3)])
async def test_a_gap_between_two_good_looks_is_no_time_of_health(rig: Rig, gap: timedelta) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.BETTER)
    rig.roll_out()
    await rig.look_for(seconds=40)

    await rig.pass_time(seconds=gap.total_seconds())
    await rig.executor.step()
    await rig.look_for(seconds=50)
    assert rig.said(order).stage is Stage.SETTLING
    await rig.look_for(seconds=20)

    assert rig.said(order).stage is Stage.KEPT


async def test_a_clock_that_goes_back_keeps_no_undo_waiting(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)

    await rig.pass_time(hours=-2)
    await rig.look_for(seconds=90)

    assert rig.said(order).stage is Stage.UNDONE


async def test_a_clock_that_goes_back_starts_the_settling_window_anew(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.BETTER)
    rig.roll_out()
    await rig.look_for(seconds=50)

    await rig.pass_time(hours=-2)
    await rig.look_for(seconds=60)
    assert rig.said(order).stage is Stage.SETTLING
    await rig.look_for(seconds=10)

    assert rig.said(order).stage is Stage.KEPT


async def test_a_clock_that_goes_back_makes_no_lease_longer_than_its_maximum_from_then(rig: Rig) -> None:
    proposal = rig.proposal(ScaleWorkload(replicas=5))
    order = rig.order(proposal, await rig.plan(proposal))
    rig.verifier.says, rig.verifier.says_of_release = Judgement.BETTER, Judgement.NOT_YET
    await rig.give(order)
    rig.roll_out()
    await rig.look_for(seconds=90)
    assert rig.said(order).stage is Stage.HELD

    await rig.pass_time(hours=-2)
    await rig.executor.step()
    await rig.pass_time(minutes=60)
    await rig.look_for(seconds=10)

    assert rig.said(order).stage is Stage.RELEASED


async def test_a_clock_that_goes_back_lets_no_order_wait_longer_than_any_does(rig: Rig) -> None:
    order = await one_that_waits(rig)

    await rig.pass_time(hours=-2)
    await rig.executor.step()
    await rig.pass_time(minutes=15)
    await rig.executor.step()

    assert rig.said(order).stage is Stage.EXPIRED


async def test_a_clock_that_goes_back_lets_an_owner_rest_for_the_cooldown_and_no_longer(rig: Rig) -> None:
    await rig.remember(1, owner_uid=rig.ref().uid, minutes_ago=10)
    await rig.pass_time(hours=-2)
    order = await an_order(rig)

    await rig.give(order)
    assert (rig.said(order).stage, rig.said(order).guardrail) == (Stage.BLOCKED, "cooldown")
    rig.verifier.says = Judgement.NOT_YET
    await rig.pass_time(minutes=5)
    await rig.executor.step()

    assert rig.said(order).stage is Stage.SETTLING


async def test_a_withdrawn_order_is_not_begun(rig: Rig) -> None:
    order = await one_that_waits(rig)
    rig.backend.paused = False

    rig.backend.work = rig.backend.work.model_copy(update={"withdrawn": (order.id,)})
    await rig.executor.fetch(wait=timedelta())
    await rig.pass_time(seconds=6)
    await rig.executor.step()

    assert rig.said(order).stage is Stage.REFUSED
    assert rig.written == []


# What is gone


async def test_without_an_api_server_a_rehearsal_fails_for_now(rig: Rig) -> None:
    proposal = rig.proposal()
    rig.is_cluster_up = False

    result = await rig.rehearse(proposal)

    assert result.status is RehearsalStatus.FAILED
    assert "API server" in result.reason


async def test_without_an_api_server_nothing_is_begun_and_all_goes_on_when_it_is_back(rig: Rig) -> None:
    order = await an_order(rig)
    rig.is_cluster_up = False
    await rig.give(order)
    outcome = rig.said(order)
    assert (outcome.stage, outcome.guardrail) == (Stage.BLOCKED, "cluster")
    with pytest.raises(TemporaryError):
        await rig.executor.monitor()

    rig.is_cluster_up = True
    await rig.pass_time(seconds=6)
    await rig.executor.step()

    assert len(rig.written) == 1


async def test_a_rehearsal_that_goes_wrong_is_told_of_and_keeps_no_other_waiting(database: Database) -> None:
    rig = Rig(database, around=Stumbling)
    odd = rig.ref().model_copy(update={"name": "odd"})
    await rig.read_health()
    bad, good = rig.rehearsal(rig.proposal(target=odd, owner=odd)), rig.rehearsal(rig.proposal())
    rig.backend.work = Work(rehearsals=(bad, good))

    with pytest.raises(KeyError):
        await rig.executor.fetch(wait=timedelta())

    assert [one.status for one in rig.backend.results] == [RehearsalStatus.FAILED, RehearsalStatus.PLANNED]
    assert "canary" not in rig.backend.results[0].reason
    await rig.close()


async def test_a_pod_that_nobody_owns_is_not_scaled_and_stops_nothing(rig: Rig) -> None:
    rig.change(PODS, "web-new-0", lambda it: it["metadata"].update(ownerReferences=[]))
    bare = rig.ref(PODS, "web-new-0")

    result = await rig.rehearse(rig.proposal(ScaleWorkload(replicas=2), target=bare, owner=bare))

    assert (result.status, [one.name for one in result.checks]) == (RehearsalStatus.REFUSED, ["target_is_there"])


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
async def test_an_api_server_that_does_not_let_us_read_is_no_answer(rig: Rig, code: int) -> None:
    order = await an_order(rig)
    rig.api.weather.error_rate, rig.api.weather.error_code = 1.0, code

    await rig.give(order)

    assert rig.said(order).stage is Stage.BLOCKED
    assert rig.written == []


# An API server that is too old, allows too little or is busy


async def test_on_an_older_server_nothing_is_planned_or_written_until_it_is_upgraded(rig: Rig) -> None:
    order = await an_order(rig)
    known, rig.api.version = rig.api.version, {"major": "1", "minor": "27+", "gitVersion": "v1.27.9-gke.1"}
    rig.restart()
    rig.api.requests.clear()

    await rig.give(order)
    result = await rig.rehearse(rig.proposal())

    assert (result.status, result.reason) == (
        RehearsalStatus.FAILED,
        "the API server is Kubernetes v1.27.9-gke.1, and Aegis needs Kubernetes 1.28 or newer",
    )
    assert (rig.said(order).stage, rig.said(order).guardrail) == (Stage.BLOCKED, "cluster")
    assert list(rig.api.requests) == []

    rig.api.version = known
    await rig.look_for(seconds=5)
    assert len(rig.written) == 1


@pytest.mark.parametrize(
    ("resource", "verb", "namespace"), [("deployments", "get", "shop"), ("horizontalpodautoscalers", "list", "shop")]
)
async def test_a_right_to_read_that_is_missing_is_told_with_the_rule_that_gives_it(
    rig: Rig, resource: str, verb: str, namespace: str
) -> None:
    rule = take_away(rig, resource, verb)

    result = await rig.rehearse(rig.proposal())

    assert result.status is RehearsalStatus.FAILED
    assert f'cannot {verb} resource "{resource}"' in result.reason
    assert f'in the namespace "{namespace}"; add to the role: {rule}; `aegis rbac' in result.reason


async def test_a_right_to_write_that_is_missing_is_told_with_the_rule_that_gives_it(rig: Rig) -> None:
    rule = take_away(rig, "deployments", "patch")

    result = await rig.rehearse(rig.proposal())

    assert result.status is RehearsalStatus.REFUSED
    assert result.reason.startswith('dry_run: the API server says 403: deployments.apps "web" is forbidden')
    assert f"add to the role: {rule};" in result.reason
    assert rig.written == []


@pytest.mark.parametrize("code", [429, 503])
async def test_an_api_server_that_says_for_how_long_is_left_alone_for_so_long(rig: Rig, code: int) -> None:
    order = await an_order(rig)
    weather = rig.api.weather
    weather.error_rate, weather.error_code, weather.retry_after_s = 1.0, code, 20
    rig.api.requests.clear()
    await rig.give(order)
    assert (rig.said(order).stage, len(rig.api.requests)) == (Stage.BLOCKED, 1)
    assert f"the API server answered {code}" in rig.said(order).reason

    weather.error_rate = 0.0
    await rig.look_for(seconds=15)
    with pytest.raises(TemporaryError, match="wants to be left alone for 5 s") as refusal:
        await rig.executor.monitor()
    assert refusal.value.retry_after_s == 5
    assert len(rig.api.requests) == 1
    await rig.look_for(seconds=5)

    assert rig.said(order).stage is Stage.SETTLING


async def test_no_api_server_is_left_alone_for_longer_than_half_a_minute(rig: Rig) -> None:
    order = await an_order(rig)
    weather = rig.api.weather
    weather.error_rate, weather.retry_after_s = 1.0, 86_400
    await rig.give(order)
    weather.error_rate = 0.0

    await rig.look_for(seconds=30)

    assert rig.said(order).stage is Stage.SETTLING


async def test_a_clock_that_goes_back_leaves_no_api_server_alone(rig: Rig) -> None:
    weather = rig.api.weather
    weather.error_rate, weather.retry_after_s = 1.0, 20
    await rig.rehearse(rig.proposal())
    weather.error_rate = 0.0

    await rig.pass_time(hours=-2)

    assert (await rig.rehearse(rig.proposal())).status is RehearsalStatus.PLANNED


@dataclass
class BusyOnce(httpx2.AsyncBaseTransport):
    """Answers the first write that is meant with this code, done or not."""

    inner: httpx2.AsyncBaseTransport
    code: int
    is_done: bool
    writes: int = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" or "dryRun" in request.url.params:
            return await self.inner.handle_async_request(request)
        self.writes += 1
        if self.writes > 1:
            return await self.inner.handle_async_request(request)
        if self.is_done:
            await self.inner.handle_async_request(request)
        return httpx2.Response(self.code, headers={"Retry-After": "7"}, text="Too many requests")


@pytest.mark.parametrize(("code", "is_done", "writes"), [(429, False, 2), (503, False, 2), (503, True, 1)])
async def test_a_write_to_a_busy_server_is_sent_again_only_after_a_look_at_what_it_did(
    database: Database, *, code: int, is_done: bool, writes: int
) -> None:
    made: list[BusyOnce] = []

    def busy(wire: httpx2.AsyncBaseTransport) -> BusyOnce:
        made.append(BusyOnce(wire, code, is_done))
        return made[0]

    rig = Rig(database, wire=busy)
    order = await an_order(rig)
    await rig.give(order)
    assert made[0].writes == 1

    # The AI Engine confirms what has grown old meanwhile.
    rig.verifier.says = Judgement.NOT_YET
    await rig.look_for(seconds=65)

    assert rig.said(order).stage is Stage.SETTLING
    assert (made[0].writes, len(rig.written)) == (writes, 1)
    await rig.close()


async def test_a_page_of_a_proxy_is_no_answer(database: Database) -> None:
    page = httpx2.MockTransport(lambda _: httpx2.Response(200, text="<html>please log in</html>"))
    rig = Rig(database, wire=lambda _: page)

    result = await rig.rehearse(rig.proposal())

    assert (result.status, "does not say its version: <html>" in result.reason) == (RehearsalStatus.FAILED, True)
    await rig.close()


async def test_a_backend_that_cannot_say_whether_it_is_paused_stops_everything(rig: Rig) -> None:
    order = await an_order(rig)
    rig.backend.work = rig.backend.work.model_copy(update={"orders": (rig.seal(order),)})
    await rig.executor.fetch(wait=timedelta())

    rig.backend.is_up = False
    await rig.executor.step()
    assert rig.written == []

    rig.backend.is_up = True
    await rig.pass_time(seconds=6)
    await rig.executor.step()
    assert len(rig.written) == 1
    assert [one.stage for one in rig.backend.outcomes] == [Stage.BLOCKED, Stage.ACTING, Stage.SETTLING]


@pytest.mark.parametrize("says", [None, Judgement.UNKNOWN])
async def test_old_data_that_nobody_can_confirm_pauses_and_asks(rig: Rig, says: Judgement | None) -> None:
    """Prometheus is gone, or the AI Engine with it: a proposal on old data is inconclusive."""
    rig.verifier.says = says
    proposal = rig.proposal()
    await rig.pass_time(seconds=46)

    result = await rig.rehearse(proposal)

    assert result.status is RehearsalStatus.FAILED
    assert result.reason.startswith("data_is_fresh: the data is 46 s old")


async def test_without_a_verdict_a_rollback_is_held_and_somebody_is_called(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=None)
    rig.roll_out()

    await rig.pass_time(seconds=301)
    await rig.executor.step()

    outcome = rig.said(order)
    assert (outcome.stage, outcome.escalate) == (Stage.HELD, True)
    assert len(rig.written) == 1


async def test_without_an_api_server_while_it_settles_nothing_is_taken_back_as_if_it_had_not_helped(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.BETTER)
    rig.roll_out()
    await rig.look_for(seconds=20)
    rig.verifier.says, rig.is_cluster_up = Judgement.UNKNOWN, False

    await rig.look_for(seconds=300)

    outcome = rig.said(order)
    assert (outcome.stage, outcome.escalate) == (Stage.HELD, True)
    assert "the API server does not answer" in outcome.reason
    assert len(rig.written) == 1


async def test_an_api_server_that_is_back_in_time_lets_it_settle_from_then_on(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.BETTER)
    rig.roll_out()
    await rig.look_for(seconds=50)
    rig.is_cluster_up = False
    await rig.look_for(seconds=30)
    rig.is_cluster_up = True

    await rig.look_for(seconds=55)
    assert rig.said(order).stage is Stage.SETTLING
    await rig.look_for(seconds=20)

    assert rig.said(order).stage is Stage.KEPT


# Targets


async def test_a_target_of_another_kind_than_the_action_is_for_is_refused(rig: Rig) -> None:
    odd = rig.ref().model_copy(update={"kind": "StatefulSet"})

    result = await rig.rehearse(rig.proposal(target=odd, owner=odd))

    assert result.status is RehearsalStatus.REFUSED


async def test_a_namesake_is_not_the_target(rig: Rig) -> None:
    namesake = TargetRef.model_validate(rig.ref().model_dump() | {"uid": "of-another-life"})

    result = await rig.rehearse(rig.proposal(target=namesake, owner=namesake))

    assert "another object now" in result.reason
    assert rig.sent == []


async def test_nobody_gets_at_a_pod_by_the_mode_of_an_owner_that_is_not_its_own(rig: Rig) -> None:
    rig.change(DEPLOYMENTS, "web", lambda it: it["metadata"].update(labels={"aegis.dev/mode": "off"}))
    spec = rig.find(DEPLOYMENTS, "web")["spec"]
    rig.store.create(DEPLOYMENTS, {"metadata": {"name": "other", "namespace": "shop"}, "spec": spec})
    proposal = rig.proposal(EvictPod(), owner=rig.ref(name="other"))

    result = await rig.rehearse(proposal)

    assert result.status is RehearsalStatus.REFUSED
    assert result.reason == "target_is_there: shop/Pod/web-new-0 does not belong to shop/Deployment/other"
    assert rig.sent == []


async def test_a_target_of_another_cluster_is_refused(rig: Rig) -> None:
    elsewhere = rig.ref().model_copy(update={"cluster_id": "elsewhere"})

    result = await rig.rehearse(rig.proposal(target=elsewhere, owner=elsewhere))

    assert (result.status, "cluster elsewhere" in result.reason) == (RehearsalStatus.REFUSED, True)


# Taking back


async def test_what_is_worse_is_undone_and_nothing_is_left_of_us(rig: Rig) -> None:
    before = rig.find(DEPLOYMENTS, "web")
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)

    await rig.look_for(seconds=20)

    assert rig.said(order).stage is Stage.UNDONE
    after = rig.find(DEPLOYMENTS, "web")
    assert after["spec"] == before["spec"]
    assert not any(key.startswith("order.aegis.dev/") for key in after["metadata"].get("annotations") or {})
    assert not any(one.get("manager") == "aegis-executor" for one in after["metadata"].get("managedFields") or [])


async def test_an_undo_goes_on_while_paused(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)
    rig.backend.paused = True

    await rig.look_for(seconds=20)

    assert rig.said(order).stage is Stage.UNDONE


async def test_fields_that_somebody_changed_since_are_not_undone_and_somebody_is_called(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)
    rig.change(DEPLOYMENTS, "web", lambda it: it["spec"]["template"]["spec"].update(hostNetwork=True))

    await rig.look_for(seconds=20)

    outcome = rig.said(order)
    assert (outcome.stage, outcome.escalate) == (Stage.ESCALATED, True)
    assert "no longer hold what was written (/spec/template/spec/hostNetwork)" in outcome.reason
    assert rig.find(DEPLOYMENTS, "web")["spec"]["template"]["spec"]["hostNetwork"] is True


def owned_by_an_operator(rig: Rig) -> None:
    owner = {"apiVersion": "argoproj.io/v1", "kind": "Rollout", "name": "web", "uid": "u1", "controller": True}
    rig.change(DEPLOYMENTS, "web", lambda it: it["metadata"].update(ownerReferences=[owner]))


@pytest.mark.parametrize(
    ("protect", "because"),
    [
        (lambda rig: rig.restart(protected_namespaces="sh*"), "namespace shop is protected"),
        (lambda rig: rig.restart(namespaces="billing"), "namespace shop is outside of what this Executor may touch"),
        (owned_by_an_operator, "Deployment web belongs to Rollout/web, an operator's object"),
    ],
)
async def test_what_was_protected_since_is_not_even_undone_and_somebody_is_called(
    rig: Rig, protect: Callable[[Rig], None], because: str
) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)
    protect(rig)

    await rig.look_for(seconds=20)

    outcome = rig.said(order)
    assert (outcome.stage, outcome.escalate) == (Stage.ESCALATED, True)
    assert f"not undone: {because}" in outcome.reason
    assert len(rig.written) == 1


@dataclass
class Unwilling:
    """A cluster that refuses every write for now, once something is to be taken back."""

    inner: Cluster
    code: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def send(self, request: ExactRequest, *, dry_run: bool) -> Object:
        if self.code and not dry_run:
            raise WriteRefusedError(self.code, "NotNow", "not now")
        return await self.inner.send(request, dry_run=dry_run)


@pytest.mark.parametrize("code", [401, 403, 409, 429])
async def test_an_undo_that_is_refused_for_now_is_tried_on_and_one_person_is_called(
    database: Database, code: int
) -> None:
    rig = Rig(database, around=Unwilling)
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)
    rig.ports.cluster.code = code  # type: ignore[attr-defined]

    await rig.look_for(seconds=120)
    assert [one.stage for one in rig.backend.outcomes if one.escalate] == []
    await rig.look_for(seconds=40)
    assert [one.stage for one in rig.backend.outcomes if one.escalate] == [Stage.UNDOING]
    rig.ports.cluster.code = 0  # type: ignore[attr-defined]
    await rig.look_for(seconds=10)

    assert rig.said(order).stage is Stage.UNDONE
    await rig.close()


async def test_what_cannot_be_kept_for_now_is_tried_on_and_one_person_is_called(database: Database) -> None:
    rig = Rig(database, around=Unwilling)
    order = await one_that_was_carried_out(rig, says=Judgement.BETTER)
    rig.roll_out()
    rig.ports.cluster.code = 403  # type: ignore[attr-defined]

    await rig.look_for(seconds=150)
    assert [one.stage for one in rig.backend.outcomes if one.escalate] == []
    await rig.look_for(seconds=100)
    [called] = [one for one in rig.backend.outcomes if one.escalate]
    assert called.stage is Stage.SETTLING
    assert "not let go of yet, and tried on: fields of shop/Deployment/web are still ours" in called.reason
    assert "403: not now" in called.reason
    rig.ports.cluster.code = 0  # type: ignore[attr-defined]
    await rig.look_for(seconds=10)

    assert rig.said(order).stage is Stage.KEPT
    await rig.close()


async def test_what_a_person_could_not_keep_in_time_says_what_was_in_the_way(database: Database) -> None:
    rig = Rig(database, around=Unwilling)
    order = await one_that_was_carried_out(rig, says=None)
    rig.roll_out()
    await rig.pass_time(seconds=301)
    await rig.executor.step()
    rig.ports.cluster.code = 403  # type: ignore[attr-defined]
    expires_at = rig.clock.now() + timedelta(seconds=20)
    asked = order.model_copy(
        update={"id": "ord-keep", "purpose": "keep", "concerns": order.id, "expires_at": expires_at}
    )

    await rig.give(asked)
    await rig.look_for(seconds=20)

    assert (rig.said(asked).stage, "403: not now" in rig.said(asked).reason) == (Stage.EXPIRED, True)
    assert rig.said(order).stage is Stage.HELD
    await rig.close()


async def test_an_undo_goes_on_when_the_api_server_is_back_however_long_it_was_gone(rig: Rig) -> None:
    order = await one_that_was_carried_out(rig, says=Judgement.WORSE)
    await rig.pass_time(seconds=5)
    await rig.executor.step()
    rig.is_cluster_up = False
    await rig.look_for(seconds=150)
    assert (rig.said(order).stage, rig.said(order).escalate) == (Stage.UNDOING, True)

    rig.is_cluster_up = True
    await rig.look_for(seconds=10)

    assert rig.said(order).stage is Stage.UNDONE


# Its own API accepts no command


async def test_its_port_serves_health_metrics_and_status_and_takes_nothing(rig: Rig, database: Database) -> None:
    described = rig.executor.app.openapi()["paths"]

    assert set(described) == {"/health", "/ready", "/metrics", "/api/v1/status"}
    assert {method for operations in described.values() for method in operations} == {"get"}

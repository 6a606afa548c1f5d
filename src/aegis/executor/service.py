"""The Executor, given its ports: read-only status to serve, and steps to repeat."""

import base64
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge

from aegis import __version__
from aegis.contracts.audit import checkpoint_bytes
from aegis.contracts.orders import Announcement
from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.plans import Rehearsal
from aegis.contracts.work import Storm, Work
from aegis.executor.journal import repository
from aegis.executor.journal.plan import KeptPlan, PlanCipher
from aegis.executor.orders.begin import Beginner
from aegis.executor.orders.conclude import Concluder
from aegis.executor.orders.events import event_request
from aegis.executor.orders.look import Eyes
from aegis.executor.orders.monitor import Monitor
from aegis.executor.orders.receive import Receiver
from aegis.executor.orders.record import OUTCOMES, REPORTS, STORMS, Recorder
from aegis.executor.orders.rehearse import Rehearser
from aegis.executor.orders.settle import Settler
from aegis.executor.orders.undo import Undoer
from aegis.executor.ports import ExecutorPorts, WriteRefusedError
from aegis.kit.errors import TemporaryError
from aegis.kit.http import PROBLEMS, add_operations, add_problem_details

log = logging.getLogger(__name__)

PLANS_KEPT = timedelta(days=1)

T = TypeVar("T")
Handle = Callable[[Any, KeptPlan], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Parts:
    """What an Executor is made of. Simulations break one of them on purpose, to see that it is noticed."""

    eyes: type[Eyes] = Eyes
    rehearser: type[Rehearser] = Rehearser
    beginner: type[Beginner] = Beginner
    undoer: type[Undoer] = Undoer
    settler: type[Settler] = Settler


class Executor:
    def __init__(self, ports: ExecutorPorts, parts: Parts = Parts()) -> None:
        self._ports = ports
        cipher = PlanCipher(base64.b64decode(ports.settings.data_key.get_secret_value()))
        eyes, recorder = parts.eyes(ports), Recorder(ports)
        self._rehearser = parts.rehearser(ports, eyes, cipher)
        self._recorder = recorder
        self._receiver = Receiver(ports, recorder)
        self._beginner = parts.beginner(ports, eyes, cipher, self._rehearser, recorder)
        self._undoer = parts.undoer(ports, eyes, recorder)
        self._settler = parts.settler(ports, eyes, recorder, self._undoer)
        self._concluder = Concluder(ports, recorder, self._undoer)
        self._monitor = Monitor(ports)
        self.registry = CollectorRegistry()
        self._stages = Gauge("aegis_executor_orders", "Orders by stage.", ["stage"], registry=self.registry)
        self._refusals = Gauge(
            "aegis_executor_envelopes_refused",
            "Envelopes that were not believed, by why.",
            ["why"],
            registry=self.registry,
        )
        self._undelivered = Gauge(
            "aegis_executor_undelivered",
            "Outcomes and storms that wait for their turn, or that the Backend has refused for good.",
            ["state"],
            registry=self.registry,
        )
        self.app = FastAPI(title="Aegis Executor", version=__version__, responses=PROBLEMS)
        add_problem_details(self.app)
        add_operations(self.app, registry=self.registry, unready=self._unready)
        self.app.get("/api/v1/status", tags=["status"])(self._status)

    async def fetch(self, *, wait: timedelta | None = None) -> None:
        """Fetch what there is to do, and rehearse, write down or announce it; what fails keeps nothing else waiting."""
        settings = self._ports.settings
        work = await self._ports.backend.fetch_work(
            replica=settings.replica, wait=settings.fetch_wait if wait is None else wait
        )
        await self._take(work)

    async def _take(self, work: Work) -> None:
        await self._receiver.withdraw(work.withdrawn)
        failed = await _each(work.orders, self._receiver.receive)
        failed += await _each(work.rehearsals, self._rehearse)
        failed += await _each(work.announcements, self._announce)
        _raise_worst(failed)

    async def _rehearse(self, rehearsal: Rehearsal) -> None:
        backend = self._ports.backend
        try:
            result = await self._rehearser.rehearse(rehearsal)
        except Exception as error:
            # Its words may hold values of the cluster: those stay in our own log.
            why = f"the Executor cannot work it out: {type(error).__name__}; its log says more"
            await backend.report_rehearsal(self._rehearser.failed(rehearsal, why))
            raise
        await backend.report_rehearsal(result)

    async def _announce(self, announcement: Announcement) -> None:
        try:
            request = event_request(announcement, now=self._ports.clock.now(), replica=self._ports.settings.replica)
            await self._ports.cluster.send(request, dry_run=False)
        except WriteRefusedError as error:
            log.info("announcement %s: %s", announcement.id, error)
        await self._ports.backend.report_announced([announcement.id])

    async def step(self) -> None:
        """Take every order that is due one step further, then report; one that fails keeps no other from its turn."""
        failed: list[Exception] = []
        now = self._ports.clock.now()
        async with self._ports.database.transaction() as tx:
            await repository.believe_clock(tx, now=now, longest_wait=self._ports.settings.longest_wait)
            due = await repository.due_stages(tx, now=now)
        if due & {repository.RECEIVED, Stage.BLOCKED}:
            failed += await self._each_due((repository.RECEIVED, Stage.BLOCKED), self._begin)
        if Stage.ACTING in due:
            failed += await self._each_due((Stage.ACTING,), self._reconcile)
        if Stage.SETTLING in due:
            failed += await self._each_with_plan((Stage.SETTLING,), self._settler.look)
        if Stage.HELD in due:
            failed += await self._each_with_plan((Stage.HELD,), self._settler.look_at_held)
        if due:  # any of these may have begun to undo one just now
            failed += await self._each_with_plan((Stage.UNDOING,), self._undoer.carry_out)
        await self.report()
        _raise_worst(failed)

    async def report(self) -> None:
        backend = self._ports.backend

        async def outcome(body: bytes) -> None:
            await backend.report_outcome(Outcome.model_validate_json(body))

        async def storm(body: bytes) -> None:
            await backend.report_storm(Storm.model_validate_json(body))

        await REPORTS.flush(self._ports.database, {OUTCOMES: outcome, STORMS: storm})

    async def monitor(self) -> None:
        """Read the whole cluster's health, countersign the audit trail, count."""
        await self._monitor.step()
        await self._witness()
        async with self._ports.database.transaction() as tx:
            await repository.forget_old(tx, before=self._ports.clock.now() - PLANS_KEPT)
            counts = await repository.count_by_stage(tx)
            undelivered = await REPORTS.undelivered(tx)
        self._undelivered.labels("waiting").set(undelivered.waiting)
        self._undelivered.labels("refused").set(undelivered.refused)
        for stage, count in counts.items():
            self._stages.labels(stage).set(count)
        for why, count in self._receiver.refused.items():
            self._refusals.labels(why).set(count)

    async def _begin(self, row: Any) -> None:
        if row.concerns is not None:
            await self._concluder.conclude(row, await self._beginner.kept_plan(row))
        else:
            await self._beginner.begin(row)

    async def _reconcile(self, row: Any) -> None:
        await self._beginner.reconcile(row)

    async def _each_due(
        self, stages: tuple[str, ...], handle: Callable[[Any], Coroutine[Any, Any, None]]
    ) -> list[Exception]:
        """Handle what is due in these stages; return what went wrong."""
        now = self._ports.clock.now()
        async with self._ports.database.transaction() as tx:
            rows = await repository.claim(tx, stages, now=now, until=now + self._ports.settings.claim_lifetime)
        return await _each(rows, handle)

    async def _each_with_plan(self, stages: tuple[str, ...], handle: Handle) -> list[Exception]:
        async def with_plan(row: Any) -> None:
            plan = await self._beginner.kept_plan(row)
            if plan is None:
                await self._hand_over_unreadable(row)
            else:
                await handle(row, plan)

        return await self._each_due(stages, with_plan)

    async def _hand_over_unreadable(self, row: Any) -> None:
        """Somebody altered our database, or the key is another one: touch nothing, and call a person."""
        reason = f"it was {row.stage}, and its plan cannot be read any more: look at the target yourself"
        async with self._ports.database.transaction() as tx:
            await self._recorder.move(tx, row, Stage.ESCALATED, reason=reason, escalate=True)

    async def _witness(self) -> None:
        """Countersign the Backend's newest checkpoint, so that it cannot tell another story later."""
        checkpoint = await self._ports.backend.newest_checkpoint()
        if checkpoint is not None:
            key = self._ports.witness_key
            signature = key.sign(checkpoint_bytes(checkpoint.sequence, checkpoint.hash, checkpoint.at))
            await self._ports.backend.countersign(checkpoint.sequence, key.public.to_text(), signature)

    async def _status(self) -> dict[str, Any]:
        async with self._ports.database.transaction() as tx:
            stages = await repository.count_by_stage(tx)
            storm = await repository.current_storm(tx)
        return {
            "replica": self._ports.settings.replica,
            "cluster_id": self._ports.settings.cluster_id,
            "orders": stages,
            "storm_since": storm.since.isoformat() if storm is not None else None,
        }

    async def _unready(self) -> str | None:
        return None if await self._ports.database.is_there() else "the database does not answer"


async def _each(things: Iterable[T], handle: Callable[[T], Coroutine[Any, Any, object]]) -> list[Exception]:
    """Handle each by itself; return what went wrong, to be raised when all others had their turn."""
    failed: list[Exception] = []
    for thing in things:
        try:
            await handle(thing)
        except Exception as error:  # noqa: BLE001 - see `_raise_worst`
            failed.append(error)
    return failed


def _raise_worst(failed: Sequence[Exception]) -> None:
    """Raise what is no passing trouble, if anything is."""
    if failed:
        raise next((error for error in failed if not isinstance(error, TemporaryError)), failed[0])

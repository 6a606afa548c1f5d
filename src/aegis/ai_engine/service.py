"""The AI Engine, given its ports: an API to call and a step to repeat."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic import BaseModel

from aegis import __version__
from aegis.ai_engine.access import Access
from aegis.ai_engine.pipeline import Freshness, Pipeline
from aegis.ai_engine.ports import AiEnginePorts
from aegis.ai_engine.settings import AiEngineSettings
from aegis.ai_engine.sources.prometheus import LEFT_ALONE_MAX
from aegis.contracts.targets import Named, WorkloadRef
from aegis.contracts.verifications import Verification, VerificationRequest
from aegis.kit.errors import AegisError, NotFoundError, TemporaryError
from aegis.kit.http import PROBLEMS, add_operations, add_problem_details
from aegis.kit.outbox import Undelivered

log = logging.getLogger(__name__)

SNAPSHOT = "pipeline"
RECENT = timedelta(hours=6)
SHOWN_UNREADABLE = 10


class State(BaseModel):
    """What the AI Engine watches, and how fresh it is."""

    cluster_id: str
    cluster_as_of: datetime | None
    metrics_as_of: datetime | None
    cluster_is_fresh: bool
    metrics: str
    troubles: Mapping[str, str]
    workloads: int
    pods: int
    series: int
    open_incidents: int
    steps: int
    at: datetime


class AiEngine:
    def __init__(self, ports: AiEnginePorts, settings: AiEngineSettings, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._ports = ports
        self._settings = settings
        self._has_metrics = ports.metrics is not None
        self._metrics_trouble = ""
        self._restored = False
        self._cursor = ""
        self._steps = 0
        self._said = ""
        self._next_column: datetime | None = None
        self._next_snapshot: datetime | None = None
        self.registry = CollectorRegistry()
        self._counters = _Counters(self.registry)
        self.app = self._app()

    # -- the API

    def _app(self) -> FastAPI:
        app = FastAPI(title="Aegis AI Engine", version=__version__, responses=PROBLEMS)
        access = Access(self._settings.callers)
        add_problem_details(app)
        add_operations(app, registry=self.registry, unready=self._unready)

        @app.post("/api/v1/verifications", tags=["verifications"])
        async def verify(request: VerificationRequest, _: str = access.only("executor")) -> Verification:
            verdict = self.pipeline.verify(request, self._now(), self._freshness())
            self._counters.verifications.labels(verdict.judgement).inc()
            return verdict

        @app.get("/api/v1/targets/{namespace}/{kind}/{name}", tags=["targets"])
        async def target(namespace: str, kind: str, name: str, _: str = access.only("backend")) -> Named:
            return self._named(namespace, kind, name)

        @app.get("/api/v1/state", tags=["state"])
        async def state(_: str = access.caller) -> State:
            return self._state()

        return app

    async def _unready(self) -> str | None:
        if not await self._ports.store.is_there():
            return "the database does not answer"
        if self._ports.cluster.as_of() is None:
            return f"the cluster's objects have not been listed yet{self._told_troubles()}"
        if not self._freshness().cluster_is_fresh(self._now()):
            return f"the cluster's objects are out of date{self._told_troubles()}"
        return None

    def _told_troubles(self) -> str:
        troubles = self._ports.cluster.troubles()
        return "".join(f"; {resource}: {why}" for resource, why in sorted(troubles.items())[:3])

    def _named(self, namespace: str, kind: str, name: str) -> Named:
        cluster_id = self._settings.cluster_id
        ref = WorkloadRef(cluster_id=cluster_id, namespace=namespace, kind=kind, name=name)
        found = self.pipeline.named(ref)
        if found is None:
            raise NotFoundError(f"there is no {ref}", hint="Names and kinds are written as in `kubectl get`.")
        return found

    def _state(self) -> State:
        now, fresh, inventory = self._now(), self._freshness(), self.pipeline.inventory
        troubles = {**self._ports.cluster.troubles(), **dict([*self.pipeline.unreadable.items()][:SHOWN_UNREADABLE])}
        if self._metrics_trouble:
            troubles["metrics"] = self._metrics_trouble
        return State(
            cluster_id=self._settings.cluster_id,
            cluster_as_of=fresh.cluster_as_of,
            metrics_as_of=fresh.metrics_as_of,
            cluster_is_fresh=fresh.cluster_is_fresh(now),
            metrics=fresh.metrics(now),
            troubles=troubles,
            workloads=len(inventory.workloads),
            pods=len(inventory.pods),
            series=len(self.pipeline.board),
            open_incidents=len(self.pipeline.incidents.open()),
            steps=self._steps,
            at=now,
        )

    def _now(self) -> datetime:
        return self._ports.clock.now()

    def _freshness(self) -> Freshness:
        return Freshness(
            cluster_as_of=self._ports.cluster.as_of(),
            metrics_as_of=self.pipeline.metrics_as_of,
            has_metrics=self._has_metrics,
            stale_after=self._settings.stale_after,
            cluster_stale_after=self._settings.cluster_stale_after,
        )

    # -- the step

    async def step(self) -> None:
        """Observe, conclude, write down, tell, learn."""
        await self._restore()
        self.pipeline.apply(self._ports.cluster.take_changes())
        await self._take_metrics()
        now, fresh = self._now(), self._freshness()
        self._say_what_is_stale(now, fresh)
        await self._adopt(now)
        with self._counters.step_seconds.time():
            conclusions = self.pipeline.conclude(now, fresh)
        try:
            await self._ports.store.save(conclusions, at=now)
        except TemporaryError:
            self.pipeline.take_back(conclusions)
            raise
        self._counters.note(conclusions.reports, conclusions.proposals, len(self.pipeline.board))
        self._steps += 1
        await self._save_snapshot(now)

    async def exchange(self) -> None:
        """Tell the Backend what waits, and learn what came of what was proposed."""
        await self._ports.store.deliver(self._ports.backend)
        conclusions, self._cursor = await self._ports.store.learn(self._ports.backend, after=self._cursor)
        for conclusion in conclusions:
            self.pipeline.learn(conclusion)

    async def _restore(self) -> None:
        """Go on where this or another process was killed, before anything is looked at."""
        if self._restored:
            return
        kept = await self._ports.store.snapshot(SNAPSHOT)
        if kept is not None:
            plain = orjson.loads(kept)
            self._cursor = plain["cursor"]
            self.pipeline.restore(plain["pipeline"])
        self.pipeline.adopt(await self._ports.store.recent_incidents(since=self._now() - RECENT))
        await self._backfill(known=kept is not None)
        self._restored = True

    async def _backfill(self, *, known: bool) -> None:
        """Learn from the past what is usual, unless that is known already."""
        if self._ports.metrics is None or known:
            return
        interval, now = self._settings.metrics_interval, self._now()
        try:
            for column in await self._ports.metrics.between(now - self._settings.backfill, now - interval, interval):
                if column:
                    self.pipeline.take(column, datetime.fromtimestamp(column[0].at, tz=now.tzinfo))
        except AegisError as error:
            log.warning("learning starts from nothing: %s", error)

    async def _take_metrics(self) -> None:
        now = self._now()
        if self._ports.metrics is None or _is_yet_to_come(
            self._next_column, now, longest=max(self._settings.metrics_interval, LEFT_ALONE_MAX)
        ):
            return
        self._next_column = now + self._settings.metrics_interval
        try:
            column = await self._ports.metrics.newest()
        except NotFoundError as error:
            self._has_metrics, self._metrics_trouble = False, str(error)
            return
        except TemporaryError as error:
            self._metrics_trouble = str(error)
            self._next_column = now + max(self._settings.metrics_interval, timedelta(seconds=error.retry_after_s))
            return
        self._has_metrics, self._metrics_trouble = True, ""
        self.pipeline.take(column, self._now())

    async def _adopt(self, now: datetime) -> None:
        """Speak of problems by the keys that other replicas have given them."""
        self.pipeline.adopt(await self._ports.store.recent_incidents(since=now - 3 * self._settings.step_interval))

    def _say_what_is_stale(self, now: datetime, fresh: Freshness) -> None:
        if fresh.cluster_as_of is None:
            said = f"waiting for the cluster's objects{self._told_troubles()}"
        elif not fresh.cluster_is_fresh(now):
            said = f"the cluster's objects are out of date, nothing is concluded{self._told_troubles()}"
        elif fresh.metrics(now) == "stale":
            said = f"metrics are out of date, nothing is proposed on them: {self._metrics_trouble or 'no samples'}"
        elif not self._has_metrics and self._metrics_trouble:
            said = f"what only metrics show is not looked for: {self._metrics_trouble}"
        else:
            said = ""
        if said != self._said:
            log.warning("%s", said) if said else log.info("all that is looked at is fresh")
            self._said = said

    async def _save_snapshot(self, now: datetime) -> None:
        if _is_yet_to_come(self._next_snapshot, now, longest=self._settings.snapshot_interval):
            return
        self._next_snapshot = now + self._settings.snapshot_interval
        body = orjson.dumps({"cursor": self._cursor, "pipeline": self.pipeline.to_plain()})
        await self._ports.store.save_snapshot(SNAPSHOT, body, at=now)
        await self._ports.store.tidy(at=now)
        self._counters.note_undelivered(await self._ports.store.undelivered())


def _is_yet_to_come(at: datetime | None, now: datetime, *, longest: timedelta) -> bool:
    """Whether to wait until then; where that is later than the longest wait from now, the clock has gone back since."""
    return at is not None and timedelta() < at - now <= longest


class _Counters:
    """What the AI Engine says of itself to a metrics system."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verifications = Counter(
            "aegis_ai_engine_verifications", "Verifications answered", ["judgement"], registry=registry
        )
        self.step_seconds = Histogram(
            "aegis_ai_engine_conclude_seconds", "Time to conclude one step", registry=registry
        )
        self._reports = Counter("aegis_ai_engine_reports", "Incident reports written", registry=registry)
        self._proposals = Counter("aegis_ai_engine_proposals", "Proposals made", ["action", "cause"], registry=registry)
        self._series = Gauge("aegis_ai_engine_series", "Series followed", registry=registry)

        self._undelivered = Gauge(
            "aegis_ai_engine_undelivered",
            "Reports and proposals that wait for their turn, or that the Backend has refused for good",
            ["state"],
            registry=registry,
        )

    def note_undelivered(self, found: Undelivered) -> None:
        self._undelivered.labels("waiting").set(found.waiting)
        self._undelivered.labels("refused").set(found.refused)

    def note(self, reports: Any, proposals: Any, series: int) -> None:
        self._reports.inc(len(reports))
        for proposal in proposals:
            self._proposals.labels(proposal.action.kind, proposal.cause).inc()
        self._series.set(series)

"""The service as a whole: real PostgreSQL, a pretend cluster, a Backend that listens."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import httpx
import pytest
from tests.servers import KEYS
from tests.unit.ai_engine.builders import CLUSTER, SHOP, World, ref

from aegis.ai_engine.pipeline import Pipeline
from aegis.ai_engine.ports import AiEnginePorts, ObjectChange, Sample, labels_of
from aegis.ai_engine.repository import Repository
from aegis.ai_engine.service import AiEngine
from aegis.ai_engine.settings import AiEngineSettings
from aegis.catalogue.signals import LATENCY, Signal
from aegis.contracts.incidents import IncidentReport
from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.proposals import Proposal
from aegis.contracts.verifications import Judgement
from aegis.kit.clock import VirtualClock
from aegis.kit.database import Database
from aegis.kit.errors import AegisError, InvalidError, NotFoundError, TemporaryError


class ListeningBackend:
    def __init__(self) -> None:
        self.is_up = True
        self.heard: list[IncidentReport | Proposal] = []
        self.outcomes: list[Outcome] = []

    async def report(self, report: IncidentReport) -> None:
        self._hear(report)

    async def propose(self, proposal: Proposal) -> str:
        self._hear(proposal)
        return f"rem-{proposal.id}"

    async def outcomes_after(self, after: str, *, limit: int = 100) -> tuple[Sequence[Outcome], str]:
        start = int(after or 0)
        return self.outcomes[start:][:limit], str(len(self.outcomes[:][: start + limit]))

    def _hear(self, what: IncidentReport | Proposal) -> None:
        if not self.is_up:
            raise TemporaryError("the Backend is away")
        self.heard.append(what)

    @property
    def reports(self) -> list[IncidentReport]:
        return [one for one in self.heard if isinstance(one, IncidentReport)]

    @property
    def proposals(self) -> list[Proposal]:
        return [one for one in self.heard if isinstance(one, Proposal)]


class RecordingWorld(World):
    """A world whose objects go to a service's source as well."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[ObjectChange] = []

    def put(self, resource: str, object: Mapping[str, object], *, deleted: bool = False) -> None:
        self.changes.append(ObjectChange(resource, object, self.now, deleted))


class PretendSource:
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.waiting: list[ObjectChange] = []
        self.is_up = True
        self.lost_at: datetime | None = None

    def take_changes(self) -> Sequence[ObjectChange]:
        if not self.is_up:
            return []
        taken, self.waiting = self.waiting, []
        return taken

    def as_of(self) -> datetime | None:
        return self.clock.now() if self.is_up else self.lost_at

    def troubles(self) -> Mapping[str, str]:
        return {} if self.is_up else {"pods": "ConnectError"}

    def go_away(self) -> None:
        self.is_up, self.lost_at = False, self.clock.now()


class PretendMetrics:
    def __init__(self) -> None:
        self.trouble: AegisError | None = None
        self.asked = 0
        self.samples: list[Sample] = []

    async def newest(self) -> Sequence[Sample]:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return self.samples

    def show(self, signal: Signal, name: str, value: float, *, clock: VirtualClock) -> None:
        """Answer from now on with this value, as it was observed now."""
        labels = labels_of({"namespace": SHOP, "kind": "Deployment", "workload": name})
        self.samples = [Sample(signal.metric, labels, value, clock.now().timestamp())]

    async def between(self, start: datetime, end: datetime, step: timedelta) -> Sequence[Sequence[Sample]]:
        return []


class Rig:
    """A running engine; `again` is the same after a restart."""

    def __init__(self, database: Database, world: RecordingWorld | None = None, **settings: str) -> None:
        self.database = database
        self.world = world or RecordingWorld()
        self.clock = VirtualClock(self.world.now)
        self.backend = ListeningBackend()
        self.source = PretendSource(self.clock)
        self.metrics = PretendMetrics()
        given = {"backend_key": "k", "cluster_id": CLUSTER, "caller_keys": KEYS.callers, **settings}
        self.settings = AiEngineSettings.model_validate(given)
        pipeline = Pipeline(cluster_id=CLUSTER, metrics_interval=timedelta(seconds=15))
        ports = AiEnginePorts(self.clock, self.source, self.metrics, self.backend, Repository(database))
        self.engine = AiEngine(ports, self.settings, pipeline)
        self._given = 0

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 5)):
            await self.clock.advance(timedelta(seconds=5))
            self.world.now = self.clock.now()
            self.source.waiting += self.world.changes[self._given :]
            self._given = len(self.world.changes)
            await self.engine.step()
            if self.backend.is_up:
                await self.engine.exchange()

    async def crash_loop(self, *, times: int = 3) -> None:
        """Bring up a workload, let it be well for a minute, and roll out a revision that crashes."""
        self.world.node("n1")
        self.world.deploy("web")
        await self.run(60)
        self.world.roll_out("web", 2)
        for count in range(1, times + 1):
            ended = self.world.ended()
            self.world.pod("web", 0, revision=2, ready=False, restarts=count, ended=ended,
                           waiting="CrashLoopBackOff" if count > 1 else "")  # fmt: skip
            await self.run(15)

    def client(self, caller: str = "") -> httpx.AsyncClient:
        """Return a client that shows the key of `caller`; none if nobody is named."""
        headers = {"Authorization": f"Bearer {KEYS.caller[caller]}"} if caller else {}
        transport = httpx.ASGITransport(self.engine.app)
        return httpx.AsyncClient(transport=transport, base_url="http://ai-engine", headers=headers)


@pytest.fixture
def rig(database: Database) -> Rig:
    return Rig(database)


async def test_a_crash_loop_after_a_rollout_is_reported_and_a_rollback_proposed(rig: Rig) -> None:
    await rig.crash_loop()

    assert rig.backend.reports[-1].diagnosis is not None
    assert rig.backend.reports[-1].diagnosis.probable.cause == "bad_revision"
    [proposal] = rig.backend.proposals
    assert proposal.action.kind == "rollback_rollout"
    assert str(proposal.target) == "shop/Deployment/web"
    assert proposal.incident_key == rig.backend.reports[0].key


async def test_the_backend_hears_of_an_incident_before_it_hears_what_to_do(rig: Rig) -> None:
    await rig.crash_loop()

    assert isinstance(rig.backend.heard[0], IncidentReport)
    assert rig.backend.heard.index(rig.backend.proposals[0]) > 0


async def test_what_is_concluded_while_the_backend_is_away_is_told_when_it_is_back(rig: Rig) -> None:
    rig.backend.is_up = False
    await rig.crash_loop()
    assert rig.backend.heard == []

    rig.backend.is_up = True
    await rig.run(5)

    assert len(rig.backend.proposals) == 1


async def test_a_restarted_process_speaks_by_the_same_key_and_proposes_nothing_twice(rig: Rig) -> None:
    await rig.crash_loop()
    key, proposal = rig.backend.reports[0].key, rig.backend.proposals[0]

    again = Rig(rig.database, rig.world)
    await again.run(60)

    assert {one.key for one in again.backend.reports} <= {key}
    assert again.backend.proposals == []
    assert again.engine.pipeline.incidents.get(key) is not None
    assert proposal.id in again.engine.pipeline.incidents.open()[0].proposed


async def test_two_replicas_report_one_problem_by_one_key_and_one_proposal(database: Database) -> None:
    first = Rig(database)
    second = Rig(database, first.world)
    second.clock = first.clock
    second.engine._ports = AiEnginePorts(
        first.clock, second.source, second.metrics, second.backend, second.engine._ports.store
    )
    second.source.clock = first.clock
    first.world.node("n1")
    first.world.deploy("web")

    async def run_both(seconds: float) -> None:
        for _ in range(round(seconds / 5)):
            await first.run(5)
            second.source.waiting += first.world.changes[second._given :]
            second._given = len(first.world.changes)
            await second.engine.step()
            await second.engine.exchange()

    await run_both(60)
    first.world.roll_out("web", 2)
    for count in (1, 2, 3):
        first.world.pod("web", 0, revision=2, ready=False, restarts=count, ended=first.world.ended(),
                        waiting="CrashLoopBackOff")  # fmt: skip
        await run_both(20)

    heard = [*first.backend.heard, *second.backend.heard]
    assert len({one.key for one in heard if isinstance(one, IncidentReport)}) == 1
    assert len({one.id for one in heard if isinstance(one, Proposal)}) == 1


async def test_what_did_not_help_is_not_proposed_again_for_the_same_spec(rig: Rig) -> None:
    await rig.crash_loop()
    [proposal] = rig.backend.proposals

    rig.backend.outcomes = [
        Outcome(
            order_id="ord-1", remediation_id=f"rem-{proposal.id}", sequence=1, stage=Stage.UNDONE, at=rig.clock.now()
        )
    ]
    rig.world.pod("web", 0, revision=2, ready=False, restarts=4, ended=rig.world.ended(), waiting="CrashLoopBackOff")
    await rig.run(60)

    assert len(rig.backend.proposals) == 1
    assert "did not help" in rig.backend.reports[-1].needs_person


async def test_on_old_objects_nothing_is_concluded_and_the_state_says_so(rig: Rig) -> None:
    rig.world.deploy("web")
    await rig.run(60)
    rig.source.go_away()
    rig.world.roll_out("web", 2)
    rig.world.pod("web", 0, revision=2, ready=False, restarts=5, ended=rig.world.ended(), waiting="CrashLoopBackOff")

    await rig.run(120)

    assert rig.backend.heard == []
    async with rig.client("backend") as http:
        state = (await http.get("/api/v1/state")).json()
        ready = await http.get("/ready")
    assert state["cluster_is_fresh"] is False
    assert state["troubles"] == {"pods": "ConnectError"}
    assert ready.status_code == 503
    assert "out of date" in ready.json()["detail"]


async def test_metrics_that_are_gone_are_said_to_be_old(rig: Rig) -> None:
    rig.world.deploy("web")
    rig.metrics.trouble = TemporaryError("no metrics just now")
    await rig.run(20)

    async with rig.client("backend") as http:
        state = (await http.get("/api/v1/state")).json()

    assert state["metrics"] == "stale"
    assert state["troubles"]["metrics"] == "no metrics just now"


async def test_without_any_metrics_what_the_objects_show_is_still_healed(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.metrics.trouble = NotFoundError(
        "there is no metrics-server to read: the API server answered 404", hint="Install one."
    )
    await rig.crash_loop()

    async with rig.client("backend") as http:
        state = (await http.get("/api/v1/state")).json()
        ready = await http.get("/ready")
    assert (state["metrics"], ready.status_code) == ("none", 200)
    assert state["troubles"]["metrics"] == rig.metrics.trouble.message
    assert f"what only metrics show is not looked for: {rig.metrics.trouble.message}" in caplog.messages
    assert [one.action.kind for one in rig.backend.proposals] == ["rollback_rollout"]

    rig.metrics.trouble = None
    await rig.run(15)
    async with rig.client("backend") as http:
        assert "metrics" not in (await http.get("/api/v1/state")).json()["troubles"]


async def test_a_metrics_system_that_is_busy_is_left_alone_for_as_long_as_it_says(rig: Rig) -> None:
    rig.metrics.trouble = TemporaryError("the metrics system answered 503", retry_after_s=60)
    await rig.run(60)
    assert rig.metrics.asked == 1

    rig.metrics.trouble = None
    await rig.run(30)
    assert rig.metrics.asked == 3


async def test_a_clock_that_goes_back_keeps_no_metrics_waiting_and_makes_nothing_old_fresh(rig: Rig) -> None:
    rig.world.deploy("web")
    rig.metrics.show(LATENCY, "web", 0.05, clock=rig.clock)
    await rig.run(60)
    asked = rig.metrics.asked
    rig.source.go_away()
    await rig.clock.advance(timedelta(hours=-2))

    rig.metrics.show(LATENCY, "web", 0.07, clock=rig.clock)
    await rig.engine.step()

    assert rig.metrics.asked == asked + 1
    assert rig.engine.pipeline.board.latest(LATENCY, ref("web"), now=rig.clock.now().timestamp()) == pytest.approx(0.07)
    async with rig.client("backend") as http:
        state = (await http.get("/api/v1/state")).json()
    assert state["cluster_is_fresh"] is False
    assert state["metrics"] == "fresh"


async def test_a_clock_that_jumps_ahead_lets_nothing_be_proposed_on_what_was_seen_before(rig: Rig) -> None:
    rig.source.is_up = True
    await rig.crash_loop(times=1)
    proposed = len(rig.backend.proposals)
    rig.source.go_away()
    await rig.clock.advance(timedelta(hours=2))

    await rig.engine.step()
    await rig.engine.exchange()

    assert len(rig.backend.proposals) == proposed
    async with rig.client("backend") as http:
        assert (await http.get("/ready")).status_code == 503


async def test_what_the_backend_would_not_hear_is_shown(rig: Rig) -> None:
    async def refuses(proposal: Proposal) -> str:
        raise InvalidError("that makes no sense")

    rig.backend.propose = refuses  # type: ignore[method-assign]
    await rig.crash_loop()
    await rig.run(60)

    async with rig.client() as http:
        metrics = (await http.get("/metrics")).text

    assert 'aegis_ai_engine_undelivered{state="refused"} 1.0' in metrics
    assert 'aegis_ai_engine_undelivered{state="waiting"} 0.0' in metrics


async def test_a_verification_is_answered_over_http(rig: Rig) -> None:
    await rig.crash_loop()
    body = {
        "remediation_id": "rem-1", "order_id": "ord-1", "incident_key": rig.backend.reports[0].key,
        "workload": {"cluster_id": CLUSTER, "namespace": "shop", "kind": "Deployment", "name": "web"},
        "signals": [], "acted_at": rig.clock.now().isoformat(),
        "settle_until": (rig.clock.now() + timedelta(minutes=1)).isoformat(),
    }  # fmt: skip

    async with rig.client("executor") as http:
        answer = await http.post("/api/v1/verifications", json=body)

    assert answer.status_code == 200
    assert answer.json()["judgement"] == Judgement.NOT_YET


async def test_a_name_means_the_object_that_has_it_now(rig: Rig) -> None:
    rig.world.deploy("web")
    await rig.run(5)

    async with rig.client("backend") as http:
        found = (await http.get("/api/v1/targets/shop/Deployment/web")).json()
        missing = await http.get("/api/v1/targets/shop/Deployment/nobody")

    assert found["target"] == found["owner"]
    assert (found["target"]["uid"], found["target"]["api_version"]) == ("uid-web", "apps/v1")
    assert missing.status_code == 404
    assert "there is no shop/Deployment/nobody" in missing.json()["detail"]


async def test_a_pods_name_means_that_pod_and_the_workload_it_belongs_to(rig: Rig) -> None:
    rig.world.deploy("web")
    await rig.run(5)
    pod = next(iter(rig.engine.pipeline.inventory.pods.values()))

    async with rig.client("backend") as http:
        found = (await http.get(f"/api/v1/targets/shop/Pod/{pod.name}")).json()

    assert (found["target"]["kind"], found["target"]["uid"]) == ("Pod", pod.uid)
    assert (found["owner"]["kind"], found["owner"]["uid"]) == ("Deployment", "uid-web")


async def test_its_own_metrics_and_health_are_there(rig: Rig) -> None:
    await rig.crash_loop()

    async with rig.client() as http:
        metrics = (await http.get("/metrics")).text
        health = await http.get("/health")
        ready = await http.get("/ready")

    assert 'aegis_ai_engine_proposals_total{action="rollback_rollout",cause="bad_revision"} 1.0' in metrics
    assert health.json() == {"status": "ok"}
    assert ready.status_code == 200


async def test_what_could_not_be_written_down_is_said_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    store = rig.engine._ports.store
    save = store.save
    failures = []

    async def failing(*args: object, **options: object) -> None:
        if args[0].proposals and len(failures) < 2:  # type: ignore[attr-defined]
            failures.append(args)
            raise TemporaryError("the database went away")
        await save(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "save", failing)
    with pytest.raises(TemporaryError):
        await rig.crash_loop()
    with pytest.raises(TemporaryError):
        await rig.run(5)

    await rig.run(15)

    assert len(failures) == 2
    assert len(rig.backend.proposals) == 1

"""A simulated cluster, all services as they are shipped, and people: in one process, on one virtual clock."""

import base64
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import httpx2

from aegis.ai_engine.pipeline import Pipeline
from aegis.ai_engine.ports import AiEnginePorts
from aegis.ai_engine.repository import Repository
from aegis.ai_engine.service import AiEngine
from aegis.ai_engine.settings import AiEngineSettings
from aegis.ai_engine.sources.prometheus import PrometheusSource
from aegis.backend.counters import OwnCounters
from aegis.backend.ports import BackendPorts
from aegis.backend.service import Backend
from aegis.backend.settings import BackendSettings
from aegis.catalogue import rbac
from aegis.clients.ai_engine import AiEngineClient
from aegis.clients.backend import BackendClient
from aegis.contracts.proposals import Proposal
from aegis.executor.ports import ExecutorPorts
from aegis.executor.service import Executor
from aegis.executor.settings import ExecutorSettings
from aegis.kit.clock import VirtualClock
from aegis.kit.errors import AegisError
from aegis.kit.ids import RandomIds
from aegis.kit.signing import PrivateKey
from aegis.kit.tokens import token_hash
from aegis.simulator.kubernetes.objects import dig
from aegis.simulator.kubernetes.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    STATEFULSETS,
)
from aegis.simulator.kubernetes.users import ADMIN, Users, service_account
from aegis.simulator.together.databases import Databases
from aegis.simulator.together.ledger import Ledger
from aegis.simulator.together.network import ClusterWire, Network, ServiceWire
from aegis.simulator.together.people import Person, let_in, token_of
from aegis.simulator.together.replicas import CrashableCluster, CrashableDatabase, CrashError, Kind, Replica
from aegis.simulator.together.watching import StoreWatch
from aegis.simulator.world.invariants.evidence import OwnerTruth, Span, Truth, stamped_order
from aegis.simulator.world.process import kubernetes_app
from aegis.simulator.world.prometheus import PrometheusApi
from aegis.simulator.world.topologies import Topology
from aegis.simulator.world.world import World

CLUSTER = "simulated"
NAMESPACE = "aegis"
KINDS: tuple[Kind, ...] = ("backend", "ai-engine", "executor")
_EVERY = {
    "backend.step": 1, "backend.tidy": 60, "ai-engine.step": 5, "ai-engine.exchange": 1,
    "executor.fetch": 1, "executor.step": 1, "executor.monitor": 15,
}  # fmt: skip
"""In seconds."""
_WITHOUT_WORK = {
    "backend.step": 60, "ai-engine.exchange": 40, "executor.fetch": 60, "executor.step": 60, "executor.monitor": 30,
}  # fmt: skip
"""So seldom is looked where the database says that there is nothing to do: polling is most of a run's cost."""
_WORK = {
    "backend": """
        SELECT EXISTS (SELECT FROM remediations WHERE state IN ('proposed', 'deciding', 'awaiting_approval'))
            OR EXISTS (SELECT FROM remediations r JOIN incidents i ON i.key = r.incident_key
                       WHERE i.state = 'resolved' AND r.state IN ('rehearsing', 'ordered', 'blocked')) AS step,
        EXISTS (SELECT FROM work_items WHERE NOT done AND withdrawn_at IS NULL AND expires_at > $1
                AND (claimed_until IS NULL OR claimed_until <= $1))
            OR EXISTS (SELECT FROM work_items WHERE withdrawn_at > $1 - interval '15 s') AS fetch""",
    "executor": """
        SELECT EXISTS (SELECT FROM journal WHERE NOT concluded AND look_at <= $1
                       AND (stage <> 'held' OR lease_until IS NOT NULL)
                       AND (claimed_until IS NULL OR claimed_until <= $1))
            OR EXISTS (SELECT FROM outbox) AS step,
        EXISTS (SELECT FROM journal WHERE NOT concluded) AS monitor""",
    "ai_engine": "SELECT EXISTS (SELECT FROM outbox) AS exchange, $1::timestamptz",
}


@dataclass
class Keys:
    """The secrets of one installation, from a seed."""

    rng: random.Random

    def __post_init__(self) -> None:
        self.signing, self.witness, self.data = (base64.b64encode(self.rng.randbytes(32)).decode() for _ in range(3))
        self.service = {
            name: f"aegis-service.{name}.{self.rng.randbytes(24).hex()}"
            for name in ("ai-engine", "executor", "alertmanager")
        }
        self.caller = {name: f"aegis-caller.{name}.{self.rng.randbytes(32).hex()}" for name in ("backend", "executor")}
        """What each shows the AI Engine."""

    @property
    def callers(self) -> str:
        """As the AI Engine's settings take them."""
        return ",".join(f"{name}={token_hash(key)}" for name, key in self.caller.items())


@dataclass
class Together:
    """Everything between a fault and its audit entry."""

    seed: int
    topology: Topology
    databases: Databases
    name: str
    """Of the databases' clone."""
    urls: Mapping[str, str]
    replicas_of: Mapping[Kind, int] = field(default_factory=dict)
    has_metrics: bool = True
    warm_s: float = 900.0
    executor_settings: Mapping[str, Any] = field(default_factory=dict)
    backend_settings: Mapping[str, Any] = field(default_factory=dict)
    services: dict[Kind, Callable[..., Any]] = field(default_factory=dict)
    """Others than the real ones, broken on purpose."""
    prepared: Callable[["Together"], None] = lambda _: None
    """Furnishes the world further, before time passes."""

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.rng = random.Random(rng.getrandbits(64))
        self.keys = Keys(random.Random(rng.getrandbits(64)))
        self.clock = VirtualClock()
        self.world = World(seed=self.seed, clock=self.clock)
        self.network = Network(self.clock, random.Random(rng.getrandbits(64)))
        self.tokens = {account: f"token-of-{account}" for account in (*rbac.RULES_OF, "admin")}
        self.users = Users({self.tokens["admin"]: ADMIN})
        self.is_watch_up = True
        self.is_prometheus_up = True
        self.truths: list[Truth] = []
        self.operator_pauses: list[Span] = []
        self.freezes: list[Span] = []
        self.forbidden: list[Span] = []
        self.canaries: list[bytes] = []
        self.story: list[tuple[datetime, str]] = []
        """What people did and what befell the services, in words."""
        self.replicas: dict[Kind, list[Replica]] = {
            kind: [Replica(kind, number, self._builder(kind)) for number in range(self.replicas_of.get(kind, 1))]
            for kind in KINDS
        }
        self._clients: list[httpx.AsyncClient | httpx2.AsyncClient] = []

    # Life

    async def start(self) -> None:
        """Let the cluster come up and run for a while, then install Aegis in it."""
        await self.databases.empty(self.name)
        self.world.install(self.topology)
        self._admit()
        self.prepared(self)
        self.api = kubernetes_app(self.world, users=self.users)
        self.ledger = Ledger(self.api, self._journal_of)
        self.prometheus = PrometheusApi(self.world.recording, self.world.clock).app()
        await self.clock.advance(timedelta(seconds=self.warm_s))
        self.world.advance(self.clock.now())
        self.journal = await self.databases.connect(self.name, "executor")
        self.records = await self.databases.connect(self.name, "backend")
        self.memory = await self.databases.connect(self.name, "ai_engine")
        await let_in(self.records, at=self.clock.now())
        self.began_at = self.clock.now()
        for replica in self.all_replicas():
            await self._attempt(replica, replica.start)

    async def close(self) -> None:
        for replica in self.all_replicas():
            if replica.is_alive:
                await replica.die()
        for client in self._clients:
            await client.aclose()
        for connection in (self.journal, self.records, self.memory):
            await connection.close()

    def all_replicas(self) -> list[Replica]:
        return [one for kind in KINDS for one in self.replicas[kind]]

    def person(self, name: str) -> Person:
        return Person(name, self._http(f"person-{name}", self.replicas["backend"], token_of(name)))

    async def alert(self, *, namespace: str, kind: str, name: str, resolved: bool = False) -> httpx.Response | None:
        """Let Alertmanager say that something is wrong with a workload, or no longer."""
        labels = {"alertname": "Slow", "namespace": namespace, kind.lower(): name, "severity": "critical"}
        alert = {
            "status": "resolved" if resolved else "firing",
            "labels": labels,
            "annotations": {"summary": f"{name} is slow"},
            "startsAt": self.began_at.isoformat(),
            "fingerprint": f"{namespace}-{name}",
        }
        http = self._http("alertmanager-0", self.replicas["backend"], self.keys.service["alertmanager"])
        try:
            return await http.post("/api/v1/alerts", json={"version": "4", "alerts": [alert]})
        except httpx.TransportError:
            return None

    async def propose(self, proposal: Proposal) -> httpx.Response | None:
        """Say to the Backend what the AI Engine might say, right or wrong."""
        http = self._http("ai-engine-9", self.replicas["backend"], self.keys.service["ai-engine"])
        body = proposal.model_dump_json().encode()
        try:
            return await http.post("/api/v1/proposals", content=body, headers={"Content-Type": "application/json"})
        except httpx.TransportError:
            return None

    # Time

    async def run(self, seconds: float, *, tick_s: float = 5.0) -> None:
        """Let so much time pass, tick by tick."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            await self.tick(min(timedelta(seconds=tick_s), end - self.clock.now()))

    async def tick(self, passed: timedelta) -> None:
        """Let time pass in the world, then give every service its turn, in an order that the seed draws."""
        await self.clock.advance(passed)
        self.world.advance(self.clock.now())
        self.truths.append(self._truth())
        await self.network.deliver_what_is_late()
        replicas = self.all_replicas()
        self.rng.shuffle(replicas)
        for replica in replicas:
            await self._take_turn(replica)

    async def jump(self, duration: timedelta) -> None:
        """Let the clock jump ahead; nobody had a turn meanwhile."""
        await self.clock.advance(duration)

    async def _take_turn(self, replica: Replica) -> None:
        now = self.clock.now()
        if not replica.is_alive:
            if replica.back_at is None or replica.back_at <= now:
                await self._attempt(replica, replica.start)
            return
        for name, every in _EVERY.items():
            kind, _, method = name.partition(".")
            if kind != replica.kind or not replica.is_alive:
                continue
            since = replica.last.get(name)
            if since is None or now - since >= timedelta(
                seconds=every if await self._has_work(name) else _WITHOUT_WORK[name]
            ):
                replica.last[name] = now
                arguments = {"wait": timedelta()} if method == "fetch" else {}
                await self._attempt(replica, getattr(replica.service, method), **arguments)

    async def turn(self, name: str, *, number: int = 0) -> None:
        """Give one replica one step now, whatever is due: `executor.step`, for those who direct a run by hand."""
        kind, _, method = name.partition(".")
        replica = next(one for one in self.all_replicas() if one.kind == kind and one.number == number)
        if replica.is_alive:
            arguments = {"wait": timedelta()} if method == "fetch" else {}
            await self._attempt(replica, getattr(replica.service, method), **arguments)

    async def _look(self, connection: Any, question: str, now: datetime) -> Any:
        """Return the one row that a question about a database has for an answer."""
        return await connection.fetchrow(question, now)

    async def _has_work(self, name: str) -> bool:
        """Whether a step would find something to do, as the databases have it."""
        now = self.clock.now()
        match name:
            case "backend.step":
                return bool((await self._look(self.records, _WORK["backend"], now))["step"])
            case "executor.fetch":
                return bool(self.network.echo or (await self._look(self.records, _WORK["backend"], now))["fetch"])
            case "executor.step" | "executor.monitor":
                return bool((await self._look(self.journal, _WORK["executor"], now))[name.partition(".")[2]])
            case "ai-engine.exchange":
                return bool((await self._look(self.memory, _WORK["ai_engine"], now))["exchange"])
            case _:
                return True

    async def _attempt(self, replica: Replica, act: Callable[..., Any], **arguments: Any) -> None:
        """Do as the runner of a real process does: what went wrong is tried again at the next turn."""
        try:
            await act(**arguments)
        except CrashError as crash:
            await crash.replica.die(back_at=crash.replica.back_at)
        except AegisError as error:
            self.network.happened[f"{replica.kind}: {type(error).__name__}"] += 1
        except Exception as error:  # noqa: BLE001 - a defect in a service is what we look for
            self.network.surprises.append(f"{replica.name} {getattr(act, '__name__', act)}: {error!r}")

    # What is so

    def _truth(self) -> Truth:
        owners = {}
        for resource in (DEPLOYMENTS, STATEFULSETS):
            for each in self.world.store.list(resource):
                status, meta = each.get("status") or {}, each["metadata"]
                owners[meta["uid"]] = OwnerTruth(
                    name=f"{meta['namespace']}/{resource.kind}/{meta['name']}",
                    wanted=int(dig(each, "spec", "replicas", default=1)),
                    updated=status.get("updatedReplicas", 0),
                    available=status.get("availableReplicas", status.get("readyReplicas", 0)),
                    total=status.get("replicas", 0),
                    is_observed=status.get("observedGeneration", 0) >= meta.get("generation", 0),
                )
        nodes = [one["metadata"]["name"] for one in self.world.store.list(NODES)]
        dark = sum(1 for name in nodes if not self.world.physics.has_power(name))
        return Truth(self.clock.now(), owners, dark)

    async def _journal_of(self, body: bytes) -> dict[str, Any]:
        """Return the journal's row of the order whose stamp a patch carries, as it is right now."""
        order_id = stamped_order(body)
        if order_id is None:
            return {}
        row = await self.journal.fetchrow(
            "SELECT order_id, stage, acted_at, undo_because FROM journal WHERE order_id = $1", order_id
        )
        return dict(row) if row is not None else {}

    # Building

    def _admit(self) -> None:
        """Give the services what the catalogue says they need, and nothing else."""
        store = self.world.store
        store.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        for service, needed in rbac.RULES_OF.items():
            self.users.add(self.tokens[service], service_account(NAMESPACE, service))
            store.create(CLUSTERROLES, rbac.cluster_role(service, needed()))
            store.create(CLUSTERROLEBINDINGS, rbac.cluster_role_binding(service, namespace=NAMESPACE))

    def _builder(self, kind: Kind) -> Callable[[Replica], Any]:
        return {"backend": self._backend, "ai-engine": self._ai_engine, "executor": self._executor}[kind]

    async def _backend(self, replica: Replica) -> Any:
        settings = BackendSettings.model_validate(
            {
                "cluster_id": CLUSTER,
                "signing_key": self.keys.signing,
                "service_keys": ",".join(f"{name}={key}" for name, key in self.keys.service.items()),
                "ai_engine_key": self.keys.caller["backend"],
                **self.backend_settings,
            }
        )
        database = CrashableDatabase(self.urls["backend"], replica)
        replica.stop = database.close
        ports = BackendPorts(
            settings=settings,
            clock=self.clock,
            ids=RandomIds(random.Random(self.rng.getrandbits(64))),
            database=database,
            counters=OwnCounters(),
            directory=AiEngineClient(self._http(replica.name, self.replicas["ai-engine"], self.keys.caller["backend"])),
            signing_key=PrivateKey.from_text(self.keys.signing),
        )
        backend = self.services.get("backend", Backend)(ports)
        await backend.prepare()
        return backend

    async def _ai_engine(self, replica: Replica) -> Any:
        settings = AiEngineSettings.model_validate(
            {
                "cluster_id": CLUSTER,
                "backend_key": self.keys.service["ai-engine"],
                "caller_keys": self.keys.callers,
                "backfill": timedelta(minutes=10),
            }
        )
        database = CrashableDatabase(self.urls["ai_engine"], replica)
        replica.stop = database.close
        pipeline = Pipeline(cluster_id=CLUSTER, metrics_interval=settings.metrics_interval)
        metrics = PrometheusSource(self._prometheus(), stale_after=settings.stale_after) if self.has_metrics else None
        ports = AiEnginePorts(
            clock=self.clock,
            cluster=StoreWatch(self.world.store, self.clock, is_up=lambda: self.is_watch_up),
            metrics=metrics,
            backend=BackendClient(self._http(replica.name, self.replicas["backend"], self.keys.service["ai-engine"])),
            store=Repository(database),
        )
        return self.services.get("ai-engine", AiEngine)(ports, settings, pipeline)

    async def _executor(self, replica: Replica) -> Any:
        settings = ExecutorSettings.model_validate(
            {
                "cluster_id": CLUSTER,
                "replica": replica.name,
                "backend_key": self.keys.service["executor"],
                "ai_engine_key": self.keys.caller["executor"],
                "order_keys": PrivateKey.from_text(self.keys.signing).public.to_text(),
                "witness_key": self.keys.witness,
                "data_key": self.keys.data,
                **self.executor_settings,
            }
        )
        database = CrashableDatabase(self.urls["executor"], replica)
        replica.stop = database.close
        key = PrivateKey.from_text(self.keys.signing).public
        ports = ExecutorPorts(
            settings=settings,
            clock=self.clock,
            database=database,
            cluster=CrashableCluster(self.cluster_http(self.tokens["executor"]), self.clock, replica),
            backend=BackendClient(self._http(replica.name, self.replicas["backend"], self.keys.service["executor"])),
            verifier=AiEngineClient(self._http(replica.name, self.replicas["ai-engine"], self.keys.caller["executor"])),
            order_keys={key.id: key},
            witness_key=PrivateKey.from_text(self.keys.witness),
        )
        return self.services.get("executor", Executor)(ports)

    def cluster_http(self, token: str) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"}
        wire = ClusterWire(self.network, self.ledger)
        client = httpx2.AsyncClient(transport=wire, base_url="http://cluster", headers=headers)
        self._clients.append(client)
        return client

    def _http(self, client: str, servers: Sequence[Replica], key: str = "") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        wire = ServiceWire(self.network, client, servers)
        made = httpx.AsyncClient(transport=wire, base_url=f"http://{servers[0].kind}", headers=headers)
        self._clients.append(made)
        return made

    def _prometheus(self) -> httpx.AsyncClient:
        made = httpx.AsyncClient(transport=_PrometheusWire(self), base_url="http://prometheus")
        self._clients.append(made)
        return made


class _PrometheusWire(httpx.AsyncBaseTransport):
    def __init__(self, together: Together) -> None:
        self._together = together
        self._transport = httpx.ASGITransport(together.prometheus)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._together.is_prometheus_up:
            raise httpx.ConnectError("there is no Prometheus")
        return await self._transport.handle_async_request(request)

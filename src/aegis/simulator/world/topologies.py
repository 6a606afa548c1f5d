"""Shops to live in: the one that was recorded, and as many more as there are seeds."""

import math
import random
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aegis.simulator.kubernetes.objects import Object
from aegis.simulator.kubernetes.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    HPAS,
    NAMESPACES,
    NODES,
    PDBS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from aegis.simulator.world.network import ServiceKey
from aegis.simulator.world.processes import Workload
from aegis.simulator.world.programs import Call, Program
from aegis.simulator.world.traffic import Traffic

Role = Literal["entry", "middle", "client", "store", "worker"]

_ENTRIES = ("storefront", "gateway", "web", "mobile-api", "portal")
_MIDDLES = (
    "catalog", "basket", "checkout", "pricing", "search", "profile", "orders", "payments", "shipping",
    "reviews", "recommendations", "inventory", "auth", "promotions", "invoices",
)  # fmt: skip
_STORES = ("ledger", "orders-db", "catalog-db", "sessions", "accounts-db", "stock-db")
_WORKERS = ("mailer", "packer", "indexer", "biller", "exporter")
_NAMESPACES = ("shop", "checkout", "identity", "logistics", "media", "storefront", "billing")
_CPU_STEPS = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0)


class TopologySpec(BaseModel):
    """What a scenario says about its topology."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["random", "shop"] = "random"
    workloads: int | None = Field(default=None, ge=3, le=12)
    namespaces: int | None = Field(default=None, ge=1, le=4)
    fragile: bool = False
    """Everything is unready while something that it calls is gone."""
    spare_connections: float = Field(default=1.0, ge=1)
    """How many times the usual connections a store gives, for people who scale out what calls it."""
    parts: dict[Role, "PartSpec"] = {}
    """What is otherwise in the shop: its sizes, and how its programs behave."""


class PartSpec(BaseModel):
    """How one part of the shop differs; what is not given stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int | None = Field(default=None, ge=1)
    cpu: float | None = Field(default=None, gt=0)
    memory_mib: int | None = Field(default=None, gt=0)
    program: dict[str, Any] = {}


@dataclass
class Part:
    """One workload as drawn."""

    role: Role
    namespace: str
    name: str
    program: Program
    replicas: int
    cpu: float = 0.5
    memory_mib: int = 128
    tag: str = "1.4.0"
    rps: float = 0.0

    @property
    def kind(self) -> str:
        return "StatefulSet" if self.role == "store" else "Deployment"

    @property
    def image(self) -> str:
        return f"registry.example/{self.namespace}/{self.name}:{self.tag}"

    @property
    def workload(self) -> Workload:
        return Workload(self.namespace, self.kind, self.name)

    @property
    def key(self) -> ServiceKey:
        return f"{self.namespace}/{self.name}"


@dataclass
class Topology:
    """Everything a world is furnished with."""

    parts: list[Part]
    nodes: list[Object]
    traffic: dict[ServiceKey, Traffic]
    extras: list[tuple[Resource, Object]] = field(default_factory=list)

    @property
    def programs(self) -> dict[str, Program]:
        return {part.image: part.program for part in self.parts}

    def manifests(self) -> list[tuple[Resource, Object]]:
        """Return the objects to create, in order."""
        namespaces = sorted({part.namespace for part in self.parts})
        found: list[tuple[Resource, Object]] = [(NODES, node) for node in self.nodes]
        found += [(NAMESPACES, {"metadata": {"name": each}}) for each in namespaces]
        for part in self.parts:
            found += _manifests_of(part)
        return found + self.extras


def shop(*, rps: float = 27.0, web_replicas: int = 2, names: "ShopNames | None" = None) -> Topology:
    """Return the recorded shop: users → web → cart → store ← worker."""
    called = names or ShopNames()
    namespace = called.namespace

    def part(role: Role, name: str, replicas: int, program: Program) -> Part:
        return Part(role, namespace, name, program, replicas)

    web = Program(cpu_s_per_request=0.003, latency_s=0.002, pool_size=40, calls=(Call(service=called.client),))
    cart = Program(
        cpu_s_per_request=0.003, latency_s=0.001, pool_size=6, pool_eager=True, calls=(Call(service=called.store),)
    )
    store = Program(
        cpu_s_per_request=0.001,
        latency_s=0.005,
        max_connections=24,
        contention_at=16,
        queued_share=1 / 3,
        threads=48,
    )
    worker = Program(cpu_s_per_request=0.005, latency_s=0.0, pool_size=1, takes_from=called.store)
    parts = [
        part("entry", called.entry, web_replicas, web),
        part("client", called.client, 2, cart),
        part("store", called.store, 1, store),
        part("worker", called.worker, 1, worker),
    ]
    return Topology(parts, [a_node("node1", cpu="8")], {f"{namespace}/{called.entry}": Traffic(rps=rps)})


@dataclass(frozen=True)
class ShopNames:
    namespace: str = "shop"
    entry: str = "web"
    client: str = "cart"
    store: str = "store"
    worker: str = "worker"

    @classmethod
    def drawn(cls, rng: random.Random) -> "ShopNames":
        lists = (_NAMESPACES, _ENTRIES, _MIDDLES, _STORES, _WORKERS)
        return cls(*(rng.choice(each) for each in lists))


def draw(seed: int, spec: TopologySpec | None = None) -> Topology:
    """Draw a shop: names, call graph, sizes and traffic follow from the seed."""
    spec = spec or TopologySpec()
    rng = random.Random(seed)
    if spec.shape == "shop":
        return _shop(rng, spec)
    topology = _Drawing(rng, spec).topology()
    if spec.fragile:
        for part in topology.parts:
            part.program = part.program.changed({"ready_needs": [call.service for call in part.program.calls]})
    return topology


def _shop(rng: random.Random, spec: TopologySpec) -> Topology:
    """Return the recorded shop under drawn names, with about its traffic, and what the spec says otherwise."""
    topology = shop(rps=round(27.0 * rng.uniform(0.9, 1.1), 1), names=ShopNames.drawn(rng))
    for part in topology.parts:
        wanted = spec.parts.get(part.role, PartSpec())
        part.replicas = wanted.replicas or part.replicas
        part.cpu = wanted.cpu or part.cpu
        part.memory_mib = wanted.memory_mib or part.memory_mib
        part.program = part.program.changed(wanted.program)
    return topology


class _Drawing:
    """One topology in the making."""

    def __init__(self, rng: random.Random, spec: TopologySpec) -> None:
        self._rng = rng
        self._spare_connections = spec.spare_connections
        total = spec.workloads or rng.randint(4, 12)
        count = spec.namespaces or rng.choice((1, 1, 2, 3))
        self._namespaces = rng.sample(_NAMESPACES, count)
        self._stores = 2 if total >= 8 else 1
        self._workers = 1 if total >= 5 and rng.random() < 0.7 else 0
        self._entries = 2 if total >= 10 and rng.random() < 0.5 else 1
        self._middles = total - self._stores - self._workers - self._entries
        self._parts: list[Part] = []

    def topology(self) -> Topology:
        rng = self._rng
        stores = [self._part("store", name) for name in rng.sample(_STORES, self._stores)]
        middles = [self._part("middle", name) for name in rng.sample(_MIDDLES, self._middles)]
        entries = [self._part("entry", name) for name in rng.sample(_ENTRIES, self._entries)]
        workers = [self._part("worker", name) for name in rng.sample(_WORKERS, self._workers)]
        calls = self._call_graph(entries, middles, stores)
        traffic = {
            part.key: Traffic(
                rps=float(rng.randint(15, 70)),
                wave=rng.uniform(0.05, 0.3),
                period_s=rng.choice((3600.0, 14400.0, 86400.0)),
                phase=rng.random(),
                noise=rng.uniform(0.02, 0.05),
            )
            for part in entries
        }
        demand = _demand([*entries, *middles, *stores], calls, {key: each.rps for key, each in traffic.items()})
        for part in [*entries, *middles]:
            self._size_service(part, calls[part.key], demand[part.key])
        for store in stores:
            clients = [part for part in [*entries, *middles] if _calls(calls[part.key], store)]
            self._size_store(store, demand[store.key], clients)
        for worker in workers:
            self._size_worker(worker, rng.choice(stores), demand)
        return Topology(self._parts, self._nodes(), traffic, self._extras())

    def _part(self, role: Role, name: str) -> Part:
        part = Part(role, self._rng.choice(self._namespaces), name, Program(), self._rng.randint(2, 6))
        part.tag = f"{self._rng.randint(1, 3)}.{self._rng.randint(0, 9)}.{self._rng.randint(0, 5)}"
        self._parts.append(part)
        return part

    def _call_graph(self, entries: list[Part], middles: list[Part], stores: list[Part]) -> dict[ServiceKey, list[Call]]:
        """Let every part call later ones only, so that nobody calls in a circle and nobody is left out."""
        rng = self._rng
        calls: dict[ServiceKey, list[Call]] = {part.key: [] for part in [*entries, *middles, *stores]}
        callers = list(entries)
        for part in middles:
            caller = rng.choice(callers)
            calls[caller.key].append(Call(service=part.key, share=round(rng.uniform(0.4, 1.0), 2)))
            callers.append(part)
        for part in [*entries, *middles]:
            if not calls[part.key] or (part.role == "middle" and rng.random() < 0.3):
                store = rng.choice(stores)
                calls[part.key].append(Call(service=store.key, share=round(rng.uniform(0.6, 1.0), 2)))
        for store in stores:
            if not any(_calls(each, store) for each in calls.values()):
                caller = rng.choice(middles or entries)
                calls[caller.key].append(Call(service=store.key, share=0.8))
        return calls

    def _size_service(self, part: Part, calls: list[Call], rate: float) -> None:
        rng = self._rng
        per_pod = rate / part.replicas
        cpu_s = rng.uniform(0.002, 0.006)
        part.rps = rate
        part.cpu = _at_least((0.02 + per_pod * cpu_s) / rng.uniform(0.3, 0.45))
        memory = rng.randint(60, 180)
        part.memory_mib = 32 * math.ceil(memory * rng.uniform(1.5, 2.1) / 32)
        is_client = any(call.service.rpartition("/")[2] in _STORES for call in calls)
        if is_client and part.role == "middle":
            part.role = "client"
        part.program = Program(
            cpu_s_per_request=round(cpu_s, 4),
            cpu_idle=0.01,
            latency_s=round(rng.uniform(0.001, 0.01), 4),
            memory_mib=float(memory),
            calls=tuple(calls),
            pool_size=max(4, math.ceil(per_pod * 0.15)) if is_client else None,
            pool_eager=is_client and rng.random() < 0.5,
            start_s=round(rng.uniform(0.3, 4.0), 1),
            threads=rng.choice((32, 64, 128)),
        )

    def _size_store(self, part: Part, rate: float, clients: list[Part]) -> None:
        rng = self._rng
        part.replicas, part.rps = 1, rate
        pools = sum((each.program.pool_size or 0) * each.replicas for each in clients)
        most = max(12, math.ceil(pools * rng.uniform(1.2, 1.6) * self._spare_connections))
        cpu_s = rng.uniform(0.0008, 0.002)
        part.cpu = _at_least((0.03 + rate * cpu_s) / 0.4)
        memory = rng.randint(120, 300)
        part.memory_mib = 32 * math.ceil(memory * 1.7 / 32)
        part.program = Program(
            cpu_s_per_request=round(cpu_s, 4),
            cpu_idle=0.03,
            latency_s=round(rng.uniform(0.003, 0.008), 4),
            memory_mib=float(memory),
            max_connections=most,
            contention_at=math.ceil(most * 0.75),
            queued_share=round(rng.uniform(0.05, 0.2), 2) if self._workers else 0.0,
            start_s=round(rng.uniform(1.0, 5.0), 1),
            threads=256,
        )

    def _size_worker(self, part: Part, store: Part, demand: dict[ServiceKey, float]) -> None:
        rng = self._rng
        jobs = max(0.5, demand[store.key] * store.program.queued_share)
        part.replicas = rng.randint(1, 2)
        cpu_s = rng.uniform(0.01, 0.03)
        part.cpu = _at_least((0.01 + jobs * cpu_s / part.replicas) / 0.4)
        part.rps = jobs
        part.program = Program(cpu_s_per_request=round(cpu_s, 4), latency_s=0.0, takes_from=store.key, memory_mib=70.0)

    def _nodes(self) -> list[Object]:
        cores = sum(part.cpu * part.replicas for part in self._parts)
        count = max(3, math.ceil(cores / 4.0 / 0.8))
        return [a_node(f"node{number + 1}", cpu="4") for number in range(min(count, 8))]

    def _extras(self) -> list[tuple[Resource, Object]]:
        """Add what real namespaces also have and nobody here acts upon."""
        entry = next(part for part in self._parts if part.role == "entry")
        if self._rng.random() < 0.5:
            return []
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": entry.name}
        metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
        spec = {
            "scaleTargetRef": target,
            "minReplicas": entry.replicas,
            "maxReplicas": entry.replicas * 2,
            "metrics": [{"type": "Resource", "resource": metric}],
        }
        return [(HPAS, {"metadata": {"name": entry.name, "namespace": entry.namespace}, "spec": spec})]


def _calls(calls: list[Call], part: Part) -> bool:
    return any(call.service == part.key for call in calls)


def _demand(
    parts: list[Part], calls: dict[ServiceKey, list[Call]], outside: dict[ServiceKey, float]
) -> dict[ServiceKey, float]:
    """Follow the mean traffic through the graph; callers come before those they call."""
    demand = {part.key: outside.get(part.key, 0.0) for part in parts}
    for part in parts:
        for call in calls[part.key]:
            demand[call.service] += demand[part.key] * call.share
    return demand


def _at_least(cores: float) -> float:
    return next((step for step in _CPU_STEPS if step >= cores), math.ceil(cores))


def a_node(name: str, *, cpu: str = "4", memory: str = "16Gi") -> Object:
    amounts = {"cpu": cpu, "memory": memory, "pods": "110"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    last = sum(ord(letter) for letter in name) % 250
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{last}"}],
            "nodeInfo": {"kubeletVersion": "v1.37.2", "osImage": "simulated", "architecture": "amd64"},
        },
    }


def _manifests_of(part: Part) -> list[tuple[Resource, Object]]:
    labels = {"app": part.name, "app.kubernetes.io/part-of": part.namespace}
    meta: Object = {"name": part.name, "namespace": part.namespace, "labels": labels}
    settings = {"metadata": {**meta, "name": f"{part.name}-settings"}, "data": {"LOG_LEVEL": "info"}}
    spec: Object = {
        "replicas": part.replicas,
        "selector": {"matchLabels": {"app": part.name}},
        "template": {"metadata": {"labels": labels}, "spec": _pod_spec(part)},
    }
    resource = DEPLOYMENTS
    if part.kind == "StatefulSet":
        resource, spec = STATEFULSETS, {**spec, "serviceName": part.name}
    found: list[tuple[Resource, Object]] = [(CONFIGMAPS, settings), (resource, {"metadata": meta, "spec": spec})]
    if part.role != "worker":
        port = {"name": "http", "port": 8080, "targetPort": 8080}
        found.append((SERVICES, {"metadata": meta, "spec": {"selector": {"app": part.name}, "ports": [port]}}))
    if part.replicas > 1:
        budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": part.name}}}
        found.append((PDBS, {"metadata": meta, "spec": budget}))
    return found


def _pod_spec(part: Part) -> Object:
    container: dict[str, Any] = {
        "name": part.name,
        "image": part.image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "envFrom": [{"configMapRef": {"name": f"{part.name}-settings"}}],
        "resources": {
            "requests": {"cpu": _milli(part.cpu * 0.4), "memory": f"{part.memory_mib // 2}Mi"},
            "limits": {"cpu": _milli(part.cpu), "memory": f"{part.memory_mib}Mi"},
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080},
            "periodSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/live", "port": 8080},
            "initialDelaySeconds": 5,
            "periodSeconds": 5,
            "failureThreshold": 3,
        },
    }
    return {"containers": [container], "terminationGracePeriodSeconds": 8}


def _milli(cores: float) -> str:
    return f"{max(10, round(cores * 1000))}m"

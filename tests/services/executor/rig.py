"""A real Executor on a simulated API server that records every request, with a pretend Backend and AI Engine."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2
from tests.servers import CLUSTER, KEYS
from tests.unit.simulator.kubernetes.builders import a_container

from aegis.catalogue import rbac
from aegis.contracts.actions import Action, ActionKind, EvictPod, RollbackRollout
from aegis.contracts.approvals import Approval
from aegis.contracts.audit import Checkpoint
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.envelope import Envelope, seal
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.plans import Plan, Rehearsal, RehearsalResult
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetRef
from aegis.contracts.verifications import Judgement, Verification, VerificationRequest
from aegis.contracts.work import Pause, Storm, Work
from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.journal import repository
from aegis.executor.journal.tables import metadata
from aegis.executor.orders.look import spec_hash
from aegis.executor.ports import Cluster, ExecutorPorts
from aegis.executor.service import Executor
from aegis.executor.settings import ExecutorSettings
from aegis.kit.clock import VirtualClock
from aegis.kit.database import Database
from aegis.kit.errors import TemporaryError
from aegis.kit.signing import PrivateKey
from aegis.simulator.kubernetes.objects import Object, copy_of, timestamp
from aegis.simulator.kubernetes.request_log import Requested
from aegis.simulator.kubernetes.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    Resource,
)
from aegis.simulator.kubernetes.server import create_app
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import ADMIN, Users, service_account

ACCOUNT = service_account("aegis", "executor")
TOKEN = "token-of-executor"


@dataclass
class PretendBackend:
    """Hands out what a test gives it, and keeps what the Executor says."""

    clock: VirtualClock
    work: Work = field(default_factory=Work)
    paused: bool = False
    is_up: bool = True
    results: list[RehearsalResult] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    storms: list[Storm] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    witnessed: list[int] = field(default_factory=list)

    async def fetch_work(self, *, replica: str, wait: timedelta) -> Work:
        self._answer()
        given, self.work = self.work, Work()
        return given

    async def pause(self) -> Pause:
        self._answer()
        return Pause(paused=self.paused, reason="a test says so", since=self.clock.now())

    async def report_rehearsal(self, result: RehearsalResult) -> None:
        self._answer()
        self.results.append(result)

    async def report_outcome(self, outcome: Outcome) -> None:
        self._answer()
        self.outcomes.append(outcome)

    async def report_announced(self, announcement_ids: Sequence[str]) -> None:
        self._answer()

    async def report_storm(self, storm: Storm) -> None:
        self._answer()
        self.storms.append(storm)

    async def newest_checkpoint(self) -> Checkpoint | None:
        self._answer()
        return self.checkpoint

    async def countersign(self, sequence: int, public_key: str, signature: str) -> None:
        self.witnessed.append(sequence)

    def _answer(self) -> None:
        if not self.is_up:
            raise TemporaryError("no answer from the Backend")


@dataclass
class PretendVerifier:
    clock: VirtualClock
    says: Judgement | None = Judgement.UNKNOWN
    """None: it does not answer."""
    says_of_release: Judgement | None = None
    """Of giving back what is held; None: the same."""

    async def verify(self, request: VerificationRequest, *, timeout: timedelta) -> Verification:  # noqa: ASYNC109
        if self.says is None:
            raise TemporaryError("no answer from the AI Engine")
        says = (request.purpose == "release" and self.says_of_release) or self.says
        return Verification(judgement=says, at=self.clock.now())


@dataclass
class Rig:
    """`web` in namespace `shop`, mode auto: three healthy pods, the newest of two revisions young."""

    database: Database
    around: Callable[[Cluster], Cluster] = lambda cluster: cluster
    """Puts something between the Executor and its cluster."""
    wire: Callable[[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport] = lambda wire: wire
    """Puts something between the Executor's requests and the API server."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Store(self.clock, random.Random(1))
        self.users = Users({"admin": ADMIN, TOKEN: ACCOUNT})
        self.api = create_app(self.store, users=self.users)
        self.backend = PretendBackend(self.clock)
        self.verifier = PretendVerifier(self.clock)
        self._furnish()
        self.is_cluster_up = True
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.http = httpx2.AsyncClient(transport=self.wire(_Wire(self)), base_url="http://cluster", headers=headers)
        self.restart(**self.settings)
        self._orders = 0

    def restart(self, **settings: Any) -> None:
        """Start the Executor anew on its database, with these settings."""
        key = PrivateKey.from_text(KEYS.signing).public
        given = {
            "cluster_id": CLUSTER, "backend_key": "-", "ai_engine_key": "-", "order_keys": key.to_text(),
            "witness_key": KEYS.witness, "data_key": KEYS.data, **settings,
        }  # fmt: skip
        self.ports = ExecutorPorts(
            settings=ExecutorSettings.model_validate(given),
            clock=self.clock,
            database=self.database,
            cluster=self.around(KubernetesCluster(self.http, self.clock)),
            backend=self.backend,  # type: ignore[arg-type]
            verifier=self.verifier,
            order_keys={key.id: key},
            witness_key=PrivateKey.from_text(KEYS.witness),
        )
        self.executor = Executor(self.ports)

    async def close(self) -> None:
        await self.http.aclose()

    async def forget_everything(self) -> None:
        """Empty the Executor's database: for those who need several clusters in one test."""
        async with self.database.transaction() as tx:
            for table in metadata.sorted_tables:
                await tx.execute(table.delete())

    async def pass_time(self, **duration: float) -> None:
        await self.clock.advance(timedelta(**duration))
        await self.read_health()

    async def read_health(self) -> None:
        """Do as the monitor does, whose turn comes every few seconds: there is no storm."""
        async with self.database.transaction() as tx:
            await repository.note_reading(tx, at=self.clock.now(), bad=False)

    # The cluster

    def _furnish(self) -> None:
        store = self.store
        store.create(NAMESPACES, {"metadata": {"name": "aegis"}})
        store.create(NAMESPACES, {"metadata": {"name": "shop", "labels": {"aegis.dev/mode": "auto"}}})
        store.create(CLUSTERROLES, rbac.cluster_role("executor", rbac.executor_rules()))
        store.create(CLUSTERROLEBINDINGS, rbac.cluster_role_binding("executor", namespace="aegis"))
        store.create(NODES, _node("node1"))
        store.create(DEPLOYMENTS, _deployment("web", replicas=3))
        web = self.find(DEPLOYMENTS, "web")
        for template, revision in (("old", 1), ("new", 2)):
            store.create(REPLICASETS, _replicaset(web, template, revision))
        for number in range(3):
            store.create(PODS, _pod(self.find(REPLICASETS, "web-new"), number))
        # One of the old revision still serves: there is something to roll back to.
        store.create(PODS, _pod(self.find(REPLICASETS, "web-old"), 9))
        self.roll_out()

    def find(self, resource: Resource, name: str, namespace: str | None = "shop") -> Object:
        return self.store.get(resource, namespace if resource.namespaced else None, name)

    def change(
        self, resource: Resource, name: str, change: Callable[[Object], Any], *, namespace: str = "shop"
    ) -> None:
        """Let somebody else change an object, its status included."""
        place = namespace if resource.namespaced else None
        for subresource in ("", "status"):
            changed = copy_of(self.store.get(resource, place, name))
            change(changed)
            self.store.update(resource, changed, subresource=subresource)

    def roll_out(self) -> None:
        """Let the Deployment's controller, which is not here, report that all is as wanted."""
        self.change(DEPLOYMENTS, "web", lambda it: it.update(status=_whole(it)))

    def config(self, **data: str) -> None:
        """Write the operator's ConfigMap."""
        written = {key.replace("_", "-"): value for key, value in data.items()}
        self.store.create(CONFIGMAPS, {"metadata": {"name": "aegis-guardrails", "namespace": "aegis"}, "data": written})

    @property
    def written(self) -> list[Requested]:
        """What the Executor has changed in the cluster."""
        return self.api.requests.writes(user=ACCOUNT.name)

    @property
    def sent(self) -> list[Requested]:
        """What the Executor has asked to be changed, whatever came of it; dry runs included."""
        reads = ("get", "list", "watch")
        return [one for one in self.api.requests if one.user == ACCOUNT.name and one.verb not in reads]

    # What the Executor is asked to do

    def ref(self, resource: Resource = DEPLOYMENTS, name: str = "web") -> TargetRef:
        found = self.find(resource, name)
        return TargetRef(
            cluster_id=CLUSTER, api_version="v1" if resource is PODS else "apps/v1",
            kind=resource.kind, namespace="shop", name=name, uid=found["metadata"]["uid"],
        )  # fmt: skip

    def proposal(self, action: Action | None = None, **changes: Any) -> Proposal:
        asked = action or RollbackRollout()
        target = self.ref(PODS, "web-new-0") if isinstance(asked, EvictPod) else self.ref()
        given: dict[str, Any] = {
            "id": f"pro-{self.clock.now().isoformat()}", "incident_key": "problem-1", "target": target,
            "owner": self.ref(), "action": asked, "cause": CauseKind.BAD_REVISION, "confidence": 0.9,
            "rationale": "it crashes", "proposed_by": "service:ai-engine", "proposed_at": self.clock.now(),
            "data_as_of": self.clock.now(),
        }  # fmt: skip
        return Proposal.model_validate(given | changes)

    def rehearsal(self, proposal: Proposal) -> Rehearsal:
        self._orders += 1
        now = self.clock.now()
        return Rehearsal(
            id=f"reh-{self._orders}", remediation_id=f"rem-{self._orders}", order_id=f"ord-{self._orders}",
            proposal=proposal, requested_at=now, expires_at=now + timedelta(minutes=5),
        )  # fmt: skip

    async def rehearse(self, proposal: Proposal) -> RehearsalResult:
        if self._orders == 0:
            await self.read_health()
        self.backend.work = Work(rehearsals=(self.rehearsal(proposal),))
        await self.executor.fetch(wait=timedelta())
        return self.backend.results[-1]

    async def plan(self, proposal: Proposal) -> Plan:
        result = await self.rehearse(proposal)
        assert result.plan is not None, result.reason
        return result.plan

    def order(self, proposal: Proposal, plan: Plan, *, approvals: tuple[Approval, ...] = (), **changes: Any) -> Order:
        now = self.clock.now()
        given: dict[str, Any] = {
            "id": plan.order_id, "remediation_id": plan.order_id.replace("ord", "rem"), "proposal": proposal,
            "plan_hash": plan.hash, "approvals": approvals, "issued_at": now, "expires_at": now + timedelta(minutes=10),
        }  # fmt: skip
        return Order.model_validate(given | changes)

    def seal(self, order: Order, **changes: Any) -> Envelope:
        given: dict[str, Any] = {
            "key": PrivateKey.from_text(KEYS.signing), "cluster_id": CLUSTER, "audience": "executor",
        }  # fmt: skip
        return seal(order.model_dump_json().encode(), **(given | changes))

    async def give(self, *orders: Order | Envelope) -> None:
        """Hand out orders and let the Executor take each as far as it goes now."""
        sealed = tuple(one if isinstance(one, Envelope) else self.seal(one) for one in orders)
        self.backend.work = Work(orders=sealed)
        await self.executor.fetch(wait=timedelta())
        await self.executor.step()

    def outcome(self, order: Order) -> Outcome | None:
        """Return the newest that the Executor said of an order."""
        return next((one for one in reversed(self.backend.outcomes) if one.order_id == order.id), None)

    def said(self, order: Order) -> Outcome:
        """Return the newest that the Executor said of an order that it has taken up."""
        outcome = self.outcome(order)
        assert outcome is not None, f"nothing was said of {order.id}"
        return outcome

    async def look_for(self, *, seconds: int) -> None:
        """Let time pass in which the Executor looks as often as it usually does."""
        for _ in range(seconds // 5):
            await self.pass_time(seconds=5)
            await self.executor.step()

    async def journal(self, order_id: str) -> Any:
        async with self.database.transaction() as tx:
            return await repository.find(tx, order_id)

    async def remember(
        self, number: int, *, owner_uid: str, minutes_ago: float, stage: Stage = Stage.KEPT,
        action: ActionKind = ActionKind.ROLLBACK_ROLLOUT,
    ) -> None:  # fmt: skip
        """Write an order of the past into the journal."""
        at = self.clock.now() - timedelta(minutes=minutes_ago)
        row = {
            "order_id": f"past-{number}", "remediation_id": f"rem-past-{number}", "plan_hash": "-", "concerns": None,
            "owner_uid": owner_uid, "action": action, "spec_hash": spec_hash(self.find(DEPLOYMENTS, "web")),
            "order": b"", "stage": stage, "received_at": at, "expires_at": at, "acted_at": at,
            # Another replica is at it.
            "look_at": at, "claimed_until": self.clock.now() + timedelta(minutes=1),
            "worse_looks": 0, "reports": 0, "concluded": stage not in (Stage.SETTLING, Stage.ACTING),
        }  # fmt: skip
        async with self.database.transaction() as tx:
            assert await repository.receive(tx, row)


class _Wire(httpx2.AsyncBaseTransport):
    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._transport = httpx2.ASGITransport(rig.api)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self._rig.is_cluster_up:
            raise httpx2.ConnectError("connection refused")
        return await self._transport.handle_async_request(request)


def _node(name: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _container(image: str) -> Object:
    limits = {"cpu": "100m", "memory": "100Mi"}
    return a_container("web", image, resources={"limits": limits}, env=[{"name": "API_KEY", "value": "canary"}])


def _deployment(name: str, *, replicas: int) -> Object:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [_container("web:2")]}},
        },
    }


def _whole(deployment: Object) -> Object:
    replicas = deployment["spec"]["replicas"]
    generation = deployment["metadata"].get("generation", 1)
    return {
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
    }  # fmt: skip


def _owner(owner: Object, kind: str) -> list[Object]:
    metadata = owner["metadata"]
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
    return [reference | {"controller": True, "blockOwnerDeletion": True}]


def _replicaset(owner: Object, template: str, revision: int) -> Object:
    labels = {"app": "web", "pod-template-hash": template}
    return {
        "metadata": {
            "name": f"web-{template}", "namespace": "shop", "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": _owner(owner, "Deployment"),
        },
        "spec": {
            "replicas": 1 if template == "old" else 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [_container(f"web:{revision}")]}},
        },
    }  # fmt: skip


def a_stateful_set(name: str, *, replicas: int) -> Object:
    """Return one that is rolled out already."""
    made = _deployment(name, replicas=replicas)
    made["spec"]["serviceName"] = name
    return {**made, "status": _whole(made)}


def _pod(owner: Object, number: int) -> Object:
    template = owner["metadata"]["labels"]["pod-template-hash"]
    labels = {"app": "web", "pod-template-hash": template}
    return pod_of(owner, "ReplicaSet", f"web-{template}-{number}", labels=labels)


def pod_of(owner: Object, kind: str, name: str, *, labels: Mapping[str, str]) -> Object:
    """Return a healthy pod."""
    return {
        "metadata": {
            "name": name, "namespace": "shop", "labels": dict(labels), "ownerReferences": _owner(owner, kind),
        },
        "spec": {"nodeName": "node1", "containers": [_container("web:2")]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "web", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }  # fmt: skip


def unready(pod: Object) -> None:
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]


def killed(rig: Rig, *, restarts: int = 1) -> Callable[[Object], None]:
    """Return what the kernel does to a pod that wants too much memory."""

    def change(pod: Object) -> None:
        end = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": timestamp(rig.clock.now())}
        [status] = pod["status"]["containerStatuses"]
        status.update(restartCount=restarts, lastState={"terminated": end})

    return change

"""A Backend over HTTP, and everybody who talks to it: people, services, and a pretend Executor."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from tests.builders import plan, proposal, target
from tests.servers import CLUSTER, KEYS, PretendDirectory, backend_ports

from aegis.backend.service import Backend
from aegis.clients.backend import BackendClient
from aegis.contracts.envelope import Envelope, open_envelope
from aegis.contracts.orders import Order
from aegis.contracts.outcomes import Outcome, Stage
from aegis.contracts.plans import Plan, Rehearsal, RehearsalResult, RehearsalStatus
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetFacts
from aegis.contracts.work import Work
from aegis.kit.clock import VirtualClock
from aegis.kit.database import Database
from aegis.kit.http import PROBLEM
from aegis.kit.signing import PrivateKey
from aegis.simulator.together.people import token_of

SERVICES = ("ai-engine", "executor", "alertmanager")


def policy(*rules: str, name: str = "p") -> str:
    lines = "\n".join(f"    - {rule}" for rule in rules)
    return f"apiVersion: aegis.dev/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n  rules:\n{lines}\n"


@dataclass
class Rig:
    """`as_("ada")` is a client with that person's session; `as_("executor")` one with that service's key."""

    database: Database
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.directory = PretendDirectory()
        self.directory.add(target(cluster_id=CLUSTER))
        given = {"clock": self.clock, "directory": self.directory} | self.changes
        self.ports = backend_ports(self.database, **given)
        self.backend = Backend(self.ports)
        self._clients: dict[str, httpx.AsyncClient] = {}

    def as_(self, name: str) -> httpx.AsyncClient:
        if name not in self._clients:
            credential = KEYS.service[name] if name in SERVICES else token_of(name)
            self._clients[name] = self.client({"Authorization": f"Bearer {credential}"} if name else {})
        return self._clients[name]

    def anybody(self) -> httpx.AsyncClient:
        return self.as_("")

    def client(self, headers: dict[str, str] | None = None, *, surprises_pass: bool = False) -> httpx.AsyncClient:
        """Return a client; an error that the Backend did not expect fails the test, unless it may pass as a 500."""
        transport = httpx.ASGITransport(self.backend.app, raise_app_exceptions=not surprises_pass)
        return httpx.AsyncClient(transport=transport, base_url="http://backend", headers=headers)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    @property
    def executor(self) -> BackendClient:
        return BackendClient(self.as_("executor"))

    async def pass_time(self, **duration: float) -> None:
        await self.clock.advance(timedelta(**duration))

    # What happens to a remediation on its way

    def proposal(self, **changes: Any) -> Proposal:
        here = {"target": target(cluster_id=CLUSTER), "owner": target(cluster_id=CLUSTER)}
        return proposal(**(here | changes))

    async def propose(self, **changes: Any) -> str:
        return await BackendClient(self.as_("ai-engine")).propose(self.proposal(**changes))

    async def request(self, by: str = "ole", **changes: Any) -> httpx.Response:
        asked = {
            "namespace": "shop", "kind": "Deployment", "name": "web", "reason": "I know it",
            "action": {"kind": "rollback_rollout"},
        }  # fmt: skip
        return await self.as_(by).post("/api/v1/remediations", json=asked | changes)

    async def fetch(self, replica: str = "executor-0") -> Work:
        return await self.executor.fetch_work(replica=replica, wait=timedelta())

    async def rehearse(self, *, mode: str = "auto", **changes: Any) -> Plan:
        """Let a pretend Executor rehearse the one thing that waits for it, and have the Backend decide."""
        await self.backend.step()
        [rehearsal] = (await self.fetch()).rehearsals
        planned = plan_for(rehearsal, mode=mode, **changes)
        await self.executor.report_rehearsal(result_of(rehearsal, planned))
        await self.backend.step()
        return planned

    async def order(self) -> Order:
        """Return the one order that waits to be fetched."""
        [envelope] = (await self.fetch()).orders
        return opened(envelope)

    async def report(self, order: Order, *stages: Stage, **changes: Any) -> None:
        for number, stage in enumerate(stages, start=changes.pop("first", 1)):
            outcome = Outcome(
                order_id=order.id, remediation_id=order.remediation_id, sequence=number, stage=stage,
                at=self.clock.now(), **changes,
            )  # fmt: skip
            await self.executor.report_outcome(outcome)

    async def show(self, remediation_id: str) -> dict[str, Any]:
        answer = await self.as_("ada").get(f"/api/v1/remediations/{remediation_id}")
        return dict(answer.json())

    async def state(self, remediation_id: str) -> str:
        return str((await self.show(remediation_id))["state"])

    async def awaiting(self, **changes: Any) -> tuple[str, Plan]:
        """Bring a remediation to where it waits for somebody's yes."""
        await self.put_policy(policy("{name: ask, effect: require_approval}", name="ask"))
        remediation_id = await self.propose(**changes)
        return remediation_id, await self.rehearse()

    async def approve(self, name: str, remediation_id: str, plan_hash: str, **more: Any) -> httpx.Response:
        body = {"plan_hash": plan_hash, **more}
        return await self.as_(name).post(f"/api/v1/remediations/{remediation_id}/approve", json=body)

    async def put_policy(self, source: str, *, name: str = "") -> httpx.Response:
        called = name or source.partition("name: ")[2].partition("}")[0]
        return await self.as_("ada").put(f"/api/v1/policies/{called}", json={"source": source})

    async def audit(self, subject: str = "") -> list[str]:
        """Return what the trail tells, as `actor event`, oldest first."""
        query = {"limit": 1000} | ({"subject": subject} if subject else {})
        entries = (await self.as_("ada").get("/api/v1/audit/entries", params=query)).json()["entries"]
        return [f"{one['actor']} {one['event']}" for one in entries]

    async def notifications(self, kind: str) -> list[dict[str, Any]]:
        answer = await self.as_("ada").get("/api/v1/notifications")
        return [one for one in answer.json()["notifications"] if one["kind"] == kind]


def plan_for(rehearsal: Rehearsal, *, mode: str = "auto", **changes: Any) -> Plan:
    given = {
        "order_id": rehearsal.order_id, "target": rehearsal.proposal.target, "owner": rehearsal.proposal.owner,
        "action": rehearsal.proposal.action.kind, "facts": TargetFacts(mode=mode),
    }  # fmt: skip
    return plan(**(given | changes))


def result_of(rehearsal: Rehearsal, planned: Plan | None, **changes: Any) -> RehearsalResult:
    given = {
        "rehearsal_id": rehearsal.id, "remediation_id": rehearsal.remediation_id,
        "status": RehearsalStatus.PLANNED if planned else RehearsalStatus.REFUSED,
        "plan": planned, "finished_at": rehearsal.requested_at,
    }  # fmt: skip
    return RehearsalResult.model_validate(given | changes)


def opened(envelope: Envelope) -> Order:
    key = PrivateKey.from_text(KEYS.signing).public
    payload = open_envelope(envelope, keys={key.id: key}, cluster_id=CLUSTER, audience="executor")
    return Order.model_validate_json(payload)


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem details of a refusal, checked for what every one of them must say."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body = dict(answer.json())
    assert body["status"] == status
    assert body["type"].startswith("urn:aegis:problem:")
    assert body["title"]
    assert body["detail"]
    assert status >= 500 or body.get("hint") or body.get("errors"), f"nobody learns what to do: {body}"
    return body


def field_of(answer: httpx.Response, status: int = 422) -> tuple[str, Any]:
    """Return the field and the value that a refusal blames."""
    [first, *_] = problem_of(answer, status)["errors"]
    return first["field"], first["value"]

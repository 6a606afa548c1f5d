"""The Backend, given its ports: an API to call and steps to repeat."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge

from aegis import __version__
from aegis.backend.audit import endpoints as audit_endpoints
from aegis.backend.audit import repository as audit_repository
from aegis.backend.audit.sealer import Sealer
from aegis.backend.audit.trail import AuditTrail
from aegis.backend.audit.witness import WitnessKey
from aegis.backend.identity import endpoints as identity_endpoints
from aegis.backend.identity.access import Access, anybody, everywhere, service
from aegis.backend.identity.bootstrap import bootstrap
from aegis.backend.identity.refusals import Refusals
from aegis.backend.identity.roles import Permission
from aegis.backend.incidents import endpoints as incident_endpoints
from aegis.backend.incidents.register import IncidentRegister
from aegis.backend.notifications import endpoints as notification_endpoints
from aegis.backend.notifications.notifier import Notifier
from aegis.backend.policy_store import endpoints as policy_endpoints
from aegis.backend.policy_store.store import PolicyStore
from aegis.backend.ports import BackendPorts
from aegis.backend.remediations import endpoints as remediation_endpoints
from aegis.backend.remediations import repository as remediation_repository
from aegis.backend.remediations.remediator import Remediator
from aegis.backend.switches import endpoints as switch_endpoints
from aegis.backend.switches.endpoints import Switches
from aegis.contracts.remediations import RemediationState
from aegis.kit.http import PROBLEMS, add_operations, add_problem_details, add_routes

_ROUTERS = (
    identity_endpoints.routes,
    incident_endpoints.routes,
    remediation_endpoints.services,
    remediation_endpoints.people,
    policy_endpoints.routes,
    switch_endpoints.routes,
    notification_endpoints.routes,
    audit_endpoints.router(anybody=anybody, reader=everywhere(Permission.READ), witness=service("executor")),
)


@dataclass(frozen=True)
class _Metrics:
    remediations: Gauge
    unsealed: Gauge
    undelivered: Gauge

    @classmethod
    def on(cls, registry: CollectorRegistry) -> "_Metrics":
        return cls(
            Gauge("aegis_remediations", "Remediations by state.", ["state"], registry=registry),
            Gauge("aegis_audit_unsealed_entries", "Audit entries that no seal covers yet.", registry=registry),
            Gauge(
                "aegis_notifications_undelivered",
                "Notifications that wait for their turn, or that the receiver has refused for good.",
                ["state"],
                registry=registry,
            ),
        )


class Backend:
    def __init__(self, ports: BackendPorts, remediator: type[Remediator] = Remediator) -> None:
        """Take the ports; and another remediator where a simulation breaks it on purpose, to see that it is noticed."""
        self._ports = ports
        trail = AuditTrail(ports.clock, ports.ids)
        self.registry = CollectorRegistry()
        notifier = Notifier(ports, self.registry)
        refusals = Refusals(ports, trail)
        self._trail = trail
        self._notifier = notifier
        self._refusals = refusals
        self._policies = PolicyStore(ports, trail)
        self._sealer = Sealer(ports.database, ports.clock, ports.signing_key)
        self.remediator = remediator(ports, trail, notifier, self._policies)
        self._metrics = _Metrics.on(self.registry)
        self.app = FastAPI(title="Aegis Backend", version=__version__, responses=PROBLEMS)
        add_problem_details(self.app)
        add_operations(self.app, registry=self.registry, unready=self._unready)
        parts: dict[type[Any], object] = {
            Access: Access(ports, refusals),
            AuditTrail: trail,
            IncidentRegister: IncidentRegister(ports, trail, notifier),
            Notifier: notifier,
            PolicyStore: self._policies,
            Remediator: self.remediator,
            Sealer: self._sealer,
            Switches: Switches(ports, trail, notifier),
            WitnessKey: WitnessKey(trail, ports.settings.witness_public_key),
        }
        add_routes(self.app, _ROUTERS, parts)

    async def prepare(self) -> None:
        """Make known what the settings name, and give a new installation its policies."""
        await bootstrap(self._ports, self._trail)
        await self._policies.add_defaults()

    async def step(self) -> None:
        """Decide what there is to decide."""
        await self.remediator.step()

    async def tidy(self) -> None:
        """Tell who was not let in, seal the audit trail, deliver notifications, count."""
        await self._refusals.tell()
        await self._sealer.seal()
        await self._notifier.deliver()
        async with self._ports.database.transaction() as tx:
            counts = await remediation_repository.count_by_state(tx)
            self._metrics.unsealed.set(await audit_repository.count_unsealed(tx))
            undelivered = await self._notifier.undelivered(tx)
        self._metrics.undelivered.labels("waiting").set(undelivered.waiting)
        self._metrics.undelivered.labels("refused").set(undelivered.refused)
        for state in RemediationState:
            self._metrics.remediations.labels(state.value).set(counts.get(state.value, 0))

    async def finish(self) -> None:
        """Write down what only this process knows, before it ends."""
        await self._refusals.tell(at_once=True)

    async def _unready(self) -> str | None:
        return None if await self._ports.database.is_there() else "the database does not answer"

"""Read the whole cluster's health: for the storm brake, and to remember healthy revisions and killed containers."""

from dataclasses import dataclass
from datetime import datetime

from aegis.contracts.work import Storm
from aegis.executor.cluster.paths import WORKLOAD_KINDS
from aegis.executor.guardrails.facts import Object, controller_of, template_hash
from aegis.executor.guardrails.memory import OOM_WINDOW, kills_shown
from aegis.executor.guardrails.storm import Reading, read_health
from aegis.executor.journal import repository
from aegis.executor.observe.health import unhealthy_because
from aegis.executor.orders.record import REPORTS, STORMS
from aegis.executor.ports import ExecutorPorts
from aegis.kit.database import Transaction

READINGS_NEEDED = 2
"""One bad reading may be a moment; two in a row are a storm."""


@dataclass
class Monitor:
    ports: ExecutorPorts

    async def step(self) -> None:
        cluster = self.ports.cluster
        workloads = [item for kind in WORKLOAD_KINDS for item in await cluster.list("apps/v1", kind)]
        pods, nodes = await cluster.list("v1", "Pod"), await cluster.list("v1", "Node")
        replicasets = await cluster.list("apps/v1", "ReplicaSet")
        now = self.ports.clock.now()
        async with self.ports.database.transaction() as tx:
            await repository.remember_healthy(tx, _healthy_revisions(workloads, replicasets, pods), at=now)
            await repository.remember_kills(tx, [one for one in kills_shown(pods) if now - one.at <= OOM_WINDOW])
        await self._brake(read_health(workloads, pods, nodes), now)

    async def _brake(self, reading: Reading, now: datetime) -> None:
        settings = self.ports.settings
        bad = reading.is_storm(minimum=settings.storm_minimum, share=settings.storm_share)
        async with self.ports.database.transaction() as tx:
            await repository.lock_reservations(tx)
            bad_in_a_row = await repository.note_reading(tx, at=now, bad=bad)
            storm = await repository.current_storm(tx)
            if bad and storm is not None:
                await repository.prolong_storm(tx, storm.since, at=now)
            elif bad and bad_in_a_row >= READINGS_NEEDED:
                await repository.begin_storm(tx, now)
                await self._report(tx, reading, since=now, active=True)
            elif storm is not None and now - storm.last_bad_at >= settings.storm_quiet:
                await repository.end_storm(tx, storm.since, at=now)
                await self._report(tx, reading, since=storm.since, active=False)

    async def _report(self, tx: Transaction, reading: Reading, *, since: datetime, active: bool) -> None:
        storm = Storm(active=active, unhealthy=reading.unhealthy, workloads=reading.workloads, since=since)
        key = f"{since.isoformat()}:{active}"
        body = storm.model_dump_json().encode()
        await REPORTS.put(tx, queue=STORMS, key=key, body=body, at=self.ports.clock.now())


def _healthy_revisions(workloads: list[Object], replicasets: list[Object], pods: list[Object]) -> list[tuple[str, str]]:
    """Return (owner UID, template hash) of Deployments whose every pod is available and of one revision."""
    owners_pods: dict[str, set[str]] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is not None:
            owners_pods.setdefault(owner["uid"], set()).add(template_hash(pod))
    seen = []
    for deployment in workloads:
        if deployment["kind"] != "Deployment" or unhealthy_because(deployment) is not None:
            continue
        owned = [one for one in replicasets if (controller_of(one) or {}).get("uid") == deployment["metadata"]["uid"]]
        running = {one for replicaset in owned for one in owners_pods.get(replicaset["metadata"]["uid"], set())}
        if len(running) == 1:
            seen.append((str(deployment["metadata"]["uid"]), next(iter(running))))
    return seen

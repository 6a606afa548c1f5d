"""Read the whole cluster's health: for the storm brake, and to remember healthy revisions and killed containers."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from aegis.contracts.work import Storm
from aegis.executor.cluster.paths import WORKLOAD_KINDS
from aegis.executor.guardrails.facts import Object, WholeRevision, controller_of, template_hash
from aegis.executor.guardrails.memory import OOM_WINDOW, kills_shown
from aegis.executor.guardrails.storm import Reading, read_health
from aegis.executor.journal import repository
from aegis.executor.observe.health import unhealthy_because
from aegis.executor.orders.record import REPORTS, STORMS
from aegis.executor.ports import ExecutorPorts
from aegis.kit.database import Transaction

HEALTHY_AFTER = timedelta(seconds=15)
"""What crashes again and again is ready for moments as well, where nothing probes it."""


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
            whole = whole_revisions(workloads, replicasets, pods)
            await repository.note_whole(tx, whole, at=now, healthy_after=HEALTHY_AFTER)
            await repository.remember_kills(tx, [one for one in kills_shown(pods) if now - one.at <= OOM_WINDOW])
        await self._brake(read_health(workloads, pods, nodes), now)

    async def _brake(self, reading: Reading, now: datetime) -> None:
        settings = self.ports.settings
        bad = reading.is_storm(minimum=settings.storm_minimum, share=settings.storm_share)
        async with self.ports.database.transaction() as tx:
            await repository.lock_reservations(tx)
            bad_since = await repository.note_reading(tx, at=now, bad=bad)
            storm = await repository.current_storm(tx)
            # A clock that has gone back would make a storm last until it has caught up.
            if storm is not None and (bad or storm.last_bad_at > now):
                await repository.prolong_storm(tx, storm.since, at=now)
            elif bad_since is not None and now - bad_since >= settings.monitor_interval:
                # One bad reading may be a moment, and so may those of several replicas at that moment.
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


def whole_revisions(
    workloads: Iterable[Object], replicasets: Iterable[Object], pods: Iterable[Object]
) -> list[WholeRevision]:
    """Return the Deployments whose every pod is available and of one revision."""
    replicasets_of, pods_of = _by_controller(replicasets), _by_controller(pods)
    seen = []
    for deployment in workloads:
        if deployment["kind"] != "Deployment" or unhealthy_because(deployment) is not None:
            continue
        uid = str(deployment["metadata"]["uid"])
        running = [pod for one in replicasets_of[uid] for pod in pods_of[one["metadata"]["uid"]]]
        revisions = {template_hash(pod) for pod in running}
        if len(revisions) == 1:
            seen.append(WholeRevision(uid, revisions.pop(), _lives(running)))
    return seen


def _by_controller(things: Iterable[Object]) -> defaultdict[str, list[Object]]:
    found = defaultdict[str, list[Object]](list)
    for thing in things:
        owner = controller_of(thing)
        if owner is not None:
            found[owner["uid"]].append(thing)
    return found


def _lives(pods: Sequence[Object]) -> str:
    """Return a word that is another one as soon as a pod comes or goes, or one of its containers is started again."""
    lives = sorted(
        [
            pod["metadata"]["uid"],
            [
                (status["name"], status.get("restartCount", 0))
                for kind in ("initContainerStatuses", "containerStatuses")
                for status in pod.get("status", {}).get(kind) or []
            ],
        ]
        for pod in pods
    )
    return hashlib.sha256(orjson.dumps(lives)).hexdigest()

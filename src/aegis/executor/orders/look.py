"""Read the cluster around a target, as the checks need it: once, now."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import orjson

from aegis.contracts.actions import ActionKind
from aegis.contracts.approvals import Approval
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetRef
from aegis.contracts.verifications import Judgement, VerificationRequest
from aegis.executor.cluster.paths import is_known
from aegis.executor.guardrails.checks import is_stale
from aegis.executor.guardrails.config_map import with_config_map
from aegis.executor.guardrails.facts import Confirmation, Facts, Limits, Object, Switches, controller_of
from aegis.executor.journal import repository
from aegis.executor.ports import ExecutorPorts
from aegis.kit.database import Transaction
from aegis.kit.errors import AegisError, TemporaryError

log = logging.getLogger(__name__)

READINGS_MISSED = 6
"""After so many intervals without a reading of the whole cluster's health nobody knows whether there is a storm."""
SAME_FIX_WINDOW = timedelta(days=1)
VERIFIER_ANSWERS_WITHIN = timedelta(seconds=5)
"""Of real time."""

_CONFIRMATIONS = {
    Judgement.BETTER: Confirmation.GONE,
    Judgement.NOT_YET: Confirmation.STILL_SO,
    Judgement.WORSE: Confirmation.STILL_SO,
    Judgement.UNKNOWN: Confirmation.UNKNOWN,
}


class Eyes:
    """How the Executor looks at the cluster and at its switches."""

    def __init__(self, ports: ExecutorPorts) -> None:
        self._ports = ports
        self._nonsense = ""
        settings = ports.settings
        self._limits = Limits(
            cluster_id=settings.cluster_id,
            namespaces=_patterns(settings.namespaces),
            protected_namespaces=(*_patterns(settings.protected_namespaces), settings.own_namespace),
            metrics_step=settings.metrics_step,
            disturb_share=settings.disturb_share,
            healthy_minimum=settings.healthy_minimum,
            health_stale=READINGS_MISSED * settings.monitor_interval,
        )

    async def look(
        self, proposal: Proposal, *, order_id: str, rehearsing: bool, approvals: Sequence[Approval] = ()
    ) -> Facts:
        """Read everything the checks may ask for of an order; TemporaryError if the cluster does not answer."""
        seen = await self.glance(proposal)
        facts = replace(
            seen,
            switches=await self.switches(),
            approvals=tuple(approvals),
            rehearsing=rehearsing,
            decided_by_person=proposal.proposed_by.startswith("person:"),
        )
        if is_stale(proposal, facts):
            facts = replace(facts, confirmed=await self._confirmed(proposal))
        if seen.owner is None or proposal.target.namespace is None:
            return await self._remembered(proposal, facts, order_id)
        return await self._remembered(proposal, await self._surroundings(proposal, facts, seen.owner), order_id)

    async def glance(self, proposal: Proposal) -> Facts:
        """Read the target and whose it is: enough to see whether it is protected."""
        target = await self.read(proposal.target)
        owner = target if proposal.owner == proposal.target else await self.read(proposal.owner)
        return Facts(now=self._ports.clock.now(), target=target, owner=owner, limits=self._limits)

    async def _confirmed(self, proposal: Proposal) -> Confirmation:
        """Ask the AI Engine whether what it proposed this for is still so."""
        now = self._ports.clock.now()
        request = VerificationRequest(
            remediation_id=proposal.id,
            order_id=proposal.id,
            incident_key=proposal.incident_key,
            workload=proposal.owner.workload,
            signals=proposal.signals,
            acted_at=proposal.proposed_at,
            settle_until=now,
        )
        try:
            answer = await self._ports.verifier.verify(request, timeout=VERIFIER_ANSWERS_WITHIN)
        except AegisError:
            return Confirmation.UNKNOWN
        return _CONFIRMATIONS[answer.judgement]

    async def read(self, ref: TargetRef) -> Object | None:
        """Return the object; None where there is none, or none that we have anything to do with."""
        if not is_known(ref.api_version, ref.kind):
            return None
        return await self._ports.cluster.read(ref.api_version, ref.kind, ref.namespace, ref.name)

    async def switches(self) -> Switches:
        """Read both pause switches and the operator's guardrails; what cannot be read is None."""
        switches = Switches()
        try:
            pause = await self._ports.backend.pause()
            switches = replace(switches, backend_paused=pause.paused, backend_reason=pause.reason)
        except AegisError as error:
            switches = replace(switches, unreadable=f"the Backend: {error}")
        settings = self._ports.settings
        try:
            found = await self._ports.cluster.read(
                "v1", "ConfigMap", settings.own_namespace, settings.guardrails_config_map
            )
        except TemporaryError as error:
            return replace(switches, unreadable=f"the ConfigMap: {error}")
        if found is None:
            return replace(switches, operator_paused=False)
        switches = with_config_map(replace(switches, is_config_map_there=True), found.get("data") or {})
        self._tell_nonsense(switches.unreadable)
        return switches

    def _tell_nonsense(self, nonsense: str) -> None:
        """Say once in the log what stops us; whoever wrote it may look there."""
        if nonsense and nonsense != self._nonsense:
            log.warning("nothing is done: %s", nonsense)
        self._nonsense = nonsense

    async def _surroundings(self, proposal: Proposal, facts: Facts, owner: Object) -> Facts:
        cluster, namespace = self._ports.cluster, owner["metadata"]["namespace"]
        selector = owner["spec"].get("selector")
        pods = await cluster.list("v1", "Pod", namespace, selector=selector)
        replicasets = (
            await cluster.list("apps/v1", "ReplicaSet", namespace, selector=selector)
            if owner["kind"] == "Deployment"
            else []
        )
        facts = replace(
            facts,
            namespace=await cluster.read("v1", "Namespace", None, namespace),
            replicasets=[one for one in replicasets if _is_controlled_by(one, owner)],
            autoscalers=await cluster.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace),
        )
        owners = {one["metadata"]["uid"] for one in facts.replicasets} | {owner["metadata"]["uid"]}
        facts = replace(facts, pods=[pod for pod in pods if (controller_of(pod) or {}).get("uid") in owners])
        if proposal.action.kind is ActionKind.EVICT_POD:
            return replace(
                facts,
                budgets=await cluster.list("policy/v1", "PodDisruptionBudget", namespace),
                nodes=await cluster.list("v1", "Node"),
            )
        if proposal.action.kind is ActionKind.SCALE_WORKLOAD:
            return replace(
                facts,
                quotas=await cluster.list("v1", "ResourceQuota", namespace),
                nodes=await cluster.list("v1", "Node"),
                node_pods=await cluster.list("v1", "Pod"),
            )
        return facts

    async def _remembered(self, proposal: Proposal, facts: Facts, order_id: str) -> Facts:
        async with self._ports.database.transaction() as tx:
            storm, read_at = await repository.current_storm(tx), await repository.last_reading(tx)
            fixes = await repository.count_same_fixes(
                tx,
                owner_uid=proposal.owner.uid,
                action=proposal.action.kind,
                spec_hash=spec_hash(facts.owner),
                since=facts.now - SAME_FIX_WINDOW,
                besides=order_id,
            )
            switches = await self._unless_vanished(tx, facts.switches, now=facts.now)
            healthy = await repository.seen_healthy(tx, proposal.owner.uid)
            kills = await repository.kills_seen(tx, [pod["metadata"]["uid"] for pod in facts.pods])
        return replace(
            facts,
            switches=switches,
            storm=storm is not None,
            health_read_at=read_at,
            past_fixes=fixes,
            healthy_revisions=healthy,
            kills_seen=kills,
        )

    async def _unless_vanished(self, tx: Transaction, switches: Switches, *, now: datetime) -> Switches:
        """Remember whether the operator's ConfigMap said anything: one that said something and is gone stops.

        Nobody knows whether somebody deleted it on purpose, or we look in the wrong place by now.
        """
        since = await repository.guardrails_since(tx)
        if switches.is_config_map_there:
            says_something = switches.operator_paused is not False or bool(switches.freezes or switches.floor)
            if says_something and since is None:
                await repository.remember_guardrails(tx, at=now)
            elif since is not None and not says_something:
                await repository.forget_guardrails(tx)
        elif since is not None and switches.operator_paused is not None:
            settings = self._ports.settings
            name = f"{settings.own_namespace}/{settings.guardrails_config_map}"
            why = f"the ConfigMap {name}, which said something since {since.isoformat(timespec='seconds')}, is gone"
            return replace(
                switches, operator_paused=None, unreadable=f"{why}: write an empty one if nothing is to hold"
            )
        return switches


def spec_hash(owner: Object | None) -> str:
    """Return what stays the same for as long as nobody changes the workload's containers."""
    template = ((owner or {}).get("spec") or {}).get("template") or {}
    return hashlib.sha256(orjson.dumps(template.get("spec") or {}, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _is_controlled_by(thing: Object, owner: Object) -> bool:
    return bool((controller_of(thing) or {}).get("uid") == owner["metadata"]["uid"])


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())

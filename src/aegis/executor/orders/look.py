"""Read the cluster around a target, as the checks need it: once, now."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
from croniter import croniter

from aegis.contracts.actions import ActionKind
from aegis.contracts.approvals import Approval
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetRef
from aegis.contracts.verifications import Judgement, VerificationRequest
from aegis.executor.cluster.paths import is_known
from aegis.executor.guardrails.checks import is_stale
from aegis.executor.guardrails.facts import Confirmation, Facts, Freeze, Limits, Object, Switches, controller_of
from aegis.executor.journal import repository
from aegis.executor.ports import ExecutorPorts
from aegis.kit.database import Transaction
from aegis.kit.errors import AegisError, TemporaryError
from aegis.kit.signing import PublicKey
from aegis.kit.yaml import read_yaml

READINGS_MISSED = 6
"""After so many intervals without a reading of the whole cluster's health nobody knows whether there is a storm."""
SAME_FIX_WINDOW = timedelta(days=1)
VERIFIER_ANSWERS_WITHIN = timedelta(seconds=5)
"""Of real time."""

_NONSENSE = (TypeError, ValueError, KeyError, AttributeError, OSError, OverflowError)
"""What comes of reading what people may have written: no mapping, no number, no cron, no time zone, no key."""
_KEYS = frozenset({"paused", "reason", "freeze", "policy-floor", "approver-keys"})
_FREEZE_KEYS = frozenset({"name", "cron", "timeZone", "minutes", "namespaces"})
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
        return _with_config_map(replace(switches, is_config_map_there=True), found.get("data") or {})

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


def _with_config_map(switches: Switches, data: dict[str, str]) -> Switches:
    """Read the operator's ConfigMap; one that cannot be understood stops like one that says stop.

    A misspelled key is not understood either: whoever wrote `pause` for `paused` must not believe that we stopped.
    """
    try:
        _only(_KEYS, data)
        return replace(
            switches,
            operator_paused=data.get("paused", "false").strip().lower() not in ("false", "no", "0", ""),
            operator_reason=data.get("reason", ""),
            freezes=tuple(_freeze(entry) for entry in read_yaml(data.get("freeze", "")) or []),
            floor=_floor(read_yaml(data.get("policy-floor", "")) or {}),
            approver_keys=_approver_keys(read_yaml(data.get("approver-keys", "")) or {}),
        )
    except _NONSENSE as error:
        return replace(switches, operator_paused=None, unreadable=f"the ConfigMap makes no sense: {error!r}")


def _only(known: frozenset[str], found: Mapping[str, object]) -> None:
    unknown = sorted(str(key) for key in found if key not in known)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _floor(found: dict[object, object]) -> dict[str, int]:
    floor = {ActionKind(str(action)).value: int(str(needed)) for action, needed in found.items()}
    for action, needed in floor.items():
        if needed < 1:
            raise ValueError(f"{action} would need {needed} approvers: leave it out, or name one or more")
    return floor


def _approver_keys(found: dict[object, object]) -> dict[str, str]:
    keys = {str(approver): str(key) for approver, key in found.items()}
    for key in keys.values():
        PublicKey.from_text(key)  # raises ValueError for what is none
    return keys


def _freeze(entry: dict[str, object]) -> Freeze:
    _only(_FREEZE_KEYS, entry)
    cron, zone = str(entry["cron"]), str(entry.get("timeZone", "UTC"))
    ZoneInfo(zone)  # raises KeyError for one that does not exist
    if not croniter.is_valid(cron):
        raise ValueError(f"{cron!r} is not a cron expression")
    namespaces = entry.get("namespaces") or ["*"]
    if not isinstance(namespaces, list):
        raise TypeError(f"namespaces are a list, and not {namespaces!r}")
    duration = timedelta(minutes=float(str(entry["minutes"])))
    if duration <= timedelta():
        raise ValueError(f"a freeze of {entry['minutes']} minutes never freezes anything")
    return Freeze(
        name=str(entry.get("name", cron)),
        cron=cron,
        time_zone=zone,
        duration=duration,
        namespaces=tuple(str(item) for item in namespaces),
    )

"""What happened to workloads lately: the part of the truth that objects as they are now no longer show."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from aegis.ai_engine.sources.inventory import Inventory
from aegis.ai_engine.sources.views import (
    EPOCH,
    ContainerView,
    EndpointSliceView,
    EventView,
    NodeView,
    PodView,
    RevisionView,
    ServiceView,
    Termination,
    View,
    WorkloadView,
)

EVICTED = "Evicted"
KEEP = timedelta(minutes=30)
DEATHS_MAX = 200
# A revision counts as having been healthy once all its pods were ready together for this long.
PROVEN = timedelta(seconds=15)
# A crash loop pauses for five minutes at most: what has been whole for twice as long, without trouble, is not bad.
ACQUITTED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Death:
    """A container's process ended in a pod that should have kept it running."""

    pod_uid: str
    pod_name: str
    container: str
    revision: str | None
    reason: str
    exit_code: int
    started_at: datetime
    at: datetime
    by_probe: bool

    @property
    def is_out_of_memory(self) -> bool:
        return self.reason == "OOMKilled"


@dataclass(frozen=True, slots=True)
class Eviction:
    pod_name: str
    revision: str | None
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    """A workload moved from one revision to another."""

    at: datetime
    revision: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class Scaling:
    at: datetime
    before: int
    after: int


@dataclass
class Past:
    """One workload's recent past."""

    deaths: deque[Death] = field(default_factory=lambda: deque(maxlen=DEATHS_MAX))
    evictions: deque[Eviction] = field(default_factory=lambda: deque(maxlen=DEATHS_MAX))
    rollouts: deque[Rollout] = field(default_factory=lambda: deque(maxlen=10))
    scalings: deque[Scaling] = field(default_factory=lambda: deque(maxlen=10))
    healthy: dict[str, datetime] = field(default_factory=dict)
    """When each revision was last seen with all its pods ready for long enough."""
    whole_since: dict[str, datetime] = field(default_factory=dict)
    """Since when all pods of a revision have been ready, as far as was seen; of those whose pods are."""
    condemned: set[str] = field(default_factory=set)
    """Revisions that were found to be bad: not to be gone back to, unless they prove to be well after all."""
    troubled_at: datetime | None = None
    """When it was last part of an incident."""
    newest: str | None = None


class History:
    """Listens to changes, and remembers for half an hour; bounded for each workload."""

    def __init__(self) -> None:
        self._pasts: dict[str, Past] = {}
        self._waiting_since: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._killings: dict[str, deque[datetime]] = {}
        self._served: dict[tuple[str, str], datetime] = {}
        self._unserved_since: dict[tuple[str, str], datetime] = {}
        self._behind: dict[tuple[str, str], str] = {}
        self._cordoned_since: dict[str, datetime] = {}
        self._touched: dict[str, datetime] = {}
        self.began_at: datetime | None = None

    def note(self, before: View | None, after: View | None, *, inventory: Inventory, at: datetime) -> None:
        self.began_at = self.began_at or at
        match after or before:
            case PodView() as pod:
                self._note_pod(before, pod, gone=after is None, inventory=inventory, at=at)
            case RevisionView() as revision:
                self._note_revision(revision, gone=after is None, inventory=inventory, at=at)
            case WorkloadView() as workload:
                self._note_workload(before, workload, gone=after is None, at=at)
            case EventView() as event:
                self._note_event(event, inventory=inventory, at=at)
            case EndpointSliceView() as endpoints:
                self._note_endpoints(endpoints, inventory=inventory, at=at)
            case NodeView() as node:
                self._note_node(node, gone=after is None, at=at)
            case ServiceView() as service if after is None:
                self._forget_service(service)
            case _:
                pass

    def note_rollouts(self, inventory: Inventory) -> None:
        """Note what was rolled out, once all that is known has been noted: a list names revisions in any order."""
        for uid, at in self._touched.items():
            workload = inventory.workloads.get(uid)
            if workload is None:
                continue
            past, revisions = self._past(uid), inventory.revisions_of(workload)
            if revisions and revisions[0].hash != past.newest:
                self._note_rollout(past, revisions, at=at)
        self._touched.clear()

    # -- questions

    def past_of(self, workload: WorkloadView) -> Past:
        return self._pasts.get(workload.uid) or Past()

    def waiting_since(self, pod: PodView, container: ContainerView) -> datetime | None:
        """Return since when a container has waited for the reason that it waits for now."""
        known = self._waiting_since.get((pod.uid, container.name))
        return known[1] if known is not None else None

    def unserved_since(self, service: ServiceView) -> datetime | None:
        """Return since when a Service that once had ready endpoints has none."""
        return self._unserved_since.get((service.namespace, service.name))

    def cordoned_since(self, node: NodeView) -> datetime | None:
        return self._cordoned_since.get(node.uid)

    def stood_behind(self, service: ServiceView) -> str | None:
        """Return the UID of the workload that last answered for a Service."""
        return self._behind.get((service.namespace, service.name))

    def deaths(self, workload: WorkloadView, *, since: datetime) -> list[Death]:
        return [one for one in self.past_of(workload).deaths if one.at >= since]

    def evictions(self, workload: WorkloadView, *, since: datetime) -> list[Eviction]:
        return [one for one in self.past_of(workload).evictions if one.at >= since]

    def last_rollout(self, workload: WorkloadView) -> Rollout | None:
        rollouts = self.past_of(workload).rollouts
        return rollouts[-1] if rollouts else None

    def condemn(self, workload: WorkloadView, revision: str) -> None:
        self._past(workload.uid).condemned.add(revision)

    def acquit(self, now: datetime, *, troubled: Collection[str]) -> None:
        """Clear revisions that got well by themselves; `troubled` are UIDs of workloads that are in trouble now."""
        for uid, past in self._pasts.items():
            if uid in troubled:
                past.troubled_at = now
            elif past.condemned and (past.troubled_at is None or now - past.troubled_at >= ACQUITTED_AFTER):
                past.condemned -= {one for one, since in past.whole_since.items() if now - since >= ACQUITTED_AFTER}

    # -- what is learned from changes

    def _past(self, uid: str) -> Past:
        return self._pasts.setdefault(uid, Past())

    def _note_pod(self, before: View | None, pod: PodView, *, gone: bool, inventory: Inventory, at: datetime) -> None:
        workload = inventory.workload_of(pod)
        if workload is not None and not pod.is_ending:
            for container in pod.containers:
                self._note_deaths(pod, container, self._past(workload.uid))
            if pod.reason == EVICTED:
                evicted_at = _evicted_at(before, pod, at)
                self._note_eviction(pod, pod.message, self._past(workload.uid), evicted_at=evicted_at, at=at)
        for container in pod.containers:
            self._note_waiting(pod, container, gone=gone, at=at)
        if gone:
            self._killings.pop(pod.uid, None)

    def _note_waiting(self, pod: PodView, container: ContainerView, *, gone: bool, at: datetime) -> None:
        key = (pod.uid, container.name)
        if gone or not container.waiting:
            self._waiting_since.pop(key, None)
            return
        reason = _family(container.waiting)
        known = self._waiting_since.get(key)
        if known is None or known[0] != reason:
            self._waiting_since[key] = (reason, at)

    def _note_deaths(self, pod: PodView, container: ContainerView, past: Past) -> None:
        for end in (container.last_terminated, container.terminated):
            if end is not None and not self._is_known(pod, container, end, past):
                past.deaths.append(self._death(pod, container, end))

    def _is_known(self, pod: PodView, container: ContainerView, end: Termination, past: Past) -> bool:
        return any((one.pod_uid, one.container, one.at) == (pod.uid, container.name, end.at) for one in past.deaths)

    def _death(self, pod: PodView, container: ContainerView, end: Termination) -> Death:
        by_probe = self._was_killed(pod.uid, end.started_at, end.at)
        return Death(
            pod.uid, pod.name, container.name, pod.revision, end.reason, end.exit_code, end.started_at, end.at, by_probe
        )

    def _was_killed(self, pod_uid: str, started_at: datetime, ended_at: datetime) -> bool:
        killings = self._killings.get(pod_uid, ())
        return any(started_at <= killed <= ended_at + timedelta(seconds=5) for killed in killings)

    def _explain_deaths(self, pod: PodView, inventory: Inventory) -> None:
        """Events and pods come by watches of their own: the reason may arrive after the death."""
        workload = inventory.workload_of(pod)
        deaths = self._past(workload.uid).deaths if workload is not None else ()
        for number, one in enumerate(deaths):
            if one.pod_uid == pod.uid and not one.by_probe and self._was_killed(pod.uid, one.started_at, one.at):
                deaths[number] = replace(one, by_probe=True)  # type: ignore[index]

    def _note_eviction(self, pod: PodView, message: str, past: Past, *, evicted_at: datetime, at: datetime) -> None:
        if at - evicted_at > KEEP or any(one.pod_name == pod.name for one in past.evictions):
            return
        evictions = [*past.evictions, Eviction(pod.name, pod.revision, message, evicted_at)]
        past.evictions = deque(sorted(evictions, key=lambda one: one.at), maxlen=DEATHS_MAX)

    def _note_event(self, event: EventView, *, inventory: Inventory, at: datetime) -> None:
        pod = inventory.pods.get(event.about_uid)
        if pod is None:
            return
        if event.reason == "Killing" and "liveness probe" in event.message:
            self._killings.setdefault(pod.uid, deque(maxlen=20)).append(event.last_at)
            self._explain_deaths(pod, inventory)
        workload = inventory.workload_of(pod)
        if event.reason == EVICTED and workload is not None:
            self._note_eviction(pod, event.message, self._past(workload.uid), evicted_at=event.last_at, at=at)

    def _note_revision(self, revision: RevisionView, *, gone: bool, inventory: Inventory, at: datetime) -> None:
        workload = inventory.workloads.get(revision.owner.uid) if revision.owner is not None else None
        if workload is None:
            return
        past = self._past(workload.uid)
        if gone:
            past.healthy.pop(revision.hash, None)
            past.whole_since.pop(revision.hash, None)
            return
        self._note_health(past, revision.hash, whole=_is_whole(revision), at=at)
        self._touched[workload.uid] = at

    def _note_rollout(self, past: Past, revisions: list[RevisionView], *, at: datetime) -> None:
        newest, previous = revisions[0], past.newest
        if previous is None and len(revisions) > 1:
            # First sight of it: which revision served before is the best guess, and it lived until it was replaced.
            previous = _serving(revisions[1:]).hash
            past.healthy.setdefault(previous, newest.created_at)
            past.rollouts.append(Rollout(newest.created_at, newest.hash, previous))
        elif previous is not None:
            # A revision that comes back keeps its old creation time.
            reused = newest.created_at < at - timedelta(seconds=60)
            past.rollouts.append(Rollout(at if reused else newest.created_at, newest.hash, previous))
        past.newest = newest.hash

    def _note_workload(self, before: View | None, workload: WorkloadView, *, gone: bool, at: datetime) -> None:
        if gone:
            self._pasts.pop(workload.uid, None)
            return
        past = self._past(workload.uid)
        if isinstance(before, WorkloadView) and before.replicas != workload.replicas:
            past.scalings.append(Scaling(at, before.replicas, workload.replicas))
        if workload.update_hash:
            self._note_stateful(past, workload, at=at)

    def _note_stateful(self, past: Past, workload: WorkloadView, *, at: datetime) -> None:
        whole = 0 < workload.replicas <= workload.ready
        serving = workload.update_hash if workload.update_hash == workload.current_hash else workload.current_hash
        if serving:
            self._note_health(past, serving, whole=whole, at=at)
        if workload.update_hash != past.newest:
            previous = past.newest or (workload.current_hash if workload.current_hash != workload.update_hash else None)
            if previous is not None:
                past.rollouts.append(Rollout(at, workload.update_hash, previous))
            past.newest = workload.update_hash

    def _note_health(self, past: Past, revision: str, *, whole: bool, at: datetime) -> None:
        since = past.whole_since.get(revision)
        if since is not None and at - since >= PROVEN:
            past.healthy[revision] = at
        if whole and since is None:
            past.whole_since[revision] = at
        elif not whole:
            past.whole_since.pop(revision, None)

    def _note_endpoints(self, endpoints: EndpointSliceView, *, inventory: Inventory, at: datetime) -> None:
        key = (endpoints.namespace, endpoints.service)
        if any(one.ready_pods for one in inventory.slices.values() if (one.namespace, one.service) == key):
            self._served[key] = at
            self._unserved_since.pop(key, None)
            self._remember_behind(key, endpoints, inventory)
        elif key in self._served:
            self._unserved_since.setdefault(key, at)

    def _remember_behind(self, key: tuple[str, str], endpoints: EndpointSliceView, inventory: Inventory) -> None:
        names = set(endpoints.ready_pods)
        for pod in inventory.pods.values():
            if pod.namespace == key[0] and pod.name in names:
                workload = inventory.workload_of(pod)
                if workload is not None:
                    self._behind[key] = workload.uid
                    return

    def _note_node(self, node: NodeView, *, gone: bool, at: datetime) -> None:
        if gone or not node.unschedulable:
            self._cordoned_since.pop(node.uid, None)
        else:
            self._cordoned_since.setdefault(node.uid, at)

    def _forget_service(self, service: ServiceView) -> None:
        for known in (self._served, self._unserved_since, self._behind):
            known.pop((service.namespace, service.name), None)

    def settle(self, now: datetime) -> None:
        """Turn time that passed into what it proves, and forget what is old."""
        for past in self._pasts.values():
            for revision, since in past.whole_since.items():
                if now - since >= PROVEN:
                    past.healthy[revision] = now
            for kept in (past.deaths, past.evictions):
                while kept and kept[0].at < now - KEEP:
                    kept.popleft()

    # -- a restart loses nothing

    def to_plain(self) -> dict[str, Any]:
        """Return what objects alone could not tell a restarted process."""
        return {
            uid: {
                "healthy": {revision: at.timestamp() for revision, at in past.healthy.items()},
                "rollouts": [[one.at.timestamp(), one.revision, one.previous] for one in past.rollouts],
                "newest": past.newest,
                "condemned": sorted(past.condemned),
                "deaths": [_plain_death(one) for one in past.deaths],
            }
            for uid, past in self._pasts.items()
            if past.healthy or past.rollouts or past.deaths
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        for uid, kept in plain.items():
            past = self._past(uid)
            past.healthy.update({revision: _moment(at) for revision, at in kept["healthy"].items()})
            past.rollouts.extend(Rollout(_moment(at), new, old) for at, new, old in kept["rollouts"])
            past.newest = kept["newest"]
            past.condemned.update(kept["condemned"])
            past.deaths.extend(_death_of(one) for one in kept["deaths"])

    def services_to_plain(self) -> list[dict[str, Any]]:
        return [
            {
                "service": key,
                "served": served.timestamp(),
                "unserved_since": since.timestamp() if (since := self._unserved_since.get(key)) is not None else None,
                "behind": self._behind.get(key),
            }
            for key, served in self._served.items()
        ]

    def restore_services(self, plain: Iterable[Mapping[str, Any]]) -> None:
        for one in plain:
            key = (one["service"][0], one["service"][1])
            self._served[key] = _moment(one["served"])
            if one["unserved_since"] is not None:
                self._unserved_since[key] = _moment(one["unserved_since"])
            if one["behind"] is not None:
                self._behind[key] = one["behind"]


def _is_whole(revision: RevisionView) -> bool:
    return 0 < revision.replicas <= revision.ready


def _serving(revisions: Sequence[RevisionView]) -> RevisionView:
    """Return the revision that answers for the workload now; where none does, the first."""
    return max(revisions, key=lambda one: (_is_whole(one), one.ready))


def _evicted_at(before: View | None, pod: PodView, at: datetime) -> datetime:
    """Return when a pod was evicted; one that was not seen alive may have lain there for days, and tells itself."""
    if isinstance(before, PodView) and before.reason != EVICTED:
        return at
    ends = [one.terminated.at for one in pod.containers if one.terminated is not None]
    return min(at, max([pod.created_at, *ends, *(one.since for one in pod.conditions.values())]))


def _plain_death(death: Death) -> dict[str, Any]:
    plain = asdict(death)
    return plain | {"started_at": death.started_at.timestamp(), "at": death.at.timestamp()}


def _death_of(plain: Mapping[str, Any]) -> Death:
    return Death(**{**plain, "started_at": _moment(plain["started_at"]), "at": _moment(plain["at"])})


def _moment(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def _family(reason: str) -> str:
    """An image that cannot be pulled alternates between two reasons; it is one wait."""
    return "ImagePull" if reason in IMAGE_REASONS else reason


IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})

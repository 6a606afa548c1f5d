"""What is in the cluster now, and who owns, hosts, serves or calls whom."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aegis.ai_engine.ports import ObjectChange
from aegis.ai_engine.sources.views import (
    DisruptionBudgetView,
    EndpointSliceView,
    EventView,
    HpaView,
    NamespaceView,
    NodeView,
    PodView,
    RevisionView,
    ServiceView,
    View,
    WorkloadView,
    view_of,
)
from aegis.contracts.targets import TargetRef, WorkloadRef

EVENTS_MAX = 20_000


class Inventory:
    """The cluster's objects by UID, with the few indexes that questions need."""

    def __init__(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id
        self.pods: dict[str, PodView] = {}
        self.revisions: dict[str, RevisionView] = {}
        self.workloads: dict[str, WorkloadView] = {}
        self.services: dict[str, ServiceView] = {}
        self.slices: dict[str, EndpointSliceView] = {}
        self.hpas: dict[str, HpaView] = {}
        self.nodes: dict[str, NodeView] = {}
        self.events: dict[str, EventView] = {}
        self.budgets: dict[str, DisruptionBudgetView] = {}
        self.namespaces: dict[str, NamespaceView] = {}
        self._pods_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._revisions_of: dict[str, dict[str, None]] = defaultdict(dict)
        self._uid_of: dict[WorkloadRef, str] = {}
        self._kept: dict[type[View], dict[str, Any]] = {
            PodView: self.pods,
            RevisionView: self.revisions,
            WorkloadView: self.workloads,
            ServiceView: self.services,
            EndpointSliceView: self.slices,
            HpaView: self.hpas,
            NodeView: self.nodes,
            EventView: self.events,
            DisruptionBudgetView: self.budgets,
            NamespaceView: self.namespaces,
        }

    def apply(self, change: ObjectChange) -> tuple[View | None, View | None]:
        """Take a change in; return the object's view before and after it."""
        after = view_of(change.resource, change.object, cluster_id=self.cluster_id)
        if after is None:
            return None, None
        kept = self._kept[type(after)]
        before: View | None = kept.pop(after.uid, None)
        if before is not None:
            self._unlink(before)
        if change.deleted:
            return before or after, None
        kept[after.uid] = after
        self._link(after)
        if isinstance(after, EventView) and len(self.events) > EVENTS_MAX:
            del self.events[next(iter(self.events))]
        return before, after

    def _link(self, view: View) -> None:
        if isinstance(view, PodView) and view.owner is not None:
            self._pods_of[view.owner.uid][view.uid] = None
        elif isinstance(view, RevisionView) and view.owner is not None:
            self._revisions_of[view.owner.uid][view.uid] = None
        elif isinstance(view, WorkloadView):
            self._uid_of[view.ref] = view.uid

    def _unlink(self, view: View) -> None:
        if isinstance(view, PodView) and view.owner is not None:
            self._pods_of[view.owner.uid].pop(view.uid, None)
        elif isinstance(view, RevisionView) and view.owner is not None:
            self._revisions_of[view.owner.uid].pop(view.uid, None)
        elif isinstance(view, WorkloadView) and self._uid_of.get(view.ref) == view.uid:
            del self._uid_of[view.ref]

    # -- ownership

    def find(self, ref: WorkloadRef) -> WorkloadView | None:
        uid = self._uid_of.get(ref)
        return self.workloads.get(uid) if uid is not None else None

    def find_pod(self, namespace: str, name: str) -> PodView | None:
        return next((pod for pod in self.pods.values() if (pod.namespace, pod.name) == (namespace, name)), None)

    def reference(self, view: WorkloadView | PodView) -> TargetRef:
        """Return that very object, as an action names it."""
        if isinstance(view, PodView):
            api_version, kind, namespace, name = "v1", "Pod", view.namespace, view.name
        else:
            api_version, kind, namespace, name = view.api_version, view.ref.kind, view.ref.namespace, view.ref.name
        return TargetRef(
            cluster_id=self.cluster_id, api_version=api_version, kind=kind, namespace=namespace, name=name, uid=view.uid
        )

    def owner_of(self, pod: PodView) -> WorkloadView | None:
        """Return the workload that a pod belongs to, through its ReplicaSet."""
        if pod.owner is None:
            return None
        revision = self.revisions.get(pod.owner.uid)
        if revision is not None:
            return self.workloads.get(revision.owner.uid) if revision.owner is not None else None
        return self.workloads.get(pod.owner.uid)

    def workload_of(self, pod: PodView) -> WorkloadView | None:
        """Return `owner_of`, and for a CronJob's pods the CronJob: its Jobs come and go."""
        workload = self.owner_of(pod)
        return self.top_of(workload) if workload is not None else None

    def top_of(self, workload: WorkloadView) -> WorkloadView:
        owner = self.workloads.get(workload.owner.uid) if workload.owner is not None else None
        return owner or workload

    def revisions_of(self, workload: WorkloadView) -> list[RevisionView]:
        """Return a Deployment's ReplicaSets, newest revision first."""
        found = [self.revisions[uid] for uid in self._revisions_of.get(workload.uid, ())]
        return sorted(found, key=lambda one: (one.number, one.created_at), reverse=True)

    def pods_of(self, workload: WorkloadView) -> list[PodView]:
        owners = [workload.uid, *self._revisions_of.get(workload.uid, ())]
        return [self.pods[uid] for owner in owners for uid in self._pods_of.get(owner, ())]

    def jobs_of(self, workload: WorkloadView) -> list[WorkloadView]:
        """Return a CronJob's Jobs, oldest first."""
        jobs = [one for one in self.workloads.values() if one.owner is not None and one.owner.uid == workload.uid]
        return sorted(jobs, key=lambda one: one.created_at)

    def hpa_of(self, workload: WorkloadView) -> HpaView | None:
        ref = workload.ref
        for hpa in self.hpas.values():
            if (hpa.namespace, hpa.target_kind, hpa.target_name) == (ref.namespace, ref.kind, ref.name):
                return hpa
        return None

    # -- services

    def workloads_behind(self, service: ServiceView) -> list[WorkloadView]:
        if not service.selector:
            return []
        return [
            one
            for one in self.workloads.values()
            if one.ref.namespace == service.namespace
            and one.ref.kind != "CronJob"
            and matches(service.selector, one.pod_labels)
        ]

    def services_of(self, workload: WorkloadView) -> list[ServiceView]:
        return [
            one
            for one in self.services.values()
            if one.namespace == workload.ref.namespace and one.selector and matches(one.selector, workload.pod_labels)
        ]

    def calls_by_environment(self) -> Iterator[tuple[WorkloadRef, WorkloadRef]]:
        """Yield who probably calls whom: a Service's name stands in a container's environment."""
        by_name = {(one.namespace, one.name): one for one in self.services.values()}
        for workload in self.workloads.values():
            for host in workload.hosts:
                service = by_name.get(_service_name(host, workload.ref.namespace))
                for callee in self.workloads_behind(service) if service is not None else ():
                    if callee.uid != workload.uid:
                        yield workload.ref, callee.ref

    # -- nodes

    def pods_on(self, node: str) -> list[PodView]:
        return [one for one in self.pods.values() if one.node == node]

    def node_named(self, name: str) -> NodeView | None:
        return next((one for one in self.nodes.values() if one.name == name), None)

    def events_about(self, uids: Iterable[str], *reasons: str) -> list[EventView]:
        wanted = set(uids)
        return [one for one in self.events.values() if one.reason in reasons and one.about_uid in wanted]


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def _service_name(host: str, namespace: str) -> tuple[str, str]:
    """Read `cart`, `cart.shop` or `cart.shop.svc.cluster.local` as namespace and name."""
    name, _, rest = host.partition(".")
    return (rest.split(".")[0] if rest else namespace), name

"""Kubernetes objects and small worlds; every field has a default, so a test names only what matters to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from aegis.ai_engine.correlation.incidents import to_bytes
from aegis.ai_engine.pipeline import Freshness, Pipeline
from aegis.ai_engine.ports import Conclusions, ObjectChange, Sample, StoredIncident, labels_of
from aegis.ai_engine.sources.kubernetes import PATHS
from aegis.catalogue.signals import Signal
from aegis.contracts.incidents import IncidentReport
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import WorkloadRef
from aegis.contracts.verifications import Verification, VerificationRequest

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
CLUSTER = "c1"
SHOP = "shop"


def ref(name: str, kind: str = "Deployment", namespace: str = SHOP) -> WorkloadRef:
    return WorkloadRef(cluster_id=CLUSTER, namespace=namespace, kind=kind, name=name)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(name: str, *, created: datetime, uid: str = "", owner: Mapping[str, Any] | None = None, **more: Any) -> Any:
    return {
        "name": name,
        "namespace": SHOP,
        "uid": uid or f"uid-{name}",
        "creationTimestamp": stamp(created),
        "resourceVersion": "1",
        **({"ownerReferences": [{"controller": True, **owner}]} if owner else {}),
        **more,
    }


def template(*, memory: str = "128Mi", cpu: str = "500m", image: str = "web:1", env: Mapping[str, str] | None = None,
             labels: Mapping[str, str] | None = None, probes: Any = None) -> Any:  # fmt: skip
    container = {
        "name": "app",
        "image": image,
        "env": [{"name": name, "value": value} for name, value in (env or {}).items()],
        "resources": {"limits": {"memory": memory, "cpu": cpu}, "requests": {"memory": "32Mi", "cpu": "20m"}},
        "livenessProbe": probes,
    }
    return {"metadata": {"labels": dict(labels or {})}, "spec": {"containers": [container]}}


def as_listed(changes: Iterable[ObjectChange]) -> list[ObjectChange]:
    order = {resource: number for number, resource in enumerate(PATHS)}
    return sorted(changes, key=lambda one: order[one.resource])


def new_pipeline() -> Pipeline:
    return Pipeline(cluster_id=CLUSTER, metrics_interval=timedelta(seconds=15))


class World:
    """A cluster that a test changes by hand, a pipeline that watches it, and a clock that a test moves."""

    def __init__(self, *, metrics: bool = True) -> None:
        self.pipeline = new_pipeline()
        self.now = START
        self.reports: list[IncidentReport] = []
        self.proposals: list[Proposal] = []
        self.signals: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.has_metrics = metrics
        self.metrics_answer = True
        self.cluster_answers = True
        self._cluster_as_of = START
        self._deployments: dict[str, dict[str, Any]] = {}
        self._column_at = START
        self._serial = 0
        self._listing: list[ObjectChange] | None = None
        self._objects: dict[tuple[str, str], Mapping[str, Any]] = {}

    # -- objects

    def put(self, resource: str, object: Mapping[str, Any], *, deleted: bool = False) -> None:
        change = ObjectChange(resource, object, self.now, deleted)
        self._objects.pop((resource, object["metadata"]["name"]), None)
        if not deleted:
            self._objects[resource, object["metadata"]["name"]] = object
        if self._listing is not None:
            self._listing.append(change)
        else:
            self.pipeline.apply([change])

    @contextmanager
    def listed(self, *, newest_first: bool) -> Iterator[None]:
        """Let all that is put meanwhile be seen for the first time at once: it was there before us."""
        self._listing = changes = []
        yield
        self._listing = None
        self.pipeline.apply(as_listed(reversed(changes) if newest_first else changes))

    def relist(self) -> None:
        """Show all objects anew, as they are now."""
        changes = [ObjectChange(resource, one, self.now) for (resource, _), one in self._objects.items()]
        self.pipeline.apply(as_listed(changes))

    def restart(self, *forgotten: str) -> None:
        """Let a new process go on with what the old one had written down; all but what an older version kept not."""
        kept = {name: part for name, part in self.pipeline.to_plain().items() if name not in forgotten}
        incidents = [StoredIncident(one.key, to_bytes(one)) for one in self.pipeline.incidents.all()]
        self.pipeline = new_pipeline()
        self.pipeline.restore(orjson.loads(orjson.dumps(kept)))
        self.pipeline.adopt(incidents)
        self.relist()

    def deploy(self, name: str, *, replicas: int = 2, revision: int = 1, ready: bool = True, **spec: Any) -> str:
        """Put a Deployment with one revision's pods; return the revision's hash."""
        known = self._deployments.get(name)
        created = known["created"] if known else self.now
        labels = {"app": name}
        body = template(labels=labels, **spec)
        env = spec.get("env")
        self._deployments[name] = {
            "env": env,
            "created": created,
            "replicas": replicas,
            "body": body,
            "revision": revision,
        }
        self.put("deployments", self._deployment(name, ready=replicas if ready else 0))
        self.put("services", {"metadata": meta(name, created=created, uid=f"svc-{name}"), "spec": {"selector": labels}})
        self._replica_set(name, revision, replicas=replicas, ready=replicas if ready else 0)
        for number in range(replicas):
            self.pod(name, number, revision=revision, ready=ready)
        self.endpoints(name, replicas if ready else 0)
        return f"h{revision}"

    def _deployment(self, name: str, *, ready: int, conditions: Sequence[Any] = ()) -> Any:
        known = self._deployments[name]
        return {
            "metadata": meta(name, created=known["created"]),
            "spec": {
                "replicas": known["replicas"],
                "selector": {"matchLabels": {"app": name}},
                "template": known["body"],
            },
            "status": {"readyReplicas": ready, "conditions": list(conditions)},
        }

    def deployment_status(self, name: str, *, ready: int, conditions: Sequence[Any] = ()) -> None:
        self.put("deployments", self._deployment(name, ready=ready, conditions=conditions))

    def _replica_set(self, name: str, revision: int, *, replicas: int, ready: int, at: datetime | None = None) -> None:
        known = self._deployments[name]
        born = known.setdefault(f"born-{revision}", at or self.now)
        body = known.setdefault(f"body-{revision}", known["body"])
        metadata = meta(
            f"{name}-h{revision}", created=born,
            owner={"kind": "Deployment", "name": name, "uid": f"uid-{name}", "apiVersion": "apps/v1"},
            labels={"app": name, "pod-template-hash": f"h{revision}"},
            annotations={"deployment.kubernetes.io/revision": str(revision)},
        )  # fmt: skip
        self.put("replicasets", {
            "metadata": metadata,
            "spec": {"replicas": replicas, "template": body},
            "status": {"readyReplicas": ready},
        })  # fmt: skip

    def roll_out(self, name: str, revision: int, *, surge: int = 1, ready: bool = False, **spec: Any) -> None:
        """Begin a rollout: a new revision with its first pods beside those of the old."""
        known = self._deployments[name]
        spec = {"env": known["env"], **spec}
        known["body"] = template(labels={"app": name}, image=f"{name}:{revision}", **spec)
        known["revision"] = revision
        self.put("deployments", self._deployment(name, ready=known["replicas"]))
        self._replica_set(name, revision, replicas=surge, ready=surge if ready else 0)
        for number in range(surge):
            self.pod(name, number, revision=revision, ready=ready)

    def retire(self, name: str, revision: int, *, pods: int = 2) -> None:
        """Scale an old revision to nothing."""
        self._replica_set(name, revision, replicas=0, ready=0)
        for number in range(pods):
            self.remove_pod(name, number, revision=revision)

    def scale(self, name: str, revision: int, *, replicas: int) -> None:
        """Give a revision so many pods, all of them ready."""
        self._replica_set(name, revision, replicas=replicas, ready=replicas)

    def pod(self, name: str, number: int, *, revision: int = 1, ready: bool = True, node: str = "n1",
            restarts: int = 0, waiting: str = "", message: str = "", ended: Mapping[str, Any] | None = None,
            phase: str = "Running", conditions: Sequence[Any] = (), since: datetime | None = None,
            **more: Any) -> str:  # fmt: skip
        pod_name = f"{name}-h{revision}-{number}"
        state: dict[str, Any] = {"running": {"startedAt": stamp(self.now)}}
        if waiting:
            state = {"waiting": {"reason": waiting, "message": message}}
        ready_condition = {
            "type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp(since or self.now),
        }  # fmt: skip
        self.put("pods", {
            "metadata": meta(
                pod_name, created=since or self.now,
                owner={"kind": "ReplicaSet", "name": f"{name}-h{revision}", "uid": f"uid-{name}-h{revision}"},
                labels={"app": name, "pod-template-hash": f"h{revision}"}, **more,
            ),
            "spec": {"nodeName": node},
            "status": {
                "phase": phase,
                "conditions": [ready_condition, *conditions],
                "containerStatuses": [{
                    "name": "app", "restartCount": restarts, "ready": ready, "state": state,
                    "lastState": {"terminated": dict(ended)} if ended else {},
                }],
            },
        })  # fmt: skip
        return pod_name

    def remove_pod(self, name: str, number: int, *, revision: int = 1) -> None:
        pod_name = f"{name}-h{revision}-{number}"
        self.put("pods", {"metadata": meta(pod_name, created=self.now)}, deleted=True)

    def ended(self, reason: str = "Error", code: int = 1, *, lived: float = 3.0) -> Any:
        began = self.now - timedelta(seconds=lived)
        return {"reason": reason, "exitCode": code, "startedAt": stamp(began), "finishedAt": stamp(self.now)}

    def crash(self, name: str, number: int, *, revision: int = 1, times: int = 3, every: float = 20,
              reason: str = "Error", code: int = 1) -> None:  # fmt: skip
        """Let a pod's container end again and again, moving time on in between."""
        for count in range(1, times + 1):
            ended = self.ended(reason, code)
            self.pod(name, number, revision=revision, ready=False, restarts=count, ended=ended,
                     waiting="CrashLoopBackOff" if count > 1 else "")  # fmt: skip
            self.run(every)

    def endpoints(self, name: str, ready: int) -> None:
        targets = [
            {"targetRef": {"kind": "Pod", "name": f"{name}-h1-{n}"}, "conditions": {"ready": True}}
            for n in range(ready)
        ]
        metadata = meta(f"{name}-x", created=self.now, labels={"kubernetes.io/service-name": name})
        self.put("endpointslices", {"metadata": metadata, "endpoints": targets})

    def evicted(self, name: str, number: int, *, at: datetime, told_by: str = "condition", revision: int = 1) -> None:
        """Put a pod that was evicted then, and was born a day before that."""
        born = at - timedelta(days=1)
        ended = {"reason": "Error", "exitCode": 137, "startedAt": stamp(born), "finishedAt": stamp(at)}
        condition = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(at)}
        self.put("pods", {
            "metadata": meta(
                f"{name}-h{revision}-{number}", created=born,
                owner={"kind": "ReplicaSet", "name": f"{name}-h{revision}", "uid": f"uid-{name}-h{revision}"},
                labels={"app": name, "pod-template-hash": f"h{revision}"},
            ),
            "spec": {"nodeName": "n1"},
            "status": {
                "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
                "conditions": [condition] if told_by == "condition" else [],
                "containerStatuses": [{"name": "app", "restartCount": 0, "state": {"terminated": ended}}]
                if told_by == "container" else [],
            },
        })  # fmt: skip

    def event(self, about: str, reason: str, message: str = "", *, first: datetime | None = None,
              last: datetime | None = None) -> None:  # fmt: skip
        self._serial += 1
        self.put("events", {
            "metadata": meta(f"event-{self._serial}", created=self.now),
            "involvedObject": {"kind": "Pod", "name": about, "uid": f"uid-{about}", "namespace": SHOP},
            "reason": reason, "message": message, "type": "Warning",
            "firstTimestamp": stamp(first or self.now), "lastTimestamp": stamp(last or self.now), "count": 1,
        })  # fmt: skip

    def node(self, name: str, *, ready: bool = True) -> None:
        condition = {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": stamp(self.now)}
        metadata = {"name": name, "uid": f"uid-{name}", "creationTimestamp": stamp(START)}
        self.put("nodes", {"metadata": metadata, "spec": {}, "status": {"conditions": [condition]}})

    # -- signals

    def show(self, signal: Signal, name: str, value: float | None, *, kind: str = "Deployment", **labels: str) -> None:
        """Let a signal have this value from now on; None means no data."""
        key = (signal.metric, labels_of({"namespace": SHOP, "kind": kind, "workload": name, **labels}))
        if value is None:
            self.signals.pop(key, None)
        else:
            self.signals[key] = value

    # -- time

    def run(self, seconds: float) -> None:
        """Let time pass: a step every five seconds, a column of signals every fifteen."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(self.now + timedelta(seconds=5), end)
            if self.metrics_answer and self.has_metrics and self.now >= self._column_at:
                self._column_at = self.now + timedelta(seconds=15)
                at = self.now.timestamp()
                self.pipeline.take(
                    [Sample(metric, labels, v, at) for (metric, labels), v in self.signals.items()], self.now
                )
            if self.cluster_answers:
                self._cluster_as_of = self.now
            self.keep(self.pipeline.conclude(self.now, self.freshness))

    def keep(self, conclusions: Conclusions) -> None:
        self.reports += conclusions.reports
        self.proposals += conclusions.proposals

    @property
    def freshness(self) -> Freshness:
        return Freshness(
            self._cluster_as_of, self.pipeline.metrics_as_of, has_metrics=self.has_metrics,
            stale_after=timedelta(seconds=45), cluster_stale_after=timedelta(seconds=45),
        )  # fmt: skip

    # -- what came of it

    @property
    def last(self) -> IncidentReport:
        return self.reports[-1]

    @property
    def cause(self) -> str:
        assert self.last.diagnosis is not None
        return self.last.diagnosis.probable.cause

    @property
    def subject(self) -> str:
        assert self.last.diagnosis is not None
        return str(self.last.diagnosis.probable.subject)

    @property
    def reasons(self) -> set[str]:
        return {getattr(one, "reason", "") or getattr(one, "signal", "") for one in self.last.findings}

    def verify(
        self, name: str, *signals: Signal, acted_at: datetime, purpose: str = "recovery", key: str = ""
    ) -> Verification:
        request = VerificationRequest(
            purpose=purpose,  # type: ignore[arg-type]
            remediation_id="rem-1",
            order_id="ord-1",
            incident_key=key or (self.reports[0].key if self.reports else "inc-none"),
            workload=ref(name),
            signals=tuple(one.name for one in signals),
            acted_at=acted_at,
            settle_until=acted_at + timedelta(minutes=2),
        )
        return self.pipeline.verify(request, self.now, self.freshness)

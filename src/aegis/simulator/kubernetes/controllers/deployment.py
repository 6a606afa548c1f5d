"""Deployments: which ReplicaSet should have how many pods, and how far the rollout is."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from aegis.kit.selectors import selects
from aegis.simulator.kubernetes.controllers.cluster import (
    Cluster,
    is_active,
    owner_reference,
    template_hash,
)
from aegis.simulator.kubernetes.controllers.conditions import (
    condition_of,
    with_updated_condition,
    without,
)
from aegis.simulator.kubernetes.controllers.quantities import share_of
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import (
    Object,
    controller_of,
    copy_of,
    dig,
    is_terminating,
    labels_of,
    moment,
)
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, PODS, REPLICASETS

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
_COMPONENT = "deployment-controller"


class DeploymentController:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen = -1
        self._deadline: datetime | None = None

    def step(self, now: datetime) -> None:
        version = self._cluster.version_of(DEPLOYMENTS, REPLICASETS, PODS)
        if version == self._seen and (self._deadline is None or now < self._deadline):
            return
        self._seen, self._deadline = version, None
        for deployment in self._cluster.all(DEPLOYMENTS):
            self._cluster.attempt(self._reconcile, deployment, now)

    def _reconcile(self, deployment: Object, now: datetime) -> None:
        sets = self._sets_of(deployment)
        new = find_new(deployment, sets)
        self._note_pause(deployment, now)
        if is_terminating(deployment):
            self._write_status(deployment, sets, new, now)
        elif dig(deployment, "spec", "paused") or _was_rescaled(deployment, sets):
            self._scale(deployment, sets, new)
            self._write_status(deployment, self._fresh(sets), new, now)
        else:
            self._roll(deployment, sets, new, now)

    def _roll(self, deployment: Object, sets: list[Object], new: Object | None, now: datetime) -> None:
        recreate = dig(deployment, "spec", "strategy", "type") == "Recreate"
        if recreate and self._old_pods_remain(deployment, sets, new):
            self._write_status(deployment, self._fresh(sets), new, now)
            return
        new = self._new_set(deployment, sets, new, now)
        if new is None:
            return
        sets = [*self._fresh([each for each in sets if not _same(each, new)]), new]
        if recreate:
            self._resize(deployment, new, _replicas(deployment))
        elif not self._resize(deployment, new, new_set_size(deployment, sets, new)):
            for old, size in old_set_sizes(deployment, sets, new):
                self._resize(deployment, old, size)
        sets = self._fresh(sets)
        status = self._write_status(deployment, sets, new, now)
        if _is_complete(deployment, status):
            self._forget_history(deployment, [each for each in sets if not _same(each, new)])

    def _sets_of(self, deployment: Object) -> list[Object]:
        for orphan in self._cluster.all(REPLICASETS):
            if controller_of(orphan) is None and _may_adopt(deployment, orphan):
                self._cluster.adopt(REPLICASETS, orphan, owner_reference(deployment, DEPLOYMENTS))
        owned = [each for each in self._cluster.owned_by(deployment) if each["kind"] == "ReplicaSet"]
        return sorted(owned, key=lambda each: (each["metadata"]["creationTimestamp"], revision_of(each)))

    def _fresh(self, sets: Sequence[Object]) -> list[Object]:
        found = (
            self._cluster.store.find(REPLICASETS, each["metadata"]["namespace"], each["metadata"]["name"])
            for each in sets
        )
        return [each for each in found if each is not None]

    def _old_pods_remain(self, deployment: Object, sets: list[Object], new: Object | None) -> bool:
        olds = [each for each in sets if new is None or not _same(each, new)]
        for old in olds:
            self._resize(deployment, old, 0)
        return any(self._cluster.owned_by(old) for old in olds)

    def _new_set(self, deployment: Object, sets: list[Object], new: Object | None, now: datetime) -> Object | None:
        """Find or make the ReplicaSet of today's template, at the newest revision."""
        older = [revision_of(each) for each in sets if new is None or not _same(each, new)]
        revision = str(max(older, default=0) + 1)
        if new is None:
            new = self._create_set(deployment, sets, revision, now)
        elif revision_of(new) < int(revision):
            new = self._cluster.change(REPLICASETS, new, lambda it: _renumber(it, revision))
            message = f'Found new replica set "{new["metadata"]["name"]}"'
            if condition_of(dig(deployment, "status", "conditions", default=[]), "Progressing") is None:
                self._progress(deployment, "FoundNewReplicaSet", message, now)
        if new is not None and dig(deployment, "metadata", "annotations", REVISION) != dig(
            new, "metadata", "annotations", REVISION
        ):
            found = str(revision_of(new))
            self._cluster.change(DEPLOYMENTS, deployment, lambda it: _annotate(it, {REVISION: found}))
        return new

    def _create_set(self, deployment: Object, sets: list[Object], revision: str, now: datetime) -> Object | None:
        fresh = _set_from(deployment, revision)
        fresh["spec"]["replicas"] = new_set_size(deployment, [*sets, fresh], fresh)
        try:
            created = self._cluster.store.create(REPLICASETS, fresh)
        except ApiError as refused:
            self._progress(deployment, "ReplicaSetCreateError", str(refused), now, status="False")
            return None
        name, size = created["metadata"]["name"], created["spec"]["replicas"]
        if size:
            self._event(deployment, f"Scaled up replica set {name} from 0 to {size}")
        self._progress(deployment, "NewReplicaSetCreated", f'Created new replica set "{name}"', now)
        return created

    def _progress(self, deployment: Object, reason: str, message: str, now: datetime, *, status: str = "True") -> None:
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        current = self._cluster.store.get(DEPLOYMENTS, namespace, name).get("status") or {}
        conditions = with_updated_condition(
            current.get("conditions") or [], "Progressing", status, now=now, reason=reason, message=message
        )
        self._cluster.write_status(DEPLOYMENTS, deployment, {**current, "conditions": conditions})

    def _note_pause(self, deployment: Object, now: datetime) -> None:
        """Say in the condition of progress that there is none to expect, or that there is again."""
        said = condition_of(dig(deployment, "status", "conditions", default=[]), "Progressing") or {}
        is_paused, was_paused = bool(dig(deployment, "spec", "paused")), said.get("reason") == "DeploymentPaused"
        if is_terminating(deployment) or said.get("reason") == "ProgressDeadlineExceeded" or is_paused == was_paused:
            return
        how = "paused" if is_paused else "resumed"
        self._progress(deployment, f"Deployment{how.capitalize()}", f"Deployment is {how}", now, status="Unknown")

    def _scale(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        for each, size in rescaled_sizes(deployment, sets, new):
            self._resize(deployment, each, size)

    def _resize(self, deployment: Object, replicaset: Object, size: int) -> bool:
        """Give a ReplicaSet its size; tell whether that changed anything about its pods."""
        old, wanted = replicaset["spec"].get("replicas", 0), _replicas(deployment)
        notes = {DESIRED: str(wanted), MAXIMUM: str(wanted + _max_surge(deployment))}
        annotations = dig(replicaset, "metadata", "annotations", default={})
        if old == size and (size == 0 or all(annotations.get(key) == notes[key] for key in notes)):
            return False

        def edit(it: Object) -> None:
            it["spec"]["replicas"] = size
            _annotate(it, notes)

        self._cluster.change(REPLICASETS, replicaset, edit)
        if old != size:
            way = "up" if size > old else "down"
            name = replicaset["metadata"]["name"]
            self._event(deployment, f"Scaled {way} replica set {name} from {old} to {size}")
        return bool(old != size)

    def _event(self, deployment: Object, message: str) -> None:
        self._cluster.event(deployment, "Normal", "ScalingReplicaSet", message, _COMPONENT)

    def _write_status(self, deployment: Object, sets: list[Object], new: Object | None, now: datetime) -> Object:
        meta = deployment["metadata"]
        current = self._cluster.store.get(DEPLOYMENTS, meta["namespace"], meta["name"])
        status = self._status(current, sets, new, now)
        self._cluster.write_status(DEPLOYMENTS, deployment, status)
        return status

    def _status(self, deployment: Object, sets: list[Object], new: Object | None, now: datetime) -> Object:
        counts = _counts(sets, new)
        ending = sum(
            not is_active(pod) and is_terminating(pod) for each in sets for pod in self._cluster.owned_by(each)
        )
        status: Object = {
            "observedGeneration": dig(deployment, "metadata", "generation", default=1),
            **{key: value for key, value in counts.items() if value},
            "terminatingReplicas": ending,
        }
        old = deployment.get("status") or {}
        conditions = _with_availability(deployment, counts, old.get("conditions") or [], now)
        conditions = self._with_progress(deployment, counts, conditions, new, now)
        status["conditions"] = _with_failure(conditions, sets, new, now)
        return status

    def _with_progress(
        self,
        deployment: Object,
        counts: dict[str, int],
        conditions: list[Object],
        new: Object | None,
        now: datetime,
    ) -> list[Object]:
        deadline_s = dig(deployment, "spec", "progressDeadlineSeconds", default=600)
        now_is = condition_of(conditions, "Progressing")
        done = counts["replicas"] == counts["updatedReplicas"] and now_is is not None
        if deadline_s >= 2**31 - 1 or (done and now_is and now_is.get("reason") == "NewReplicaSetAvailable"):
            return conditions
        name = new["metadata"]["name"] if new else deployment["metadata"]["name"]
        kind = "ReplicaSet" if new else "Deployment"
        if _is_complete(deployment, counts):
            message = f'{kind} "{name}" has successfully progressed.'
            return _progressing(conditions, "True", "NewReplicaSetAvailable", message, now)
        if _moved(deployment.get("status") or {}, counts):
            message = f'{kind} "{name}" is progressing.'
            return _progressing(conditions, "True", "ReplicaSetUpdated", message, now, renew=True)
        if now_is is None or now_is.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return conditions
        late_at = moment(now_is["lastUpdateTime"]) + timedelta(seconds=deadline_s)
        if now > late_at and not dig(deployment, "spec", "paused"):
            message = f'{kind} "{name}" has timed out progressing.'
            return _progressing(conditions, "False", "ProgressDeadlineExceeded", message, now)
        wake = max(late_at, now) + timedelta(seconds=0.5)
        self._deadline = min(self._deadline or wake, wake)
        return conditions

    def _forget_history(self, deployment: Object, olds: list[Object]) -> None:
        limit = dig(deployment, "spec", "revisionHistoryLimit", default=10)
        idle = [each for each in olds if not each["spec"].get("replicas") and not dig(each, "status", "replicas")]
        for each in sorted(idle, key=revision_of)[: max(0, len(olds) - limit)]:
            self._cluster.store.delete(
                REPLICASETS, each["metadata"]["namespace"], each["metadata"]["name"], uid=each["metadata"]["uid"]
            )


def find_new(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """Find the oldest ReplicaSet whose template is the deployment's, but for the hash label."""
    wanted = _bare(deployment["spec"]["template"])
    return next((each for each in sets if _bare(each["spec"]["template"]) == wanted), None)


def new_set_size(deployment: Object, sets: Sequence[Object], new: Object) -> int:
    """Say how many pods the new ReplicaSet may have now, within maxSurge."""
    size, wanted = int(new["spec"].get("replicas", 0)), _replicas(deployment)
    if dig(deployment, "spec", "strategy", "type") == "Recreate" or size >= wanted:
        return wanted
    room = wanted + _max_surge(deployment) - sum(int(each["spec"].get("replicas", 0)) for each in sets)
    return size + min(max(0, room), wanted - size)


def old_set_sizes(deployment: Object, sets: Sequence[Object], new: Object) -> list[tuple[Object, int]]:
    """Say how far the old ReplicaSets may shrink now: sick pods first, within maxUnavailable."""
    olds = [each for each in sets if not _same(each, new) and each["spec"].get("replicas", 0)]
    least = _replicas(deployment) - max_unavailable(deployment)
    total = sum(each["spec"].get("replicas", 0) for each in olds) + new["spec"].get("replicas", 0)
    starting = new["spec"].get("replicas", 0) - dig(new, "status", "availableReplicas", default=0)
    budget = total - least - starting
    if budget <= 0:
        return []
    sizes = {each["metadata"]["name"]: int(each["spec"]["replicas"]) for each in olds}
    for old in olds:
        name = old["metadata"]["name"]
        sick = min(budget, max(0, sizes[name] - dig(old, "status", "availableReplicas", default=0)))
        sizes[name], budget = sizes[name] - sick, budget - sick
    spare = sum(dig(each, "status", "availableReplicas", default=0) for each in sets) - least
    for old in olds:
        name = old["metadata"]["name"]
        fewer = min(sizes[name], max(0, spare))
        sizes[name], spare = sizes[name] - fewer, spare - fewer
    return [(old, sizes[old["metadata"]["name"]]) for old in olds]


def rescaled_sizes(deployment: Object, sets: list[Object], new: Object | None) -> list[tuple[Object, int]]:
    """Share a new number of replicas among the ReplicaSets of a rollout in proportion to their sizes."""
    wanted = _replicas(deployment)
    active = [each for each in sets if each["spec"].get("replicas", 0)]
    latest = active or ([new] if new else sets[-1:])
    if len(latest) <= 1:
        return [(each, wanted) for each in latest]
    if new and new["spec"]["replicas"] == wanted and dig(new, "status", "availableReplicas", default=0) == wanted:
        return [(each, 0) for each in active if not _same(each, new)] + [(new, wanted)]
    if dig(deployment, "spec", "strategy", "type") == "Recreate":
        return []
    total = sum(each["spec"]["replicas"] for each in active)
    allowed = wanted + _max_surge(deployment) if wanted else 0
    by_size = sorted(active, key=lambda each: (-each["spec"]["replicas"], each["metadata"]["name"]))
    sizes = [round(each["spec"]["replicas"] * allowed / total) for each in by_size]
    sizes[0] = max(0, sizes[0] + allowed - sum(sizes))
    return list(zip(by_size, sizes, strict=True))


def max_unavailable(deployment: Object) -> int:
    if dig(deployment, "spec", "strategy", "type") == "Recreate":
        return 0
    replicas = _replicas(deployment)
    rolling = dig(deployment, "spec", "strategy", "rollingUpdate", default={})
    most = share_of(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if most == 0 and share_of(rolling.get("maxSurge", "25%"), replicas, round_up=True) == 0:
        return 1  # one of both must move, or nothing ever would
    return min(most, replicas)


def revision_of(obj: Object) -> int:
    return int(dig(obj, "metadata", "annotations", REVISION, default="0"))


def _max_surge(deployment: Object) -> int:
    if dig(deployment, "spec", "strategy", "type") == "Recreate":
        return 0
    surge = dig(deployment, "spec", "strategy", "rollingUpdate", "maxSurge", default="25%")
    return share_of(surge, _replicas(deployment), round_up=True)


def _replicas(deployment: Object) -> int:
    return int(dig(deployment, "spec", "replicas", default=1))


def _same(one: Object, other: Object) -> bool:
    return bool(one["metadata"]["name"] == other["metadata"]["name"])


def _bare(template: Object) -> Object:
    labels = {key: value for key, value in labels_of(template).items() if key != HASH}
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value is not None}
    return {**template, "metadata": {**meta, "labels": labels}}


def _annotate(obj: Object, notes: dict[str, str]) -> None:
    obj["metadata"]["annotations"] = {**(obj["metadata"].get("annotations") or {}), **notes}


def _renumber(replicaset: Object, revision: str) -> None:
    """Make an old revision the newest one, remembering what it was called before."""
    annotations = replicaset["metadata"]["annotations"]
    before = [each for each in (annotations.get(REVISION_HISTORY), annotations.get(REVISION)) if each]
    _annotate(replicaset, {REVISION: revision, REVISION_HISTORY: ",".join(before)})


def _may_adopt(deployment: Object, orphan: Object) -> bool:
    same_namespace = orphan["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    return (
        same_namespace
        and not is_terminating(deployment)
        and not is_terminating(orphan)
        and selects(deployment["spec"]["selector"], labels_of(orphan))
    )


def _was_rescaled(deployment: Object, sets: Sequence[Object]) -> bool:
    wanted = str(_replicas(deployment))
    active = [each for each in sets if each["spec"].get("replicas", 0)]
    return any(dig(each, "metadata", "annotations", DESIRED, default=wanted) != wanted for each in active)


def _set_from(deployment: Object, revision: str) -> Object:
    template = copy_of(deployment["spec"]["template"])
    marked = template_hash(template)
    template["metadata"] = {
        **(template.get("metadata") or {}),
        "labels": {**labels_of(template), HASH: marked},
    }
    selector = copy_of(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: marked}
    wanted = _replicas(deployment)
    spec: Object = {"replicas": 0, "selector": selector, "template": template}
    if min_ready := dig(deployment, "spec", "minReadySeconds"):
        spec["minReadySeconds"] = min_ready
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{marked}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {
                DESIRED: str(wanted),
                MAXIMUM: str(wanted + _max_surge(deployment)),
                REVISION: revision,
            },
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS)],
        },
        "spec": spec,
    }


def _counts(sets: Sequence[Object], new: Object | None) -> dict[str, int]:
    def total(field: str) -> int:
        return sum(dig(each, "status", field, default=0) for each in sets)

    updated = next((each for each in sets if new and _same(each, new)), None)
    intended = sum(each["spec"].get("replicas", 0) for each in sets)
    return {
        "replicas": total("replicas"),
        "updatedReplicas": dig(updated, "status", "replicas", default=0),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": total("availableReplicas"),
        "unavailableReplicas": max(0, intended - total("availableReplicas")),
    }


def _is_complete(deployment: Object, counts: Object) -> bool:
    wanted = _replicas(deployment)
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    return all(bool(counts.get(field, 0) == wanted) for field in fields)


def _moved(old: Object, counts: dict[str, int]) -> bool:
    """Tell whether the rollout got any further since the status was last written."""
    olds_before = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    return bool(
        counts["updatedReplicas"] > old.get("updatedReplicas", 0)
        or counts["replicas"] - counts["updatedReplicas"] < olds_before
        or counts["readyReplicas"] > old.get("readyReplicas", 0)
        or counts["availableReplicas"] > old.get("availableReplicas", 0)
    )


def _progressing(
    conditions: list[Object], status: str, reason: str, message: str, now: datetime, *, renew: bool = False
) -> list[Object]:
    old = condition_of(conditions, "Progressing")
    if renew and old is not None:
        # Progress moves the time of the last update even when nothing else about the condition changes.
        conditions = [{**each, "message": ""} if each is old else each for each in conditions]
    return with_updated_condition(conditions, "Progressing", status, now=now, reason=reason, message=message)


def _with_availability(
    deployment: Object, counts: dict[str, int], conditions: list[Object], now: datetime
) -> list[Object]:
    enough = counts["availableReplicas"] >= _replicas(deployment) - max_unavailable(deployment)
    verdict = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    if not enough:
        verdict = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    status, reason, message = verdict
    return with_updated_condition(conditions, "Available", status, now=now, reason=reason, message=message)


def _with_failure(conditions: list[Object], sets: Sequence[Object], new: Object | None, now: datetime) -> list[Object]:
    ordered = sorted(sets, key=lambda each: new is None or not _same(each, new))
    for each in ordered:
        failure = condition_of(dig(each, "status", "conditions", default=[]), "ReplicaFailure")
        if failure:
            return with_updated_condition(
                conditions,
                "ReplicaFailure",
                failure["status"],
                now=now,
                reason=failure["reason"],
                message=failure["message"],
            )
    return without(conditions, "ReplicaFailure")

"""Carries out the steps of `faults.py`: with kubectl's writes where a person would, below the cluster else."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import orjson

from aegis.kit.clock import Clock
from aegis.kit.errors import ConflictError, InvalidError, NotFoundError
from aegis.simulator.kubernetes import writing
from aegis.simulator.kubernetes.controllers.deployment import HASH, revision_of
from aegis.simulator.kubernetes.discovery import offers
from aegis.simulator.kubernetes.objects import Object, copy_of, dig, timestamp
from aegis.simulator.kubernetes.requests import Request, Target
from aegis.simulator.kubernetes.resources import (
    CONFIGMAPS,
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    REPLICASETS,
    RESOURCEQUOTAS,
    SERVICES,
    STATEFULSETS,
    Resource,
    resource_for,
)
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import ADMIN
from aegis.simulator.kubernetes.versions import stored_as
from aegis.simulator.world import faults
from aegis.simulator.world.network import ServiceKey, resource_of
from aegis.simulator.world.physics import Physics
from aegis.simulator.world.processes import Workload
from aegis.simulator.world.programs import Registry
from aegis.simulator.world.traffic import Surge, Traffic

_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_MANAGER = "kubectl"
_WORKLOADS = (DEPLOYMENTS, STATEFULSETS)


@dataclass(frozen=True)
class Person:
    """Somebody with kubectl, a finger on the traffic, and access to the machine room."""

    store: Store
    registry: Registry
    physics: Physics
    clock: Clock
    roles: dict[str, list[Workload]]

    def do(self, step: faults.Step) -> str:
        """Let one step happen; return what was done, in words."""
        return _do(step, self)

    def find(self, target: str) -> Workload:
        """Find a workload by `namespace/name` or by its part, e.g. `@store`.

        Raises:
            NotFoundError: there is none.
        """
        if target.startswith("@"):
            return self._of_role(target[1:])
        namespace, _, name = target.partition("/")
        for resource in _WORKLOADS:
            if self.store.find(resource, namespace, name) is not None:
                return Workload(namespace, resource.kind, name)
        raise NotFoundError(
            f"there is no Deployment or StatefulSet {target}",
            hint="Name it as `namespace/name`, or its part as `@entry`.",
        )

    def _of_role(self, role: str) -> Workload:
        instead = {"middle": "client", "client": "entry"}.get(role, role)
        found = self.roles.get(role) or self.roles.get(instead)
        if found:
            return found[0]
        parts = ", ".join(f"@{each}" for each in sorted(self.roles))
        raise NotFoundError(f"this world has no workload that plays @{role}", hint=f"its parts are {parts}")


@singledispatch
def _do(step: Any, _hand: Person) -> str:
    raise ConflictError(f"nobody knows how to do {step!r}", hint="`aegis.simulator.world.faults` has every step.")


# Writes to a pod template


@_do.register
def _deploy(step: faults.Deploy, hand: Person) -> str:
    workload = hand.find(step.target)
    present = _container(_get(hand, workload))["image"]
    image = f"{present.rpartition(':')[0]}:{step.tag}"
    hand.registry.push(image, hand.registry.program(present).changed(step.behaviour))
    return _write_image(hand, workload, image)


@_do.register
def _set_image(step: faults.SetImage, hand: Person) -> str:
    return _write_image(hand, hand.find(step.target), step.image)


@_do.register
def _set_env(step: faults.SetEnv, hand: Person) -> str:
    def edit(obj: Object) -> None:
        container = _container(obj)
        kept = [each for each in container.get("env") or [] if each["name"] not in step.env]
        container["env"] = [*kept, *({"name": key, "value": value} for key, value in step.env.items())]

    return _edit(hand, hand.find(step.target), edit, f"environment {', '.join(sorted(step.env))}")


@_do.register
def _set_resources(step: faults.SetResources, hand: Person) -> str:
    def edit(obj: Object) -> None:
        resources = _container(obj).setdefault("resources", {})
        for kind, given in (("limits", step.limits), ("requests", step.requests)):
            resources[kind] = {**(resources.get(kind) or {}), **given}

    return _edit(hand, hand.find(step.target), edit, f"limits {step.limits}, requests {step.requests}")


@_do.register
def _mount(step: faults.Mount, hand: Person) -> str:
    def edit(obj: Object) -> None:
        spec = obj["spec"]["template"]["spec"]
        volume = {"name": step.config_map, "configMap": {"name": step.config_map}}
        spec["volumes"] = [*(spec.get("volumes") or []), volume]
        mount = {"name": step.config_map, "mountPath": f"/etc/{step.config_map}"}
        container = _container(obj)
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]

    return _edit(hand, hand.find(step.target), edit, f"volume {step.config_map}")


@_do.register
def _require_key(step: faults.RequireKey, hand: Person) -> str:
    def edit(obj: Object) -> None:
        reference = {"configMapKeyRef": {"name": step.config_map, "key": step.key}}
        container = _container(obj)
        variable = {"name": step.key.upper().replace("-", "_"), "valueFrom": reference}
        container["env"] = [*(container.get("env") or []), variable]

    return _edit(hand, hand.find(step.target), edit, f"key {step.key} of ConfigMap {step.config_map}")


@_do.register
def _scale(step: faults.Scale, hand: Person) -> str:
    def edit(obj: Object) -> None:
        obj["spec"]["replicas"] = step.replicas

    return _edit(hand, hand.find(step.target), edit, f"{step.replicas} replicas")


@_do.register
def _restart(step: faults.Restart, hand: Person) -> str:
    at = timestamp(hand.clock.now())

    def edit(obj: Object) -> None:
        meta = obj["spec"]["template"].setdefault("metadata", {})
        meta["annotations"] = {**(meta.get("annotations") or {}), _RESTARTED_AT: at}

    return _edit(hand, hand.find(step.target), edit, "restarted")


@_do.register
def _undo(step: faults.Undo, hand: Person) -> str:
    workload = hand.find(step.target)
    template = _previous_template(hand, workload)

    def edit(obj: Object) -> None:
        obj["spec"]["template"] = template

    return _edit(hand, workload, edit, "rolled back")


def _previous_template(hand: Person, workload: Workload) -> Object:
    present = _get(hand, workload)
    uid = present["metadata"]["uid"]
    if workload.kind == "StatefulSet":
        found = sorted(hand.store.dependents(uid, CONTROLLERREVISIONS), key=lambda each: each["revision"])
        templates = [each["data"]["spec"]["template"] for each in found]
    else:
        found = sorted(hand.store.dependents(uid, REPLICASETS), key=revision_of)
        templates = [each["spec"]["template"] for each in found]
    if len(templates) < 2:
        raise ConflictError(
            f"{workload} has no earlier revision to go back to", hint="Roll out another before this step."
        )
    template = copy_of(templates[-2])
    template.pop("$patch", None)
    dig(template, "metadata", "labels", default={}).pop(HASH, None)
    return template


# Other writes


@_do.register
def _label(step: faults.Label, hand: Person) -> str:
    if step.target is not None:
        workload = hand.find(step.target)
        resource, namespace, name = resource_of(workload.kind), workload.namespace, workload.name
    elif step.namespace is not None:
        resource, namespace, name = NAMESPACES, "", step.namespace
    else:
        raise NotFoundError(
            "a label needs a target or a namespace to sit on", hint="Give the step a `target` or a `namespace`."
        )
    changed = copy_of(hand.store.get(resource, namespace, name))
    for field, given in (("labels", step.labels), ("annotations", step.annotations)):
        merged = {**(changed["metadata"].get(field) or {}), **given}
        changed["metadata"][field] = {key: value for key, value in merged.items() if value is not None}
    hand.store.update(resource, changed, manager=_MANAGER)
    return f"{resource.kind} {name}: labels {step.labels}, annotations {step.annotations}"


@_do.register
def _apply(step: faults.Apply, hand: Person) -> str:
    """Send it to the API server, as `kubectl apply` does: it is checked, and its status is not ours to say."""
    manifest = step.manifest
    resource = _resource(str(manifest.get("kind")), str(manifest.get("apiVersion", "v1")))
    if resource.kind == EVENTS.kind:
        raise InvalidError(
            "an Event is what the cluster tells of itself, not a person", field="manifest.kind", value=resource.kind,
            hint="Let happen what it would tell of: `aegis.simulator.world.faults` has every step.",
        )  # fmt: skip
    meta = manifest.get("metadata") or {}
    namespace, name = meta.get("namespace", "default") if resource.namespaced else "", meta.get("name", "")
    is_new = hand.store.find(stored_as(resource), namespace or None, name) is None
    offer = offers()[resource.group, resource.version, resource.plural]
    target = Target(offer, namespace, "" if is_new else name)
    if is_new:
        writing.create(hand.store, _write("POST", target, manifest), target)
        return f"{resource.kind} {name} created"
    writing.update(hand.store, _write("PUT", target, manifest), target)
    return f"{resource.kind} {name} configured"


@_do.register
def _delete(step: faults.Delete, hand: Person) -> str:
    hand.store.delete(_resource(step.kind, step.api_version), step.namespace, step.name)
    return f"{step.kind} {step.name} deleted"


@_do.register
def _set_config(step: faults.SetConfig, hand: Person) -> str:
    present = hand.store.find(CONFIGMAPS, step.namespace, step.name)
    merged = {**dig(present, "data", default={}), **step.data}
    data = {key: value for key, value in merged.items() if value is not None}
    meta = {"name": step.name, "namespace": step.namespace}
    if present is None:
        hand.store.create(CONFIGMAPS, {"metadata": meta, "data": data}, manager=_MANAGER)
    else:
        hand.store.update(CONFIGMAPS, {**copy_of(present), "data": data}, manager=_MANAGER)
    return f"ConfigMap {step.namespace}/{step.name}: {', '.join(sorted(step.data))}"


@_do.register
def _set_selector(step: faults.SetSelector, hand: Person) -> str:
    namespace, name = _service(hand, step.service).split("/")
    changed = copy_of(hand.store.get(SERVICES, namespace, name))
    changed["spec"]["selector"] = dict(step.selector)
    hand.store.update(SERVICES, changed, manager=_MANAGER)
    return f"Service {namespace}/{name}: selector {step.selector}"


@_do.register
def _set_quota(step: faults.SetQuota, hand: Person) -> str:
    quota = {"metadata": {"name": "team", "namespace": step.namespace}, "spec": {"hard": dict(step.hard)}}
    if hand.store.find(RESOURCEQUOTAS, step.namespace, "team") is None:
        hand.store.create(RESOURCEQUOTAS, quota, manager=_MANAGER)
    else:
        hand.store.update(RESOURCEQUOTAS, quota, manager=_MANAGER)
    return f"ResourceQuota {step.namespace}/team: {step.hard}"


@_do.register
def _cordon(step: faults.Cordon, hand: Person) -> str:
    node = copy_of(hand.store.get(NODES, None, step.node))
    node["spec"] = {**(node.get("spec") or {}), "unschedulable": step.unschedulable}
    hand.store.update(NODES, node, manager=_MANAGER)
    return f"Node {step.node}: unschedulable={step.unschedulable}"


# Traffic, behaviour and power


@_do.register
def _surge(step: faults.Surge, hand: Person) -> str:
    key = _service(hand, step.service)
    starts_s = hand.physics.seconds
    surge = Surge(step.factor, starts_s, starts_s + step.for_s, step.ramp_s)
    traffic = _traffic(hand, key)
    traffic.forget_before(starts_s)
    traffic.surges.append(surge)
    return f"traffic of {key} times {step.factor} for {step.for_s:.0f} s"


@_do.register
def _set_traffic(step: faults.SetTraffic, hand: Person) -> str:
    key = _service(hand, step.service)
    _traffic(hand, key).rps = step.rps
    return f"traffic of {key} is {step.rps} requests/s"


@_do.register
def _behave(step: faults.Behave, hand: Person) -> str:
    workload = hand.find(step.target)
    hand.physics.behave(workload, step.changes, survives_restart=step.survives_restart)
    return f"{workload} behaves otherwise: {step.changes}"


@_do.register
def _behave_normally(step: faults.BehaveNormally, hand: Person) -> str:
    workload = hand.find(step.target)
    hand.physics.behave_normally(workload)
    return f"{workload} is itself again"


@_do.register
def _crash(step: faults.Crash, hand: Person) -> str:
    workload = hand.find(step.target)
    hand.physics.crash(workload, step.exit_code)
    return f"the processes of {workload} ended with {step.exit_code}"


@_do.register
def _cut_power(step: faults.CutPower, hand: Person) -> str:
    hand.store.get(NODES, None, step.node)
    hand.physics.cut_power(step.node)
    return f"Node {step.node} has no power"


@_do.register
def _restore_power(step: faults.RestorePower, hand: Person) -> str:
    hand.physics.restore_power(step.node)
    return f"Node {step.node} has power"


# Helpers


def _get(hand: Person, workload: Workload) -> Object:
    return hand.store.get(resource_of(workload.kind), workload.namespace, workload.name)


def _container(obj: Object) -> Object:
    found: Object = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def _write_image(hand: Person, workload: Workload, image: str) -> str:
    def edit(obj: Object) -> None:
        _container(obj)["image"] = image

    return _edit(hand, workload, edit, f"image {image}")


def _edit(hand: Person, workload: Workload, edit: Callable[[Object], None], what: str) -> str:
    changed = copy_of(_get(hand, workload))
    edit(changed)
    hand.store.update(resource_of(workload.kind), changed, manager=_MANAGER)
    return f"{workload}: {what}"


def _write(method: str, target: Target, manifest: Object) -> Request:
    query = {"fieldManager": _MANAGER, "fieldValidation": "Strict"}
    return Request(method, "", query, {}, orjson.dumps(manifest), user=ADMIN, target=target)


def _resource(kind: str, api_version: str) -> Resource:
    try:
        return resource_for(kind, api_version)
    except KeyError as error:
        raise NotFoundError(
            f"there is no kind {kind} in {api_version}", hint="Check the manifest's `apiVersion` and `kind`."
        ) from error


def _service(hand: Person, target: str) -> ServiceKey:
    """Find a service; a part's service has the name of its workload."""
    if not target.startswith("@"):
        return target
    workload = hand.find(target)
    return f"{workload.namespace}/{workload.name}"


def _traffic(hand: Person, key: ServiceKey) -> Traffic:
    return hand.physics.traffic.setdefault(key, Traffic(rps=0.0))

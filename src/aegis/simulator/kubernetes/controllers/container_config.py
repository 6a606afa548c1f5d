"""What a container needs before it can be made: ConfigMaps and Secrets that exist, with their keys."""

from collections.abc import Iterator

from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.kubernetes.resources import CONFIGMAPS, PVCS, SECRETS, Resource
from aegis.simulator.kubernetes.store import Store


def missing_volume(store: Store, pod: Object) -> str | None:
    """Say which volume cannot be mounted, in the kubelet's words."""
    namespace = pod["metadata"]["namespace"]
    for volume in dig(pod, "spec", "volumes", default=[]):
        for resource, name, optional in _sources(volume):
            if not optional and store.find(resource, namespace, name) is None:
                what = resource.kind.lower()
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {what} "{name}" not found'
    return None


def _sources(volume: Object) -> Iterator[tuple[Resource, str, bool]]:
    if source := volume.get("configMap"):
        yield CONFIGMAPS, source["name"], bool(source.get("optional"))
    if source := volume.get("secret"):
        yield SECRETS, source["secretName"], bool(source.get("optional"))
    if source := volume.get("persistentVolumeClaim"):
        yield PVCS, source["claimName"], False


def missing_setting(store: Store, pod: Object, container: Object) -> str | None:
    """Say which ConfigMap, Secret or key the container's environment lacks, in the kubelet's words."""
    namespace = pod["metadata"]["namespace"]
    for each in container.get("envFrom") or []:
        for field, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
            source = each.get(field)
            if source and not source.get("optional") and store.find(resource, namespace, source["name"]) is None:
                return f'{resource.kind.lower()} "{source["name"]}" not found'
    for each in container.get("env") or []:
        for field, resource in (("configMapKeyRef", CONFIGMAPS), ("secretKeyRef", SECRETS)):
            source = dig(each, "valueFrom", field)
            why = _missing_key(store, namespace, resource, source) if source else None
            if why:
                return why
    return None


def _missing_key(store: Store, namespace: str, resource: Resource, source: Object) -> str | None:
    if source.get("optional"):
        return None
    name = source["name"]
    found = store.find(resource, namespace, name)
    if found is None:
        return f'{resource.kind.lower()} "{name}" not found'
    if source["key"] in (found.get("data") or {}) or source["key"] in (found.get("binaryData") or {}):
        return None
    return f"couldn't find key {source['key']} in {resource.kind} {namespace}/{name}"

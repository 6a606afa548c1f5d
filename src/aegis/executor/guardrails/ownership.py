"""Who owns a workload or one of its fields, as autoscalers, GitOps tools and operators leave it in the object. Pure."""

from collections.abc import Sequence

from aegis.executor.guardrails.facts import Object, controller_of

_ARGO_CD = "argocd.argoproj.io/"
_FLUX = ("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/")
_GIT_MANAGERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}


def git_owner(workload: Object) -> str | None:
    """Return the GitOps tool that a workload's labels, annotations or field managers name.

    >>> git_owner({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}})
    'Flux'
    """
    metadata = workload["metadata"]
    keys = [*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})]
    if any(key.startswith(_ARGO_CD) for key in keys):
        return "Argo CD"
    if any(key.startswith(prefix) for key in keys for prefix in _FLUX):
        return "Flux"
    managers = (entry.get("manager", "") for entry in metadata.get("managedFields") or [])
    return next((_GIT_MANAGERS[manager] for manager in managers if manager in _GIT_MANAGERS), None)


def autoscaler_of(workload: Object, autoscalers: Sequence[Object]) -> str | None:
    """Return the autoscaler (HPA, or KEDA behind one) that owns a workload's replicas."""
    for autoscaler in autoscalers:
        wanted = autoscaler["spec"]["scaleTargetRef"]
        if (wanted["kind"], wanted["name"]) == (workload["kind"], workload["metadata"]["name"]):
            keda = controller_of(autoscaler)
            if keda is not None and keda["kind"] == "ScaledObject":
                return f"KEDA ScaledObject {keda['name']}"
            return f"HorizontalPodAutoscaler {autoscaler['metadata']['name']}"
    return None


def unknown_controller(thing: Object, *, known: frozenset[str]) -> str | None:
    """Return the controller owner of an object if it is of a kind we do not know, as `Kind/name`."""
    owner = controller_of(thing)
    if owner is None or owner["kind"] in known:
        return None
    return f"{owner['kind']}/{owner['name']}"


def field_owner(workload: Object, autoscalers: Sequence[Object]) -> str:
    """Return who owns what an action may touch, in the one word that policies use; empty if nobody does."""
    tool = git_owner(workload)
    if tool is not None:
        return {"Argo CD": "argocd", "Flux": "flux"}[tool]
    autoscaler = autoscaler_of(workload, autoscalers)
    if autoscaler is not None:
        return "keda" if autoscaler.startswith("KEDA") else "hpa"
    return ""

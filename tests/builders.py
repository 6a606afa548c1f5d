"""Values for tests: every field has a default, so that a test names only what matters to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aegis.contracts.actions import Action, ActionKind, RollbackRollout
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.plans import Disturbance, Plan
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetFacts, TargetRef

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def target(name: str = "web", **changes: Any) -> TargetRef:
    given = {
        "cluster_id": "test", "api_version": "apps/v1", "kind": "Deployment", "namespace": "shop",
        "name": name, "uid": f"uid-{name}",
    }  # fmt: skip
    return TargetRef.model_validate(given | changes)


def proposal(action: Action | None = None, **changes: Any) -> Proposal:
    """Return a proposal; a target that is no pod owns itself."""
    asked = changes.get("target") or changes.get("owner") or target()
    given: dict[str, Any] = {
        "id": "pro-1", "incident_key": "inc-key", "target": asked,
        "owner": target() if asked.kind == "Pod" else asked,
        "action": action or RollbackRollout(), "cause": CauseKind.BAD_REVISION, "confidence": 0.9,
        "rationale": "it crashes", "proposed_by": "service:ai-engine", "proposed_at": NOW, "data_as_of": NOW,
    }  # fmt: skip
    return Proposal.model_validate(given | changes)


def plan(**changes: Any) -> Plan:
    given: dict[str, Any] = {
        "hash": "a" * 64, "order_id": "ord-1", "target": target(), "owner": target(),
        "action": ActionKind.ROLLBACK_ROLLOUT, "summary": "roll back", "requests": ("PATCH …",), "reversible": True,
        "on_unknown": "hold_and_page", "settle": timedelta(seconds=60), "deadline": timedelta(seconds=300),
        "disturbance": Disturbance(), "facts": TargetFacts(mode="auto"), "made_at": NOW,
    }  # fmt: skip
    return Plan.model_validate(given | changes)


def deployment(name: str = "web", *, replicas: int = 3, **metadata: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1, **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{"name": name, "image": "web:2", "resources": {"limits": {"memory": "100Mi"}}}]
                },
            },
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
        },
    }


def pod(name: str, *, ready: bool = True, template: str = "new", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": f"uid-{name}",
            "labels": {"app": "web", "pod-template-hash": template},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": f"web-{template}", "uid": f"rs-{template}", "controller": True}
            ],
            **metadata,
        },
        "spec": {"nodeName": "node1", "containers": [{"name": "web"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }  # fmt: skip


def replicaset(template: str, *, revision: int, image: str = "web:1", created: datetime = NOW) -> dict[str, Any]:
    labels = {"app": "web", "pod-template-hash": template}
    return {
        "metadata": {
            "name": f"web-{template}", "uid": f"rs-{template}", "labels": labels,
            "creationTimestamp": created.isoformat(),
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
        },
        "spec": {
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
        },
    }  # fmt: skip

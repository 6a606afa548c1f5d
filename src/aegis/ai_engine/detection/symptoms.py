"""Everything Kubernetes itself reports as bad, as findings."""

from datetime import datetime

from aegis.ai_engine.detection.found import Sighting
from aegis.ai_engine.detection.history import History
from aegis.ai_engine.detection.pod_symptoms import pod_sightings
from aegis.ai_engine.detection.workload_symptoms import workload_sightings
from aegis.ai_engine.sources.inventory import Inventory
from aegis.contracts.findings import Symptom


def symptoms(inventory: Inventory, history: History, now: datetime) -> list[Symptom]:
    """Return what holds now, each fingerprint once, with the number of pods or times it was seen."""
    found: dict[tuple[str, str, str | None], list[Sighting]] = {}
    for one in (*pod_sightings(inventory, history, now), *workload_sightings(inventory, history, now)):
        found.setdefault((str(one.workload), one.reason, one.revision), []).append(one)
    return [_together(same).as_symptom(now) for same in found.values()]


def _together(same: list[Sighting]) -> Sighting:
    """The same on several pods of a revision is one finding: the oldest speaks for all."""
    first = min(same, key=lambda one: (one.since, one.object_name))
    if len(same) == 1:
        return first
    count = sum(one.count for one in same)
    return Sighting(
        first.workload, first.reason, first.since, f"{first.summary} (and {len(same) - 1} more)", first.severity,
        first.object_kind, first.object_name, first.revision, count,
    )  # fmt: skip

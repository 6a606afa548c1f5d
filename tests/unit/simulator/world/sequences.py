"""Turns a stream of object versions, recorded or simulated, into facts: what changed for the first time when."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis.simulator.kubernetes.history import Change

Object = dict[str, Any]
RECORDINGS = Path(__file__).parents[3] / "data" / "recordings"


@dataclass(frozen=True)
class Seen:
    """One version of an object, in seconds after the fault."""

    at: float
    resource: str
    event: str
    object: Object


def recorded(run: str) -> list[Seen]:
    """Read a recording; time starts at its fault."""
    text = gzip.decompress((RECORDINGS / f"{run}.jsonl.gz").read_bytes()).decode()
    lines = [json.loads(line) for line in text.splitlines()]
    start = next(each["t"] for each in lines if each["type"] == "mark" and each["mark"] in ("fault", "change"))
    return [
        Seen(each["t"] - start, each["resource"], each["event"], each["object"])
        for each in lines
        if each["type"] == "watch"
    ]


def simulated(changes: Iterable[tuple[float, Change]]) -> list[Seen]:
    return [Seen(at, each.resource.plural, each.type, each.object) for at, each in changes]


@dataclass
class _Reader:
    """Reads the facts about one workload and its pods."""

    app: str
    before: set[str] = field(default_factory=set)
    facts: dict[str, float] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)

    def read(self, each: Seen) -> None:
        meta = each.object["metadata"]
        if each.resource == "events":
            about = each.object["involvedObject"]
            if about["name"] == self.app or about["name"].startswith(f"{self.app}-"):
                self._note(each.at, f"event {each.object['type']} {each.object['reason']} on {about['kind']}")
        elif each.resource == "nodes":
            for fact in _node_facts(each.object):
                self._note(each.at, fact)
        elif (meta.get("labels") or {}).get("app") == self.app or meta["name"] == self.app:
            self._read_own(each)

    def _read_own(self, each: Seen) -> None:
        if each.resource == "pods":
            uid = each.object["metadata"]["uid"]
            if each.at < 0:
                self.before.add(uid)
            age = "old" if uid in self.before else "new"
            for fact in _pod_facts(each):
                self._note(each.at, f"{age} pod {fact}")
        elif each.resource in ("deployments", "replicasets", "statefulsets"):
            kind = each.object["kind"]
            for condition in (each.object.get("status") or {}).get("conditions") or []:
                fact = f"{kind} {condition['type']}={condition['status']}/{condition['reason']}"
                self._note(each.at, fact)

    def _note(self, at: float, fact: str) -> None:
        self.facts.setdefault(fact, at)


def facts_of(seen: Iterable[Seen], app: str, *, until: float) -> dict[str, float]:
    """Return the facts of a workload that were not so before the fault, with the time of their first sight."""
    reader = _Reader(app)
    for each in seen:
        if each.at <= until:
            reader.read(each)
    return {fact: at for fact, at in sorted(reader.facts.items(), key=lambda each: each[1]) if at >= 0}


def _pod_facts(each: Seen) -> Iterator[str]:
    pod = each.object
    if each.event == "DELETED":
        yield "gone"
    if pod["metadata"].get("deletionTimestamp"):
        yield "deleting"
    if (pod.get("spec") or {}).get("nodeName"):
        yield "bound"
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] in ("Ready", "PodScheduled", "DisruptionTarget"):
            yield f"{condition['type']}={condition['status']}/{condition.get('reason', '')}"
    for container in status.get("containerStatuses") or []:
        yield f"restartCount={container['restartCount']}"
        for field_name in ("state", "lastState"):
            for kind, detail in (container.get(field_name) or {}).items():
                code = f" {detail['exitCode']}" if kind == "terminated" else ""
                yield f"{field_name} {kind} {detail.get('reason', '')}{code}".rstrip()


def _node_facts(node: Object) -> Iterator[str]:
    for condition in (node.get("status") or {}).get("conditions") or []:
        yield f"node {condition['type']}={condition['status']}/{condition['reason']}"
    for taint in (node.get("spec") or {}).get("taints") or []:
        yield f"node taint {taint['key']}:{taint['effect']}"


def order_mistakes(real: dict[str, float], ours: dict[str, float], *, apart: float) -> list[str]:
    """Name the pairs that reality has in one order, clearly `apart`, and we have in the other."""
    shared = [fact for fact in real if fact in ours]
    return [
        f"{first!r} came {ours[first] - ours[second]:.1f} s after {second!r}"
        for index, first in enumerate(shared)
        for second in shared[index + 1 :]
        if real[second] - real[first] > apart and ours[first] > ours[second] + 0.01
    ]

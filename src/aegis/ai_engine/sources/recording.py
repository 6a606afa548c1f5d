"""Recordings of real clusters: watch lines as changes, scrapes as canonical signals by declared rules."""

import gzip
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from aegis.ai_engine.ports import ObjectChange, Sample, labels_of
from aegis.ai_engine.sources.inventory import Inventory
from aegis.catalogue.signals import (
    CONNECTIONS_REFUSED,
    CONNECTIONS_USAGE,
    CPU_THROTTLED,
    CPU_USAGE,
    ERROR_RATIO,
    LATENCY,
    MEMORY_BYTES,
    MEMORY_USAGE,
    POOL_USAGE,
    QUEUE_LENGTH,
    REQUEST_RATE,
    RESTARTS,
    REVISION_ERROR_RATIO,
    REVISION_REQUEST_RATE,
    Signal,
)
from aegis.kit.errors import InvalidError

# How far back rates look; the kubelet's own samples are 10 to 15 s apart.
RATE_SECONDS = 15.0
CONTAINER_RATE_SECONDS = 30.0
GONE_SECONDS = 20.0
_GOOD = frozenset({"200", "201", "202", "204", "301", "302", "304"})


@dataclass(frozen=True, slots=True)
class Scrape:
    at: float
    namespace: str
    pod: str
    samples: tuple[tuple[str, Mapping[str, str], float, float | None], ...]


def read(path: Path) -> Iterator[ObjectChange | Scrape]:
    """Yield what a watcher would have seen, in order. What people noted at the side is left out.

    Raises:
        InvalidError: names the file and the line that is none of a recording.
    """
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            for raw in file:
                number += 1
                yield from _read_line(orjson.loads(raw))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        hint = "A recording is JSON lines, compressed with gzip."
        message = f"{path}:{number} is no recording: {error}"
        raise InvalidError(message, field="path", value=str(path), hint=hint) from error


def _read_line(line: Any) -> Iterator[ObjectChange | Scrape]:
    if line["type"] == "watch":
        at = datetime.fromtimestamp(line["t"], UTC)
        yield ObjectChange(line["resource"], line["object"], at, deleted=line["event"] == "DELETED")
    elif line["type"] == "scrape" and line.get("samples"):
        yield Scrape(line["t"], line.get("namespace", ""), line.get("pod", ""), tuple(line["samples"]))


@dataclass
class _PodSeries:
    """What one pod shows: counters with a short past, gauges with their newest value."""

    counters: dict[str, deque[tuple[float, float]]] = field(default_factory=lambda: defaultdict(deque))
    gauges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def count(self, name: str, at: float, value: float) -> None:
        points = self.counters[name]
        if points and value < points[-1][1]:
            points.clear()  # it was started anew
        if not points or at > points[-1][0]:
            points.append((at, value))
        while len(points) > 2 and points[1][0] <= at - CONTAINER_RATE_SECONDS:  # noqa: PLR2004
            points.popleft()

    def increase(self, name: str, seconds: float) -> tuple[float, float]:
        """Return by how much, and over how many seconds, a counter rose lately."""
        points = self.counters.get(name)
        if not points:
            return 0.0, 0.0
        end = points[-1]
        start = next((one for one in points if one[0] >= end[0] - seconds), end)
        return end[1] - start[1], end[0] - start[0]

    def gauge(self, name: str, now: float) -> float | None:
        found = self.gauges.get(name)
        return found[1] if found is not None and now - found[0] <= 2 * GONE_SECONDS else None


_COUNTERS = frozenset({"requests_total", "request_duration_seconds_sum", "request_duration_seconds_count"})
_APP_GAUGES = (
    "pool_in_use",
    "pool_size",
    "connections",
    "max_connections",
    "connections_refused_total",
    "queue_length",
)
_CONTAINER_COUNTERS = (
    "container_cpu_usage_seconds_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
)
_CONTAINER_GAUGES = (
    "container_memory_working_set_bytes", "container_spec_memory_limit_bytes", "container_spec_cpu_quota",
    "container_spec_cpu_period",
)  # fmt: skip


class Rules:
    """Does for recordings what recording rules do in a metrics system."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._pods: dict[tuple[str, str], _PodSeries] = defaultdict(_PodSeries)
        self._app_at: dict[tuple[str, str], float] = {}

    def take(self, scrape: Scrape) -> None:
        if scrape.pod:
            self._take_app(scrape)
            return
        for name, labels, value, at in scrape.samples:
            if not labels.get("container"):
                continue
            series = self._pods[labels.get("namespace", ""), labels.get("pod", "")]
            if name in _CONTAINER_COUNTERS:
                series.count(name, at or scrape.at, value)
            elif name in _CONTAINER_GAUGES:
                series.gauges[name] = (at or scrape.at, value)

    def _take_app(self, scrape: Scrape) -> None:
        key = (scrape.namespace, scrape.pod)
        self._app_at[key] = scrape.at
        series = self._pods[key]
        codes: dict[str, float] = defaultdict(float)
        for name, labels, value, _ in scrape.samples:
            short = name.partition("_")[2]
            if short == "requests_total":
                codes["good" if labels.get("code") in _GOOD else "bad"] += value
            elif short in _COUNTERS:
                series.count(short, scrape.at, value)
            elif short in _APP_GAUGES:
                series.gauges[short] = (scrape.at, value)
        series.count("good", scrape.at, codes["good"])
        series.count("bad", scrape.at, codes["bad"])

    def column(self, now: float) -> list[Sample]:
        """Return the canonical signals as they are now."""
        by_workload: dict[str, list[tuple[str | None, _PodSeries]]] = defaultdict(list)
        restarts: dict[str, float] = defaultdict(float)
        for pod in self._inventory.pods.values():
            workload = self._inventory.workload_of(pod)
            if workload is None:
                continue
            restarts[workload.uid] += sum(one.restarts for one in pod.containers)
            series = self._pods.get((pod.namespace, pod.name))
            if series is not None and not pod.is_finished:
                by_workload[workload.uid].append((pod.revision, series))
        found: list[Sample] = []
        for uid, pods in by_workload.items():
            ref = self._inventory.workloads[uid].ref
            labels = {"namespace": ref.namespace, "kind": ref.kind, "workload": ref.name}
            values = _workload_signals([one for _, one in pods], now)
            values.append((RESTARTS, restarts[uid]))
            found += [Sample(signal.metric, labels_of(labels), value, now) for signal, value in values]
            for revision in {one for one, _ in pods if one is not None}:
                of_revision = [series for one, series in pods if one == revision]
                found += [
                    Sample(signal.metric, labels_of(labels | {"revision": revision}), value, now)
                    for signal, value in _traffic(of_revision, REVISION_REQUEST_RATE, REVISION_ERROR_RATIO)
                ]
        return found


_Values = list[tuple[Signal, float]]


def _workload_signals(pods: list[_PodSeries], now: float) -> _Values:
    found = _traffic(pods, REQUEST_RATE, ERROR_RATIO)
    count, total = _sums(pods, "request_duration_seconds_count"), _sums(pods, "request_duration_seconds_sum")
    if count > 0:
        found.append((LATENCY, total / count))
    for signal, part, whole in (
        (POOL_USAGE, "pool_in_use", "pool_size"),
        (CONNECTIONS_USAGE, "connections", "max_connections"),
    ):
        used = [one.gauge(part, now) for one in pods]
        most = [one.gauge(whole, now) for one in pods]
        if all_of := [(a, b) for a, b in zip(used, most, strict=True) if a is not None and b]:
            found.append((signal, sum(a for a, _ in all_of) / sum(b for _, b in all_of)))
    for signal, name in ((QUEUE_LENGTH, "queue_length"), (CONNECTIONS_REFUSED, "connections_refused_total")):
        values = [value for one in pods if (value := one.gauge(name, now)) is not None]
        if values:
            found.append((signal, sum(values)))
    return found + _resources(pods, now)


def _traffic(pods: list[_PodSeries], rate: Signal, ratio: Signal) -> _Values:
    good, seconds = zip(*(one.increase("good", RATE_SECONDS) for one in pods), strict=True)
    bad = _sums(pods, "bad")
    longest = max(seconds)
    if longest <= 0:
        return []
    total = sum(good) + bad
    found: _Values = [(rate, total / longest)]
    if total > 0:
        found.append((ratio, bad / total))
    return found


def _sums(pods: list[_PodSeries], name: str) -> float:
    return sum(one.increase(name, RATE_SECONDS)[0] for one in pods)


def _resources(pods: list[_PodSeries], now: float) -> _Values:
    cpu, throttled, share, memory = [], [], [], []
    for one in pods:
        used, seconds = one.increase("container_cpu_usage_seconds_total", CONTAINER_RATE_SECONDS)
        quota, period = one.gauge("container_spec_cpu_quota", now), one.gauge("container_spec_cpu_period", now)
        if seconds > 0 and quota and period:
            cpu.append(used / seconds / (quota / period))
        periods, _ = one.increase("container_cpu_cfs_periods_total", CONTAINER_RATE_SECONDS)
        if periods > 0:
            held, _ = one.increase("container_cpu_cfs_throttled_periods_total", CONTAINER_RATE_SECONDS)
            throttled.append(held / periods)
        used_memory = one.gauge("container_memory_working_set_bytes", now)
        limit = one.gauge("container_spec_memory_limit_bytes", now)
        if used_memory is not None:
            memory.append(used_memory)
            if limit:
                share.append(used_memory / limit)
    means = ((CPU_USAGE, cpu), (CPU_THROTTLED, throttled))
    highest = ((MEMORY_USAGE, share), (MEMORY_BYTES, memory))
    found = [(signal, sum(values) / len(values)) for signal, values in means if values]
    return found + [(signal, max(values)) for signal, values in highest if values]


def now_of(item: ObjectChange | Scrape) -> float:
    return item.at.timestamp() if isinstance(item, ObjectChange) else item.at

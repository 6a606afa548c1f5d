"""Record what happens in a namespace of a running cluster, for `aegis replay`: `make record RUN=NAME NAMESPACE=shop`.

A recording is JSON lines, compressed: what watches told (`watch`), what the kubelet and the pods' own metrics showed
(`scrape`), and what the person at the keyboard did (`mark`): each line that is typed meanwhile is a mark. `fault` marks
the moment of the fault and `fix` that of its end; both go into `labels.json`, which says for each recording what was
really wrong.
"""

import argparse
import gzip
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families

from aegis.ai_engine.sources.kubernetes import PATHS
from testbed import api, machine
from testbed.__main__ import tell
from testbed.errors import TestbedError
from testbed.layout import KUBELET_PORT, NODE, NODE_ADDRESS, STATE, State
from testbed.state_metrics import targets

SCRAPE_EVERY_S = 2.0
WATCH_S = 3600
KUBELET_PATHS = ("/metrics/cadvisor", "/metrics/resource")
CLUSTER_WIDE = frozenset({"nodes"})
LEFT_OUT = ("managedFields",)
KEPT = re.compile(r"container_(cpu|memory|spec|oom)_.*|http_.*|open_connections")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

Line = dict[str, Any]


@dataclass
class Recording:
    """One run's file. Lines come from several threads, and are written in the order in which they come."""

    path: Path
    namespace: str
    marks: dict[str, float] = field(default_factory=dict)
    """When each was made first."""
    lost: str = ""
    """Why the recording is not whole, if it is not."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._file = gzip.open(self.path, "wb")  # noqa: SIM115 - closed by `close`

    def mark(self, text: str) -> None:
        now = time.time()
        self.marks.setdefault(text.split(maxsplit=1)[0], now)
        self.write({"t": now, "type": "mark", "mark": text})

    def saw(self, resource: str, event: str, found: Line, at: float) -> None:
        """Write an object down if it is of this namespace, or of none."""
        metadata = found["metadata"]
        if metadata.get("namespace", "") in (self.namespace, "") or resource in CLUSTER_WIDE:
            kept = {key: value for key, value in metadata.items() if key not in LEFT_OUT}
            line = {"t": at, "type": "watch", "resource": resource, "event": event}
            self.write(line | {"object": found | {"metadata": kept}})

    def write(self, line: Line) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.write(orjson.dumps(line) + b"\n")

    def close(self) -> None:
        with self._lock:
            self._file.close()


class Recorder:
    """Watches and scrapes until it is stopped."""

    def __init__(self, state: State, recording: Recording) -> None:
        self._state = state
        self._recording = recording
        self._stopped = threading.Event()
        self._scraping = threading.Thread(target=self._scrape, daemon=True)

    def start(self) -> None:
        began = time.time()
        for resource, path in PATHS.items():
            listed = api.read(self._state, path)
            for item in listed["items"]:
                self._recording.saw(resource, "LIST", item, began)
            version = listed["metadata"]["resourceVersion"]
            # A daemon: a watch that nothing happens on cannot be asked to end.
            threading.Thread(target=self._watch, args=(resource, path, version), daemon=True).start()
        self._scraping.start()

    def stop(self) -> None:
        self._stopped.set()
        self._scraping.join()

    def _watch(self, resource: str, path: str, version: str) -> None:
        why = "it was over"
        query = f"{path}?watch=true&resourceVersion={version}&timeoutSeconds={WATCH_S}"
        try:
            for line in api.lines(self._state, query):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    why = event["object"].get("message", "")
                    break
                self._recording.saw(resource, event["type"], event["object"], time.time())
        except TestbedError as error:
            why = str(error)
        if not self._stopped.is_set():
            self._recording.lost = f"the watch of {resource} ended: {why}"

    def _scrape(self) -> None:
        at = time.monotonic()
        while not self._stopped.wait(max(0.0, at - time.monotonic())):
            at += SCRAPE_EVERY_S
            for line in self._scrapes():
                self._recording.write(line)

    def _scrapes(self) -> Iterator[Line]:
        for path in KUBELET_PATHS:
            yield self._scraped(
                {"source": path.replace("/metrics", "kubelet"), "node": NODE},
                f"https://{NODE_ADDRESS}:{KUBELET_PORT}{path}",
            )
        for one in targets(api.read(self._state, f"/api/v1/namespaces/{self._recording.namespace}/pods")["items"]):
            about, (address,) = one["labels"], one["targets"]
            path = about.get("__metrics_path__", "/metrics")
            source = {"source": "app", "namespace": about["namespace"], "pod": about["pod"]}
            yield self._scraped(source, f"http://{address}{path}")

    def _scraped(self, source: Line, url: str) -> Line:
        began = time.time()
        line: Line = {"t": began, "type": "scrape", **source}
        try:
            text = api.fetch(url, api.tls(self._state, "monitoring") if url.startswith("https") else None).decode()
        except TestbedError as error:
            return line | {"error": str(error)}
        return line | {"took": round(time.time() - began, 3), "samples": samples(text, self._recording.namespace)}


def samples(text: str, namespace: str) -> list[list[Any]]:
    """Return what is worth keeping of a scrape: `[name, labels, value, time of the sample or null]`."""
    return [
        [sample.name, dict(sample.labels), sample.value, None if sample.timestamp is None else float(sample.timestamp)]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if KEPT.fullmatch(sample.name) and sample.labels.get("namespace", namespace) == namespace
    ]


def label(given: argparse.Namespace, recording: Recording, *, began: float, ended: float) -> Line:
    """Return what is known of a run, as `labels.json` has it."""
    fault_at = recording.marks.get("fault")
    kind, _, name = given.cause.partition("/")
    fix_at = recording.marks.get("fix")
    return {
        "id": given.run,
        "file": f"runs/{recording.path.name}",
        "namespace": recording.namespace,
        "fault": fault_at is not None,
        "kind": given.kind,
        "root_cause": {"kind": kind, "namespace": recording.namespace, "name": name} if name else None,
        "fault_start": fault_at,
        "fix": {"what": given.fix, "at": fix_at} if fix_at is not None else None,
        "expected_action": given.expected,
        "begin": began,
        "end": ended,
    }


def add_label(file: Path, new: Line) -> None:
    """Write a run's label beside the others; one of the same name is replaced."""
    known = orjson.loads(file.read_bytes()) if file.is_file() else []
    others = [one for one in known if one["id"] != new["id"]]
    unfinished = file.with_suffix(".new")
    unfinished.write_bytes(orjson.dumps([*others, new], option=orjson.OPT_INDENT_2))
    unfinished.rename(file)


def record(given: argparse.Namespace) -> Path:
    """Record until the time is over or the input ends, and return the file."""
    state = State(STATE)
    if not machine.is_up(state):
        raise TestbedError("no cluster is up: `make cluster` starts one")
    if not NAME.fullmatch(given.run):
        raise TestbedError(f"{given.run!r} is no name for a run: small letters, digits and hyphens")
    runs = given.folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    began = time.time()
    recording = Recording(runs / f"{given.run}.jsonl.gz", given.namespace)
    recording.mark("begin")
    recorder = Recorder(state, recording)
    recorder.start()
    tell(f"recording {given.namespace}, for {given.seconds} s at most; type `fault` when it begins, `fix` when it ends")
    typing = threading.Thread(target=_mark_what_is_typed, args=(recording,), daemon=True)
    typing.start()
    typing.join(given.seconds)
    recorder.stop()
    recording.mark("end")
    recording.close()
    if recording.lost:
        raise TestbedError(f"{recording.path} is not whole: {recording.lost}")
    add_label(given.folder / "labels.json", label(given, recording, began=began, ended=time.time()))
    return recording.path


def _mark_what_is_typed(recording: Recording) -> None:
    for line in sys.stdin:
        if line.strip():
            recording.mark(line.strip())


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="record", description="Record what happens in a namespace of the testbed.")
    parser.add_argument("run", help="what to call it")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--folder", type=Path, default=Path("recordings"))
    parser.add_argument("--seconds", type=float, default=240.0, help="at most; the end of the input ends it as well")
    parser.add_argument("--kind", default="", help="of fault, such as crash-loop")
    parser.add_argument("--cause", default="", metavar="KIND/NAME", help="where the cause is, such as Deployment/web")
    parser.add_argument("--fix", default="", help="what the fix was")
    parser.add_argument("--expected", default="", help="what a healer should do")
    return parser.parse_args(arguments)


def main() -> int:
    try:
        path = record(parse(sys.argv[1:]))
    except TestbedError as error:
        tell(f"error: {error}")
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

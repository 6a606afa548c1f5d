"""What the suite found on each cluster, kept from run to run, and the page that shows it.

`python -m tests.ports.conformance.report RESULTS PAGE` writes the page.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIMULATED = "simulated"
_INTRODUCTION = """\
# Conformance

One suite, `tests/ports/conformance`, runs unchanged against the simulated cluster that everything else is tested with
and against real ones, with real pods. Where they differ, the simulated one is wrong. `make conformance` runs it on all
of them and writes this page; `pytest tests/ports/conformance --kubeconfig FILE` runs it on a cluster of yours.
"""
_REQUESTS = """\
## What Aegis asks of a cluster

Each kind of request that the services send, by verb, resource, type of patch, and code of the answer, with the tests
that try it. `make test` fails where a service sends one that is not listed, and where one that is listed is not tried.
Answers of a server in trouble (5xx, and 429 to anything but an eviction) are not listed: no test can order them from a
real one. Nor can one have a list refused with 410: a real server forgets what lists are made of only when it compacts,
minutes after its start. That a watch is told 410 is tried.
"""
Runs = dict[str, dict[str, Any]]


def keep(file: Path, cluster: str, *, results: Mapping[str, str], requests: Mapping[str, list[str]]) -> None:
    """Add a run to those of other clusters."""
    runs: Runs = json.loads(file.read_text() or "{}") if file.exists() else {}
    runs[cluster] = {"results": dict(results), "requests": dict(requests)}
    file.write_text(json.dumps(runs))


def page(runs: Runs) -> str:
    clusters = sorted(runs, key=lambda name: (name == SIMULATED, name), reverse=True)
    tests = list(dict.fromkeys(test for name in clusters for test in runs[name]["results"]))
    parts = [_INTRODUCTION, _totals(runs, clusters)]
    for file in dict.fromkeys(test.partition("::")[0] for test in tests):
        rows = [
            [f"`{test.partition('::')[2]}`", *(runs[name]["results"].get(test, "not run") for name in clusters)]
            for test in tests
            if test.startswith(f"{file}::")
        ]
        parts.append(f"## {file}\n\n" + _table(["test", *clusters], rows))
    return "\n".join([*parts, _REQUESTS, _requests(runs, clusters)])


def _totals(runs: Runs, clusters: list[str]) -> str:
    def count(name: str, outcome: str) -> str:
        return str(sum(one == outcome for one in runs[name]["results"].values()))

    rows = [[name, count(name, "passed"), count(name, "failed")] for name in clusters]
    return _table(["cluster", "passed", "failed"], rows)


def _requests(runs: Runs, clusters: list[str]) -> str:
    requests = dict.fromkeys(one for name in clusters for one in runs[name]["requests"])
    rows = []
    for request in requests:
        tests = sorted({test for name in clusters for test in runs[name]["requests"].get(request, [])})
        rows.append([f"`{request}`", ", ".join(f"`{test}`" for test in tests)])
    return _table(["request", "tried by"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main(results: str, out: str) -> None:
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(json.loads(Path(results).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])

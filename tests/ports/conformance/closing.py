"""After a run: whether everything that Aegis sends was tried, and the results for the page."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports.conformance import report
from tests.ports.conformance.requests import Request, listed
from tests.whole import fail_for, reporter_of

from aegis.clients.kubernetes import connect

FOLDER = Path(__file__).parent
_HERE = "tests/ports/conformance/"
TRIED = "tried"
"""The property in which a test says what it has asked."""


def add_options(parser: pytest.Parser) -> None:
    parser.addoption("--kubeconfig", type=Path, help="a real cluster for tests/ports/conformance")
    parser.addoption("--report", type=Path, help="where tests/ports/conformance adds what it found")


def summarize(reporter: Any) -> None:
    for one in untried(reporter):
        reporter.line(f"Aegis sends it, and no test of {_HERE} has tried it: {one}", red=True)


def finish(session: pytest.Session) -> None:
    """A request that Aegis sends and that nothing has tried is not known to be answered as it expects: that fails."""
    fail_for(session, untried)
    reporter, file = reporter_of(session), session.config.getoption("report")
    if reporter is not None and file is not None:
        requests = {str(one): sorted(tests) for one, tests in tried(reporter).items()}
        report.keep(file, _cluster(session.config), results=results(reporter), requests=requests)


def untried(reporter: Any) -> list[Request]:
    """Return the listed requests that no test has sent, where all tests had their turn."""
    ran = {test.partition("::")[0] for test in results(reporter)}
    is_whole = ran >= {file.name for file in FOLDER.glob("test_*.py")} and not reporter.config.getoption("keyword")
    return sorted(one for one, tests in tried(reporter).items() if not tests) if is_whole else []


def tried(reporter: Any) -> dict[Request, set[str]]:
    """Return by which tests each of the listed requests was sent."""
    found: dict[Request, set[str]] = {one: set() for one in sorted(listed())}
    for one in _reports(reporter):
        for name, value in one.user_properties:
            for line in value if name == TRIED else ():
                found.get(Request.read(line), set()).add(_name(one))
    return found


def results(reporter: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in _reports(reporter):
        if one.when == "call" or not one.passed:
            found[_name(one)] = "failed" if found.get(_name(one)) == "failed" else one.outcome
    return dict(sorted(found.items()))


def _reports(reporter: Any) -> Iterator[Any]:
    for some in list(reporter.stats.values()):
        yield from (one for one in some if getattr(one, "nodeid", "").startswith(_HERE) and hasattr(one, "when"))


def _name(one: Any) -> str:
    return str(one.nodeid).removeprefix(_HERE)


def _cluster(config: pytest.Config) -> str:
    kubeconfig = config.getoption("kubeconfig")

    async def version() -> str:
        async with connect(str(kubeconfig)) as http:
            return str((await http.get("/version")).json()["gitVersion"])

    return asyncio.run(version()) if kubeconfig else report.SIMULATED

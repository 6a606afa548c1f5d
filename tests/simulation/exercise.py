"""How many schedules there are, and what all simulations of a test run exercised together."""

import os
from collections.abc import Sequence
from typing import Any

import pytest
from tests.whole import fail_for

from aegis.simulator.together.living import Exercised

SCHEDULES = 100
"""So many are lived by default; with fewer, nothing is said of what never came up."""
_DIRECTED = "simulation/test_directed.py"


def add_options(parser: pytest.Parser) -> None:
    default = int(os.environ.get("AEGIS_SCHEDULES", SCHEDULES))  # noqa: TID251 (the tests' own setting, read only here)
    parser.addoption("--schedules", type=int, default=default, help="how many random schedules to live")
    parser.addoption("--first-seed", type=int, default=0, help="the seed of the first of them")


def summarize(terminalreporter: Any) -> None:
    total, lived = _exercised(terminalreporter)
    if not lived:
        return
    terminalreporter.section(f"exercised by {lived} simulations")
    for name, counts in total.to_plain().items():
        shown = ", ".join(f"{one} {count}" for one, count in sorted(counts.items()))
        terminalreporter.line(f"{name}: {shown}")
    for one in _never(terminalreporter):
        terminalreporter.line(f"never came up: {one}", red=True)


def finish(session: pytest.Session) -> None:
    """A rule, state, action or guardrail that nothing exercised is not known to hold: that fails."""
    fail_for(session, _never)


def _never(reporter: Any) -> Sequence[str]:
    """Return what never came up, where the random schedules and the directed runs both had their turn."""
    total, _ = _exercised(reporter)
    is_whole = any(_DIRECTED in report.nodeid for report in _reports(reporter))
    enough = reporter.config.getoption("schedules") >= SCHEDULES
    return total.never() if is_whole and enough else ()


def _exercised(reporter: Any) -> tuple[Exercised, int]:
    total, lived = Exercised(), 0
    for report in _reports(reporter):
        for name, value in report.user_properties:
            if name == "exercised":
                total.add(Exercised.from_plain(value))
                lived += 1
    return total, lived


def _reports(reporter: Any) -> list[Any]:
    return [one for some in reporter.stats.values() for one in some if getattr(one, "when", "") == "call"]

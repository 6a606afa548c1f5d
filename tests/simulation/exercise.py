"""How many schedules there are, and what all simulations of a test run exercised together."""

import os
from typing import Any

import pytest

from aegis.simulator.together.living import Exercised

ENOUGH = 100
"""With fewer schedules than this nothing is said of what never came up."""


def pytest_addoption(parser: pytest.Parser) -> None:
    default = int(os.environ.get("AEGIS_SCHEDULES", "8"))  # noqa: TID251 (the tests' own setting, read only here)
    parser.addoption("--schedules", type=int, default=default, help="how many random schedules to live")
    parser.addoption("--first-seed", type=int, default=0, help="the seed of the first of them")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    total = Exercised()
    lived = 0
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "exercised" and getattr(report, "when", "") == "call":
                    total.add(Exercised.from_plain(value))
                    lived += 1
    if not lived:
        return
    terminalreporter.section(f"exercised by {lived} simulations")
    for name, counts in total.to_plain().items():
        shown = ", ".join(f"{one} {count}" for one, count in sorted(counts.items()))
        terminalreporter.line(f"{name}: {shown}")
    for one in never(total, config, lived):
        terminalreporter.line(f"never came up: {one}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A rule, state, action or guardrail that nothing exercised is not known to hold: that fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    total, lived = Exercised(), 0
    for reports in reporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "exercised" and getattr(report, "when", "") == "call":
                    total.add(Exercised.from_plain(value))
                    lived += 1
    if never(total, session.config, lived) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def never(total: Exercised, config: pytest.Config, lived: int) -> list[str]:
    return total.never() if lived >= min(ENOUGH, config.getoption("schedules")) >= ENOUGH else []

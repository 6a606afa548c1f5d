"""Hooks that pytest looks for at the top only, and the servers that tests share."""

import os
from typing import Any

import pytest

from tests.ports.conformance import closing
from tests.servers import backend_url, server, templates
from tests.simulation import exercise

__all__ = ["backend_url", "server", "templates"]


def pytest_addoption(parser: pytest.Parser) -> None:
    exercise.add_options(parser)
    closing.add_options(parser)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: each waits for its PostgreSQL now and then."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    exercise.summarize(terminalreporter)
    closing.summarize(terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    exercise.finish(session)
    closing.finish(session)

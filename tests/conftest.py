"""Hooks that pytest looks for at the top only, and the servers that tests share."""

import gc
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


def pytest_collection_finish() -> None:
    """What is imported by now stays: there is no use in looking through it again and again for what can go."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


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

"""What a whole test run must have come upon: where something is missing, the run fails that would have passed."""

from collections.abc import Callable, Sized
from typing import Any

import pytest


def reporter_of(session: pytest.Session) -> Any | None:
    """Return who has everybody's reports; None in a worker, which has only its own."""
    is_worker = hasattr(session.config, "workerinput")
    return None if is_worker else session.config.pluginmanager.get_plugin("terminalreporter")


def fail_for(session: pytest.Session, missing: Callable[[Any], Sized]) -> None:
    reporter = reporter_of(session)
    if reporter is not None and missing(reporter) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

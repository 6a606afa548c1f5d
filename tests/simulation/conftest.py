"""One PostgreSQL for all simulations of a worker; each finds its databases empty."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import uvloop
from argon2 import PasswordHasher
from fastapi.dependencies import models
from tests.ports.conformance.requests import requests_in_simulated_log, says_something, unlisted

from aegis.backend.identity import credentials
from aegis.kit.embedded import postgres
from aegis.simulator.together.databases import Databases
from aegis.simulator.together.living import Lived, begin
from aegis.simulator.together.schedules import Schedule
from aegis.simulator.together.together import Together

T = TypeVar("T")
NAME = "simulation"
COLLECT_EVERY = 12
"""A collection takes a quarter of a second; so many runs' worlds fit into memory."""


@dataclass(frozen=True)
class Stage:
    """Where schedules are lived."""

    databases: Databases
    urls: Mapping[str, str]
    _runs: Iterator[int] = field(default_factory=itertools.count)

    def begin(self, schedule: Schedule) -> AbstractAsyncContextManager[Together]:
        return begin(schedule, self.databases, NAME, self.urls)

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        try:
            return uvloop.run(story)
        finally:
            _forget_dead_services()
            if next(self._runs) % COLLECT_EVERY == 0:
                gc.collect()


def _forget_dead_services() -> None:
    """FastAPI remembers the endpoints of thousands of apps, and with them whole worlds."""
    for known in vars(models).values():
        if hasattr(known, "cache_clear"):
            known.cache_clear()


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    slow, credentials._HASHER = credentials._HASHER, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with postgres(durable=False) as server:
        databases = Databases(server)
        asyncio.run(databases.prepare())
        yield Stage(databases, asyncio.run(databases.clone(NAME)))
    credentials._HASHER = slow


@pytest.fixture
def lived(record_property: Callable[[str, object], None]) -> Callable[[Lived], None]:
    """Say what a run exercised, and fail if it broke a rule or asked the API server what no test has tried there."""

    def check(life: Lived) -> None:
        record_property("exercised", life.exercised.to_plain())
        told = "\n".join(life.broken)
        story = "\n".join(life.story)
        assert not life.broken, f"seed {life.seed} broke rules:\n{told}\n\nIts story:\n{story}"
        untried = unlisted(filter(says_something, requests_in_simulated_log(life.evidence.requests)))
        assert not untried, f"try them in tests/ports/conformance, and list them there: {[str(one) for one in untried]}"

    return check

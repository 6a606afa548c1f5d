"""What a container runs: a program, found by its image, changed by its environment."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Call(BaseModel):
    """A request to another service, made for a share of one's own requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    """`name` of the same namespace, or `namespace/name`."""
    share: float = Field(default=1.0, gt=0)
    timeout_s: float = Field(default=2.0, gt=0)
    optional: bool = False
    """A failure is served around; the request still succeeds."""


class Program(BaseModel):
    """How a process behaves. Every field but `calls` can be set by an environment variable of its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Work
    cpu_s_per_request: float = Field(default=0.002, ge=0)
    cpu_idle: float = Field(default=0.01, ge=0)
    cpu_burn: float = Field(default=0.0, ge=0)
    latency_s: float = Field(default=0.004, ge=0)
    """Time of a request beyond its CPU and its calls."""
    threads: int = Field(default=64, gt=0)
    error_share: float = Field(default=0.0, ge=0, le=1)

    # Memory
    memory_mib: float = Field(default=48.0, ge=0)
    memory_mib_per_open_request: float = Field(default=0.25, ge=0)
    leak_mib_per_s: float = Field(default=0.0, ge=0)
    leak_kib_per_request: float = Field(default=0.0, ge=0)
    burst_mib: float = Field(default=0.0, ge=0)
    burst_after_s: float = Field(default=0.0, ge=0)

    # Others
    calls: tuple[Call, ...] = ()
    pool_size: int | None = Field(default=None, gt=0)
    """Connections to whom it calls, per pod; None is a new connection for each call."""
    pool_eager: bool = False
    """Open all of them at once and for good, as many database pools do."""
    pool_timeout_s: float = Field(default=2.0, gt=0)
    max_connections: int | None = Field(default=None, gt=0)
    """As a server: connections beyond this are refused."""
    contention_at: int | None = Field(default=None, gt=0)
    """As a server: with more connections than this every request gets slower, by the square."""
    queued_share: float = Field(default=0.0, ge=0, le=1)
    """As a server: requests that leave a job in its queue."""
    takes_from: str | None = None
    """As a worker: the service whose queue it empties, one job a request."""

    # Life
    start_s: float = Field(default=0.4, ge=0)
    stop_s: float = Field(default=2.0, ge=0)
    exit_at_start: int | None = None
    exit_after_s: float | None = Field(default=None, ge=0)
    exit_code: int = 1
    exits_once: bool = False
    """Its first run in a pod fails; the second is fine."""
    crash_above_rps: float | None = Field(default=None, gt=0)
    needs: tuple[str, ...] = ()
    """Services without which it exits at start."""
    crash_without_s: float | None = Field(default=None, gt=0)
    """Exits once a service it `needs` was gone for so long."""
    ready_needs: tuple[str, ...] = ()
    """Services without which it says that it is not ready."""
    never_ready: bool = False
    unready_above: float | None = Field(default=None, gt=0)
    """The utilisation from which on its readiness probe times out."""
    unlive_above: float | None = Field(default=None, gt=0)
    """The same for its liveness probe."""

    def changed(self, changes: Mapping[str, Any]) -> "Program":
        """Return the program with other values, validated.

        >>> Program().changed({"error_share": "0.3"}).error_share
        0.3
        """
        return Program.model_validate({**self.model_dump(), **changes})


_BY_VARIABLE = {name.upper(): name for name in Program.model_fields if name != "calls"}


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Pick what an environment says about a program.

    >>> settings_of({"ERROR_SHARE": "0.3", "HOME": "/"})
    {'error_share': '0.3'}
    """
    return {_BY_VARIABLE[key]: value for key, value in environment.items() if key in _BY_VARIABLE}


class Registry:
    """The images there are, and the program in each."""

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}
        self._with_settings = lru_cache(maxsize=1024)(self._changed)

    def push(self, image: str, program: Program) -> None:
        self._programs[image] = program
        self._with_settings.cache_clear()

    def __contains__(self, image: object) -> bool:
        return image in self._programs

    def images(self) -> list[str]:
        return sorted(self._programs)

    def program(self, image: str) -> Program:
        """Return what an image runs; one that nobody pushed runs something plain."""
        return self._programs.get(image, _PLAIN)

    def program_for(self, image: str, environment: Mapping[str, str]) -> Program:
        return self._with_settings(image, tuple(sorted(settings_of(environment).items())))

    def _changed(self, image: str, settings: tuple[tuple[str, str], ...]) -> Program:
        program = self.program(image)
        return program.changed(dict(settings)) if settings else program


_PLAIN = Program()

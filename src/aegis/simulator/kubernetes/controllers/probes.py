"""A container's probes: when each is due, and what a row of answers means."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aegis.simulator.kubernetes.controllers.runtime import ProbeKind
from aegis.simulator.kubernetes.objects import Object

KINDS: tuple[ProbeKind, ...] = ("startup", "readiness", "liveness")
_MOST_IN_A_STEP = 5


@dataclass
class Probe:
    """One probe's schedule and its row of equal answers. `passing` is None until a threshold was met."""

    spec: Object
    next_at: datetime
    passing: bool | None = None
    row: int = 0
    row_passed: bool = False

    @property
    def period(self) -> timedelta:
        return timedelta(seconds=self.spec.get("periodSeconds", 10))

    def take_due(self, now: datetime) -> int:
        """Return how many times it is to be asked now, after a step of any length."""
        due = 0
        while self.next_at <= now:
            self.next_at += self.period
            due += 1
        return min(due, _MOST_IN_A_STEP)

    def note(self, *, passed: bool) -> None:
        self.row = self.row + 1 if passed == self.row_passed else 1
        self.row_passed = passed
        name, default = ("successThreshold", 1) if passed else ("failureThreshold", 3)
        if self.row >= self.spec.get(name, default):
            self.passing = passed


@dataclass
class Probes:
    """All probes of one run of a container."""

    by_kind: dict[ProbeKind, Probe] = field(default_factory=dict)

    @classmethod
    def of(cls, container: Object, *, started_at: datetime, phase: float) -> "Probes":
        """Plan the probes; `phase` (0..1) is where in its period the second readiness probe falls."""
        probes = {}
        for kind in KINDS:
            spec = container.get(f"{kind}Probe")
            if spec:
                delay = timedelta(seconds=spec.get("initialDelaySeconds", 0))
                probes[kind] = Probe(
                    spec, started_at + delay + phase * timedelta(seconds=spec.get("periodSeconds", 10))
                )
        # A starting container is asked at once whether it is ready, and hardly ever is.
        if "readiness" in probes and not probes["readiness"].spec.get("initialDelaySeconds"):
            probes["readiness"].next_at = started_at
        return cls(probes)

    @property
    def is_started(self) -> bool:
        startup = self.by_kind.get("startup")
        return startup is None or startup.passing is True

    @property
    def is_ready(self) -> bool:
        readiness = self.by_kind.get("readiness")
        return self.is_started and (readiness is None or readiness.passing is True)

    @property
    def failed(self) -> ProbeKind | None:
        """Return the probe for which the container is to be restarted."""
        for kind in ("startup", "liveness"):
            probe = self.by_kind.get(kind)
            if probe is not None and probe.passing is False:
                return kind
        return None

    def is_asked(self, kind: ProbeKind) -> bool:
        """Tell whether this probe has a say now: startup first, alone, and then never again."""
        return kind in self.by_kind and (kind == "startup") != self.is_started

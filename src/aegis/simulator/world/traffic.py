"""How many requests come from outside, as a function of time, the seed, and surges that somebody adds."""

import math
import random
from dataclasses import dataclass, field

_MEMORY_S = 30.0  # how long the noise remembers itself


@dataclass
class Surge:
    """Traffic times `factor`, from one time of the world to another."""

    factor: float
    starts_s: float
    ends_s: float
    ramp_s: float = 2.0

    def at(self, seconds: float) -> float:
        """Return the factor at a time, with a short way up and down."""
        inside = min(seconds - self.starts_s, self.ends_s - seconds)
        if inside <= 0.0:
            return 1.0
        return 1.0 + (self.factor - 1.0) * min(1.0, inside / self.ramp_s if self.ramp_s else 1.0)


@dataclass
class Traffic:
    """What users send to one service. Times are seconds since the world began."""

    rps: float
    wave: float = 0.0
    """How far it swings around its mean, as a share of it."""
    period_s: float = 86400.0
    phase: float = 0.0
    noise: float = 0.03
    surges: list[Surge] = field(default_factory=list)
    _drift: float = 0.0

    def mean_at(self, seconds: float) -> float:
        """Return the rate without noise."""
        swing = 1.0 + self.wave * math.sin(2.0 * math.pi * (seconds / self.period_s + self.phase))
        rate = self.rps * max(0.0, swing)
        for surge in self.surges:
            rate *= surge.at(seconds)
        return rate

    def sample(self, seconds: float, step_s: float, rng: random.Random) -> float:
        """Return the rate of a step: the mean, a slow drift and the chance of single requests."""
        rate = self.mean_at(seconds)
        if rate <= 0.0:
            return 0.0
        keep = math.exp(-step_s / _MEMORY_S)
        self._drift = self._drift * keep + rng.gauss(0.0, self.noise) * math.sqrt(1.0 - keep * keep)
        arrivals = rate * (1.0 + self._drift) * step_s
        if arrivals <= 0.0:
            return 0.0
        return max(0.0, rng.gauss(arrivals, 0.5 * math.sqrt(arrivals))) / step_s

    def forget_before(self, seconds: float) -> None:
        self.surges = [surge for surge in self.surges if surge.ends_s >= seconds]

"""The formulas of the world: waiting, overflowing, timing out, throttling."""

import math

_MOST_STRETCH = 40.0


def stretch(utilisation: float) -> float:
    """Say by how much work takes longer at a utilisation of its server.

    >>> stretch(0.0), round(stretch(0.5), 2), stretch(2.0)
    (1.0, 1.5, 40.0)
    """
    if utilisation >= 0.99:
        return _MOST_STRETCH
    return min(_MOST_STRETCH, 1.0 + utilisation * utilisation / (1.0 - utilisation))


def overflow(offered: float, servers: float, *, patience: float) -> float:
    """Return the share of work that finds no server in time.

    `offered` is the mean number of servers wanted at once, `patience` how long one waits, in units of
    the time a server is held. Sakasegawa's approximation of M/M/c below saturation; above it what is
    too much must fail.

    >>> overflow(1.0, 6, patience=2.0) < 0.0001, round(overflow(12.0, 6, patience=2.0), 2)
    (True, 0.5)
    """
    if offered <= 0.0:
        return 0.0
    if servers <= 0.0:
        return 1.0
    load = offered / servers
    if load >= 1.0:
        return max(1.0 - 1.0 / load, 0.02)
    busy = float(load ** math.sqrt(2.0 * (servers + 1.0)))
    return min(0.02, busy * math.exp(-servers * (1.0 - load) * patience))


def timed_out(latency_s: float, timeout_s: float) -> float:
    """Return the share of calls that take longer than their caller waits.

    >>> timed_out(0.3, 2.0), timed_out(2.0, 2.0), timed_out(9.0, 2.0)
    (0.0, 0.5, 1.0)
    """
    return min(1.0, max(0.0, latency_s / timeout_s - 0.5))


def throttled(need: float, limit: float) -> float:
    """Return the share of periods in which a CPU limit holds a container back.

    >>> throttled(0.1, 0.5), round(throttled(0.5, 0.5), 2), round(throttled(5.0, 0.5), 2)
    (0.0, 0.4, 0.94)
    """
    use = need / limit
    if use <= 0.6:
        return 0.0
    if use <= 1.0:
        return 2.5 * (use - 0.6) ** 2
    return 0.4 + 0.6 * (1.0 - 1.0 / use)


def contention(connections: float, comfortable: int | None) -> float:
    """Say by how much a server's work takes longer with so many connections.

    >>> contention(10, 20), contention(40, 20), contention(40, None)
    (1.0, 4.0, 1.0)
    """
    return 1.0 if comfortable is None else max(1.0, connections / comfortable) ** 2

"""Rate-limit counters: in Redis, shared by the replicas; in this process while Redis is gone. Never open."""

import time
from collections.abc import Callable
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError


class RedisCounters:
    """Counts in windows of real time, each as long as Redis keeps its key; no replica's own clock comes into it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._own = OwnCounters()

    async def increment(self, key: str, *, window: timedelta) -> int:
        name = f"aegis:count:{key}"
        # Counted here as well: when Redis goes, this process already knows what it has seen itself.
        own = await self._own.increment(key, window=window)
        try:
            async with self._redis.pipeline() as pipe:
                pipe.set(name, 0, ex=int(window.total_seconds()), nx=True)
                pipe.incr(name)
                _, shared = await pipe.execute()
        except (RedisError, OSError):
            return own
        return max(own, int(shared))


class OwnCounters:
    """Counts of this process alone, in windows that begin with the first of a key."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._counts: dict[str, tuple[float, int]] = {}
        """By key: when the window ends, and the count in it."""

    async def increment(self, key: str, *, window: timedelta) -> int:
        now = self._now()
        self._forget_what_is_over(now)
        ends, count = self._counts.get(key, (0.0, 0))
        if ends <= now:
            # At the end of the line, where those are whose windows have just begun.
            self._counts.pop(key, None)
            ends, count = now + window.total_seconds(), 0
        self._counts[key] = (ends, count + 1)
        return count + 1

    def _forget_what_is_over(self, now: float) -> None:
        """Look at the oldest only: in a flood of keys, looking at all of them each time would be work without end."""
        while self._counts and (oldest := next(iter(self._counts.items())))[1][0] <= now:
            del self._counts[oldest[0]]

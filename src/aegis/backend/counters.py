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
        self._counts = {known: each for known, each in self._counts.items() if each[0] > now}
        ends, count = self._counts.get(key, (now + window.total_seconds(), 0))
        self._counts[key] = (ends, count + 1)
        return count + 1

"""Rate-limit counters: in Redis, shared by the replicas; in this process while Redis is gone. Never open."""

import time
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError


class RedisCounters:
    """Counts in fixed windows of real time."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._own = OwnCounters()

    async def increment(self, key: str, *, window: timedelta) -> int:
        seconds = int(window.total_seconds())
        slot = f"aegis:count:{key}:{int(time.monotonic() // seconds)}"
        # Counted here as well: when Redis goes, this process already knows what it has seen itself.
        own = await self._own.increment(key, window=window)
        try:
            async with self._redis.pipeline() as pipe:
                pipe.incr(slot)
                pipe.expire(slot, seconds)
                shared, _ = await pipe.execute()
        except (RedisError, OSError):
            return own
        return max(own, int(shared))


class OwnCounters:
    """Counts of this process alone."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}

    async def increment(self, key: str, *, window: timedelta) -> int:
        slot = int(time.monotonic() // window.total_seconds())
        self._counts = {known: count for known, count in self._counts.items() if known[1] >= slot - 1}
        self._counts[key, slot] = self._counts.get((key, slot), 0) + 1
        return self._counts[key, slot]

"""Tries are counted by all replicas together, and by each alone while Redis is gone: never open."""

from datetime import timedelta

from redis.asyncio import Redis

from aegis.backend.counters import OwnCounters, RedisCounters
from aegis.kit import embedded

WINDOW = timedelta(minutes=1)


async def test_replicas_share_a_count_and_each_goes_on_alone_when_redis_is_killed() -> None:
    with embedded.redis() as url:
        connections = [Redis.from_url(url, socket_timeout=5, socket_connect_timeout=1) for _ in range(2)]
        one, another = (RedisCounters(connection) for connection in connections)

        assert [await one.increment("login", window=WINDOW) for _ in range(3)] == [1, 2, 3]
        assert await another.increment("login", window=WINDOW) == 4
        assert await another.increment("else", window=WINDOW) == 1
        assert 0 < await connections[0].ttl("aegis:count:login") <= 60

    assert await one.increment("login", window=WINDOW) == 4
    assert await another.increment("login", window=WINDOW) == 2
    for connection in connections:
        await connection.aclose()


async def test_a_window_ends_and_what_is_over_is_forgotten() -> None:
    now = 0.0
    counters = OwnCounters(lambda: now)
    assert [await counters.increment("a", window=WINDOW) for _ in range(2)] == [1, 2]

    now = 59.9
    assert await counters.increment("a", window=WINDOW) == 3
    now = 60.0
    assert await counters.increment("b", window=WINDOW) == 1

    assert await counters.increment("a", window=WINDOW) == 1

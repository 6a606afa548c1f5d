"""The Backend as a process: real PostgreSQL, real Redis, real time."""

import asyncio
import contextlib
import logging
import random

import httpx
from pydantic import ValidationError
from redis.asyncio import Redis

from aegis.backend.counters import RedisCounters
from aegis.backend.notifications.webhook import WebhookReceiver
from aegis.backend.ports import BackendPorts
from aegis.backend.service import Backend
from aegis.backend.settings import BackendSettings
from aegis.clients.ai_engine import AiEngineClient
from aegis.kit.clock import clock_from
from aegis.kit.database import Database, wait_until_migrated
from aegis.kit.errors import TemporaryError
from aegis.kit.ids import RandomIds
from aegis.kit.logs import set_up_logs
from aegis.kit.runner import Loop, run_service
from aegis.kit.settings import explain_settings
from aegis.kit.signing import PrivateKey

log = logging.getLogger(__name__)


def main() -> None:
    try:
        settings = BackendSettings()
    except ValidationError as error:
        raise SystemExit(explain_settings(error, prefix="AEGIS_")) from None
    set_up_logs("backend", level=settings.log_level, form=settings.log_format)
    asyncio.run(serve(settings))


async def serve(settings: BackendSettings) -> None:
    """Run until told to stop."""
    clock = clock_from(settings.clock)
    key = PrivateKey.from_text(settings.signing_key.get_secret_value())
    redis = Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=1, socket_connect_timeout=1)
    webhook = httpx.AsyncClient()
    bearer = {"Authorization": f"Bearer {settings.ai_engine_key.get_secret_value()}"}
    ai_engine = httpx.AsyncClient(base_url=settings.ai_engine_url, headers=bearer, timeout=10)
    ports = BackendPorts(
        settings=settings,
        clock=clock,
        ids=RandomIds(random.SystemRandom()),
        database=Database(settings.database_url.get_secret_value()),
        counters=RedisCounters(redis),
        directory=AiEngineClient(ai_engine),
        signing_key=key,
        receiver=WebhookReceiver(webhook, settings.webhook_url, key, clock) if settings.webhook_url else None,
    )
    backend = Backend(ports)
    owner_url = settings.migration_database_url
    await wait_until_migrated(
        ports.database, "aegis.backend", owner_url=owner_url.get_secret_value() if owner_url is not None else None
    )
    await backend.prepare()

    async def close() -> None:
        with contextlib.suppress(TemporaryError):  # a database that is gone keeps nobody from ending
            await backend.finish()
        await ports.database.close()
        await redis.aclose()
        await webhook.aclose()
        await ai_engine.aclose()

    loops = [
        Loop("decide", backend.step, settings.step_interval),
        Loop("tidy", backend.tidy, 5 * settings.step_interval),
    ]
    log.info("listening on %s:%s, cluster %s", settings.host, settings.port, settings.cluster_id)
    await run_service(backend.app, host=settings.host, port=settings.port, clock=clock, loops=loops, close=close)


if __name__ == "__main__":
    main()

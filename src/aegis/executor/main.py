"""The Executor as a process: a real cluster, real PostgreSQL, real time."""

import asyncio
import logging
from datetime import timedelta

import httpx
from pydantic import ValidationError

from aegis.clients.ai_engine import AiEngineClient
from aegis.clients.backend import BackendClient
from aegis.clients.kubernetes import connect
from aegis.executor.cluster.kubernetes import KubernetesCluster
from aegis.executor.ports import ExecutorPorts
from aegis.executor.service import Executor
from aegis.executor.settings import ExecutorSettings
from aegis.kit.clock import clock_from
from aegis.kit.database import Database, wait_until_migrated
from aegis.kit.errors import AegisError
from aegis.kit.logs import set_up_logs
from aegis.kit.runner import Loop, run_service
from aegis.kit.settings import explain_settings
from aegis.kit.signing import PrivateKey, PublicKey

log = logging.getLogger(__name__)


def main() -> None:
    try:
        settings = ExecutorSettings()
    except ValidationError as error:
        raise SystemExit(explain_settings(error, prefix="AEGIS_")) from None
    set_up_logs(settings.replica, level=settings.log_level, form=settings.log_format)
    try:
        asyncio.run(serve(settings))
    except AegisError as error:
        raise SystemExit(f"error: {error.message}\nhint: {error.hint}") from None


async def serve(settings: ExecutorSettings) -> None:
    """Run until told to stop."""
    clock = clock_from(settings.clock)
    keys = [PublicKey.from_text(text.strip()) for text in settings.order_keys.split(",") if text.strip()]
    bearer = {"Authorization": f"Bearer {settings.backend_key.get_secret_value()}"}
    backend = httpx.AsyncClient(base_url=settings.backend_url, headers=bearer, timeout=10)
    known_as = {"Authorization": f"Bearer {settings.ai_engine_key.get_secret_value()}"}
    ai_engine = httpx.AsyncClient(base_url=settings.ai_engine_url, headers=known_as)
    cluster = KubernetesCluster(connect(settings.kubeconfig), clock)
    ports = ExecutorPorts(
        settings=settings,
        clock=clock,
        database=Database(settings.database_url.get_secret_value()),
        cluster=cluster,
        backend=BackendClient(backend),
        verifier=AiEngineClient(ai_engine),
        order_keys={key.id: key for key in keys},
        witness_key=PrivateKey.from_text(settings.witness_key.get_secret_value()),
    )
    executor = Executor(ports)
    owner_url = settings.migration_database_url
    await wait_until_migrated(
        ports.database, "aegis.executor", owner_url=owner_url.get_secret_value() if owner_url is not None else None
    )

    async def close() -> None:
        await ports.database.close()
        await cluster.close()
        await backend.aclose()
        await ai_engine.aclose()

    loops = [
        Loop("fetch", executor.fetch, timedelta()),
        Loop("orders", executor.step, settings.step_interval),
        Loop("monitor", executor.monitor, settings.monitor_interval),
    ]
    log.info("listening on %s:%s, cluster %s", settings.host, settings.port, settings.cluster_id)
    await run_service(executor.app, host=settings.host, port=settings.port, clock=clock, loops=loops, close=close)


if __name__ == "__main__":
    main()

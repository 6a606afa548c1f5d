"""The AI Engine as a process: a real cluster, real metrics, real PostgreSQL, real time."""

import asyncio
import logging
from functools import partial

import httpx
import httpx2
from pydantic import ValidationError

from aegis.ai_engine.pipeline import Pipeline
from aegis.ai_engine.ports import AiEnginePorts, MetricsSource
from aegis.ai_engine.repository import Repository
from aegis.ai_engine.service import AiEngine
from aegis.ai_engine.settings import AiEngineSettings
from aegis.ai_engine.sources.kubernetes import KubernetesSource, pod_metrics
from aegis.ai_engine.sources.metrics_server import MetricsServer
from aegis.ai_engine.sources.prometheus import PrometheusSource
from aegis.clients.backend import BackendClient
from aegis.clients.kubernetes import connect
from aegis.kit.clock import Clock, clock_from
from aegis.kit.database import Database, wait_until_migrated
from aegis.kit.errors import AegisError
from aegis.kit.logs import set_up_logs
from aegis.kit.runner import Loop, run_service
from aegis.kit.settings import explain_settings

log = logging.getLogger(__name__)


def main() -> None:
    try:
        settings = AiEngineSettings()
    except ValidationError as error:
        raise SystemExit(explain_settings(error, prefix="AEGIS_")) from None
    set_up_logs("ai-engine", level=settings.log_level, form=settings.log_format)
    try:
        asyncio.run(serve(settings))
    except AegisError as error:
        raise SystemExit(f"error: {error.message}\nhint: {error.hint}") from None


async def serve(settings: AiEngineSettings) -> None:
    """Run until told to stop."""
    clock = clock_from(settings.clock)
    database = Database(settings.database_url.get_secret_value())
    connection = connect(settings.kubeconfig, read_timeout=settings.watch_timeout * 1.5)
    cluster = KubernetesSource(connection, clock, watch_timeout=settings.watch_timeout)
    bearer = {"Authorization": f"Bearer {settings.backend_key.get_secret_value()}"}
    backend = httpx.AsyncClient(base_url=settings.backend_url, headers=bearer, timeout=10)
    prometheus = httpx.AsyncClient(base_url=settings.prometheus_url, headers=_bearer(settings), timeout=30)
    pipeline = Pipeline(cluster_id=settings.cluster_id, metrics_interval=settings.metrics_interval)
    ports = AiEnginePorts(
        clock=clock,
        cluster=cluster,
        metrics=_metrics(settings, prometheus, connection, pipeline, clock),
        backend=BackendClient(backend),
        store=Repository(database),
    )
    engine = AiEngine(ports, settings, pipeline)
    owner_url = settings.migration_database_url
    await wait_until_migrated(
        database, "aegis.ai_engine", owner_url=owner_url.get_secret_value() if owner_url is not None else None
    )
    cluster.start()

    async def close() -> None:
        await cluster.close()
        await backend.aclose()
        await prometheus.aclose()
        await database.close()

    loops = [
        Loop("step", engine.step, settings.step_interval),
        Loop("exchange", engine.exchange, settings.step_interval / 5),
    ]
    log.info("listening on %s:%s, cluster %s", settings.host, settings.port, settings.cluster_id)
    await run_service(engine.app, host=settings.host, port=settings.port, clock=clock, loops=loops, close=close)


def _bearer(settings: AiEngineSettings) -> dict[str, str]:
    token = settings.prometheus_token
    return {"Authorization": f"Bearer {token.get_secret_value()}"} if token is not None else {}


def _metrics(
    settings: AiEngineSettings,
    prometheus: httpx.AsyncClient,
    connection: httpx2.AsyncClient,
    pipeline: Pipeline,
    clock: Clock,
) -> MetricsSource:
    if settings.prometheus_url:
        return PrometheusSource(prometheus, stale_after=settings.stale_after)
    return MetricsServer(partial(pod_metrics, connection), pipeline.inventory, clock)


if __name__ == "__main__":
    main()

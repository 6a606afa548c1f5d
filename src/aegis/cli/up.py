"""The command `aegis up`: Aegis on this machine, on a simulated cluster or a real one."""

import asyncio
import contextlib
import difflib
import functools
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from aegis.ai_engine.settings import AiEngineSettings
from aegis.backend.settings import BackendSettings
from aegis.cli.api import log_in, remember
from aegis.cli.doctor import refuse_unusable
from aegis.cli.files import writable_folder
from aegis.cli.output import console
from aegis.cli.platform.cluster import SimulatedCluster
from aegis.cli.platform.kubeconfigs import refuse_missing
from aegis.cli.platform.kubectl import find_kubectl
from aegis.cli.platform.secrets import Secrets
from aegis.cli.platform.stack import Ports, Stack, Surroundings
from aegis.cli.settings import CliSettings
from aegis.executor.settings import ExecutorSettings
from aegis.kit import embedded
from aegis.kit.clock import SystemClock
from aegis.kit.errors import InvalidError
from aegis.simulator.together.databases import Databases

_COMMAND = sys.argv[0]
"""As it was typed: it may not be on PATH."""
_LABEL = "{} label namespace {} aegis.dev/mode=auto"
_PODS_TO_SPARE = 2
_A_MOMENT = timedelta(seconds=0.5)
_WATCH = f"{_COMMAND} remediations list"
SEEDS = 10**6


def up(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Look after this cluster instead of a simulated one. A kubeconfig, or a folder with "
            "ai-engine.kubeconfig and executor.kubeconfig: each service as its own account.",
        ),
    ] = None,
    prometheus: Annotated[str, typer.Option(help="Its metrics; none means objects and metrics-server alone.")] = "",
    seed: Annotated[int | None, typer.Option(help="Draws the simulated cluster.")] = None,
    rate: Annotated[float, typer.Option(min=1, max=100, help="Seconds of the simulated cluster per second.")] = 1.0,
    logs: Annotated[Path | None, typer.Option(help="Where the logs go; a temporary folder if not given.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting for the services: AEGIS_METRICS_INTERVAL=PT5S. As often as you like."),
    ] = None,
) -> None:
    """Run the three services here until Ctrl-C. Everything is fresh, and gone afterwards.

    A new installation acts on nothing: `aegis resume` lets it, and only where `aegis.dev/mode` says so.
    """
    given = _read_settings(settings or [])
    if kubeconfig is not None:
        refuse_missing(kubeconfig)
        asyncio.run(refuse_unusable(kubeconfig))
    if logs is not None:
        writable_folder(logs, "--logs")
    drawn = seed if seed is not None else random.SystemRandom().randrange(SEEDS)
    asyncio.run(_run(kubeconfig, prometheus, drawn, rate, logs, given))


def _read_settings(given: list[str]) -> dict[str, str]:
    """Read `AEGIS_NAME=value`; a name is one of the services', who judge what the value means."""
    settings = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name.startswith("AEGIS_"):
            raise InvalidError(
                f"{one!r} is no setting", field="--set", value=one, hint="Such as AEGIS_METRICS_INTERVAL=PT5S."
            )
        if name.upper() not in _known_settings():
            near = difflib.get_close_matches(name.upper(), _known_settings(), n=3, cutoff=0)
            raise InvalidError(
                f"{name} is no setting of any of the three services", field="--set", value=one,
                hint=f"The nearest are {', '.join(near)}; each service's settings.py has them all.",
            )  # fmt: skip
        settings[name] = value
    return settings


@functools.cache
def _known_settings() -> list[str]:
    services = (BackendSettings, AiEngineSettings, ExecutorSettings)
    return sorted({f"AEGIS_{name.upper()}" for service in services for name in service.model_fields})


async def _run(
    kubeconfig: Path | None,
    prometheus: str,
    seed: int,
    rate: float,
    logs: Path | None,
    settings: Mapping[str, str],
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with contextlib.AsyncExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-up-")))
        databases = Databases(stack.enter_context(embedded.postgres()))
        redis_url = stack.enter_context(embedded.redis())
        await databases.prepare()
        clock = "system" if kubeconfig is not None or rate == 1 else f"scaled:{time.time()}:{rate}"  # noqa: TID251
        kubectl = find_kubectl() or "kubectl"
        if kubeconfig is None:
            cluster = SimulatedCluster(folder / "cluster", {"name": "up", "seed": seed}, clock)
            await cluster.start()
            stack.push_async_callback(cluster.stop)
            given, prometheus = cluster.folder, cluster.prometheus_url
            about = f"cluster: simulated, seed {seed}"
            steps = _break_and_watch(kubectl, given / "admin.kubeconfig", *await _well_deployment(cluster))
        else:
            given = kubeconfig
            about = f"cluster: yours, by {kubeconfig}"
            steps = [f"{_COMMAND} resume", _LABEL.format(kubectl, "NAMESPACE"), _WATCH]
        secrets = Secrets()
        surroundings = Surroundings(
            databases=await databases.clone("up"),
            redis_url=redis_url,
            kubeconfig=given,
            prometheus_url=prometheus,
            cluster_id="up",
            clock=clock,
            settings=settings,
        )
        aegis = Stack(ports=Ports.preferred(), secrets=secrets, surroundings=surroundings, logs=folder)
        stack.push_async_callback(aegis.stop)
        await aegis.start()
        session = await asyncio.to_thread(log_in, aegis.backend_url, "admin", secrets.admin_password)
        remember(session, CliSettings().home)
        lines = [
            f"[bold]Aegis is up[/bold]: {aegis.backend_url} (API at /docs)",
            f"person admin, password {secrets.admin_password}",
            f"logs: {folder}",
            f"public key: {secrets.public_key}; the Executor's witness key: {secrets.witness_public_key}",
            about,
            "",
            "It is paused, and in mode observe everywhere. In another terminal (you are logged in there already):",
            "",
            *steps,
        ]
        # Whoever copies a line gets all of it, however narrow the terminal is.
        console.print("\n".join(lines), highlight=False, soft_wrap=True)
        await stopping.wait()
        console.print("stopping")


async def _well_deployment(cluster: SimulatedCluster) -> tuple[str, str]:
    """Wait until a Deployment is well that has pods to spare, and return its namespace and name."""
    while True:
        for one in await cluster.health():
            if one["kind"] == "Deployment" and one["healthy"] and one["ready"] >= _PODS_TO_SPARE:
                return one["namespace"], one["workload"]
        await SystemClock().sleep(_A_MOMENT)


def _break_and_watch(kubectl: str, kubeconfig: Path, namespace: str, name: str) -> list[str]:
    return [
        f"export KUBECONFIG={kubeconfig}",
        f"{_COMMAND} resume",
        _LABEL.format(kubectl, namespace),
        f"{kubectl} -n {namespace} set image deployment/{name} '*=registry.example/no/such:image'",
        _WATCH,
    ]

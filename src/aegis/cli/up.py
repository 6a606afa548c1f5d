"""The command `aegis up`: Aegis on this machine, on a simulated cluster or a real one."""

import asyncio
import contextlib
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from aegis.cli.api import log_in, remember
from aegis.cli.output import console
from aegis.cli.platform.cluster import SimulatedCluster
from aegis.cli.platform.databases import Databases
from aegis.cli.platform.secrets import Secrets
from aegis.cli.platform.stack import Ports, Stack, Surroundings
from aegis.cli.settings import CliSettings
from aegis.kit import embedded
from aegis.kit.errors import InvalidError

SEEDS = 10**6


def up(
    kubeconfig: Annotated[Path | None, typer.Option(help="Look after this cluster instead of a simulated one.")] = None,
    prometheus: Annotated[str, typer.Option(help="Its metrics; none means objects and metrics-server alone.")] = "",
    seed: Annotated[int | None, typer.Option(help="Draws the simulated cluster.")] = None,
    rate: Annotated[float, typer.Option(min=1, max=100, help="Seconds of the simulated cluster per second.")] = 1.0,
    logs: Annotated[Path | None, typer.Option(help="Where the logs go; a temporary folder if not given.")] = None,
) -> None:
    """Run the three services here until Ctrl-C. Everything is fresh, and gone afterwards.

    A new installation acts on nothing: `aegis resume` lets it, and only where `aegis.dev/mode` says so.
    """
    if kubeconfig is not None and not kubeconfig.is_file():
        raise InvalidError(f"there is no kubeconfig {kubeconfig}", field="--kubeconfig", value=str(kubeconfig))
    drawn = seed if seed is not None else random.SystemRandom().randrange(SEEDS)
    asyncio.run(_run(kubeconfig, prometheus, drawn, rate, logs))


async def _run(kubeconfig: Path | None, prometheus: str, seed: int, rate: float, logs: Path | None) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with contextlib.AsyncExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-up-")))
        folder.mkdir(parents=True, exist_ok=True)
        databases = Databases(stack.enter_context(embedded.postgres()))
        redis_url = stack.enter_context(embedded.redis())
        await databases.prepare()
        clock = "system" if kubeconfig is not None or rate == 1 else f"scaled:{time.time()}:{rate}"  # noqa: TID251
        given: Path
        if kubeconfig is None:
            cluster = SimulatedCluster(folder / "cluster", {"name": "up", "seed": seed}, clock)
            await cluster.start()
            stack.push_async_callback(cluster.stop)
            given, prometheus = cluster.folder, cluster.prometheus_url
        else:
            given = kubeconfig
        secrets = Secrets()
        surroundings = Surroundings(
            databases=await databases.clone("up"),
            redis_url=redis_url,
            kubeconfig=given,
            prometheus_url=prometheus,
            cluster_id="up",
            clock=clock,
        )
        aegis = Stack(ports=Ports.preferred(), secrets=secrets, surroundings=surroundings, logs=folder)
        stack.push_async_callback(aegis.stop)
        await aegis.start()
        session = await asyncio.to_thread(log_in, aegis.backend_url, "admin", secrets.admin_password)
        remember(session, CliSettings().home)
        _tell(aegis, secrets, given, folder, seed if kubeconfig is None else None)
        await stopping.wait()
        console.print("stopping")


def _tell(aegis: Stack, secrets: Secrets, kubeconfig: Path, folder: Path, seed: int | None) -> None:
    admin = kubeconfig / "admin.kubeconfig" if kubeconfig.is_dir() else kubeconfig
    lines = [
        f"[bold]Aegis is up[/bold]: {aegis.backend_url} (API at /docs)",
        f"person admin, password {secrets.admin_password}",
        f"cluster: {'simulated, seed ' + str(seed) if seed is not None else 'yours'}; export KUBECONFIG={admin}",
        f"logs: {folder}; public key: {secrets.public_key}",
        "",
        "It is paused, and in mode observe everywhere. In another terminal (you are logged in there already):",
        "  aegis resume",
        "  kubectl label namespace NAMESPACE aegis.dev/mode=auto",
        "  kubectl -n NAMESPACE set image deployment/NAME '*=registry.example/no/such:image'",
        "  aegis remediations list",
    ]
    console.print("\n".join(lines), highlight=False)

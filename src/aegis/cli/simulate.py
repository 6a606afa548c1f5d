"""`aegis simulate`: the simulated cluster as a process. `aegis demo` and `aegis up` start it."""

import asyncio
import secrets
import signal
from pathlib import Path
from typing import Annotated

import typer

from aegis.catalogue import rbac
from aegis.kit.clock import clock_from
from aegis.kit.logs import set_up_logs
from aegis.kit.pace import Pace
from aegis.simulator.kubernetes.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES
from aegis.simulator.kubernetes.serving import Served, kubeconfig
from aegis.simulator.kubernetes.users import ADMIN, User, Users, service_account
from aegis.simulator.world import scenario as scenarios
from aegis.simulator.world.governor import Governor
from aegis.simulator.world.process import serve_world
from aegis.simulator.world.world import World

NAMESPACE = "aegis"


def simulate(
    scenario: Annotated[Path, typer.Argument(help="A scenario's YAML file.")],
    folder: Annotated[Path, typer.Option(help="Where kubeconfigs are written.")],
    prometheus_port: Annotated[int, typer.Option(help="Where signals are served.")],
    kubernetes_port: Annotated[int, typer.Option(help="Where the Kubernetes API is served; 0 takes a free one.")] = 0,
    clock: Annotated[str, typer.Option(help="`system`, `scaled:<epoch>:<rate>` or `paced:<file>`.")] = "system",
) -> None:
    """Run a simulated cluster until told to stop."""
    set_up_logs("cluster")
    asyncio.run(_run(scenario, folder, prometheus_port, kubernetes_port, clock))


async def _run(scenario: Path, folder: Path, prometheus_port: int, kubernetes_port: int, clock: str) -> None:
    world = scenarios.load(scenario).world(clock_from(clock))
    paced = clock.partition("paced:")[2]
    users = Users({secrets.token_hex(16): ADMIN})
    _admit(world, users)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve_world(
        world,
        kubernetes_port=kubernetes_port,
        prometheus_port=prometheus_port,
        tls=True,
        users=users,
        governor=Governor(Pace(Path(paced))) if paced else None,
        stopping=stopping,
        started=lambda served: _write_kubeconfigs(served.kubernetes, users, folder),
    )


def _admit(world: World, users: Users) -> None:
    """Give the services what the catalogue says they need, and nothing else."""
    world.store.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    for service, needed in rbac.RULES_OF.items():
        users.add(secrets.token_hex(16), service_account(NAMESPACE, service))
        world.store.create(CLUSTERROLES, rbac.cluster_role(service, needed()))
        world.store.create(CLUSTERROLEBINDINGS, rbac.cluster_role_binding(service, namespace=NAMESPACE))


def _write_kubeconfigs(served: Served, users: Users, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for token, user in users.all():
        written = folder / f"{_short(user)}.kubeconfig.new"
        written.touch(mode=0o600)
        written.write_text(kubeconfig(served, token=token))
        written.rename(folder / f"{_short(user)}.kubeconfig")  # whoever waits for it finds it whole


def _short(user: User) -> str:
    return user.name.rpartition(":")[2]

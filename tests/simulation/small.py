"""Small worlds and plain events, for runs that are about one thing."""

from datetime import timedelta
from typing import Any

from aegis.simulator.together.living import still_open
from aegis.simulator.together.schedules import Guarded, Schedule, canary_of, label_namespaces, propose, say, step
from aegis.simulator.together.together import Together
from aegis.simulator.world.programs import Program
from aegis.simulator.world.topologies import Part, a_node
from aegis.simulator.world.traffic import Traffic

WARM_S = 60.0
_NAMES = ("web", "cart", "search", "orders", "payments", "profile")
_WAITS = {"settling": 30.0, "blocked": 60.0, "awaiting_approval": 100.0, "held": 400.0}
"""How long to wait, in seconds, where all that is open only waits: looks and deadlines are seconds apart."""


def shop(seed: int, *, pods: int = 1, workloads: int = 1) -> Guarded:
    """Deployments that do not know each other, on one node; the first is `@entry`, the others are `@middle`."""
    parts = [
        Part("middle" if number else "entry", "shop", name, Program(start_s=0.5), pods)
        for number, name in enumerate(_NAMES[:workloads])
    ]
    made = Guarded(parts, [a_node("node1", cpu="8")], {part.key: Traffic(rps=5.0) for part in parts})
    made.canary = canary_of(seed)
    return made


def schedule(
    seed: int,
    *,
    pods: int = 1,
    workloads: int = 1,
    mode: str | None = "auto",
    resumed: bool = True,
    lasts_s: float = 10.0,
    **given: Any,
) -> Schedule:
    """Return a run in which nothing has happened yet, but that an admin let Aegis act."""
    topology = shop(seed, pods=pods, workloads=workloads)
    made = Schedule(seed, topology, lasts_s=lasts_s, **{"has_metrics": False, "warm_s": WARM_S, **given})
    made.furnish.append(label_namespaces(mode))
    return made.at(0, say("ada", "resume")) if resumed else made


BAD_REVISION = step(do="deploy", target="@entry", tag="2.0.0", behaviour={"exit_at_start": 1})
NEVER_READY = step(do="behave", target="@entry", changes={"never_ready": True}, survives_restart=True)
READY = step(do="behave", target="@entry", changes={"never_ready": False}, survives_restart=True)
SCALE_OUT: dict[str, Any] = {"kind": "scale_workload", "by": 1}


def bad_revision(made: Schedule) -> Schedule:
    """Let a revision be deployed that exits: the AI Engine finds the cause, and a rollback heals it."""
    return made.at(5, BAD_REVISION)


def hopeless(made: Schedule, **given: Any) -> Schedule:
    """Let the AI Engine propose to scale out what cannot become ready: it does not help, and is taken back."""
    made.at(5, NEVER_READY)
    return made.at(10, propose("@entry", SCALE_OUT, **given))


async def play_out(
    run: Together, *, proposals: int = 0, step_s: float = 5.0, within: timedelta = timedelta(hours=2)
) -> None:
    """Let time pass until so much was proposed and all that was is over."""
    given_up_at = run.clock.now() + within
    while run.clock.now() < given_up_at:
        open_now = await still_open(run)
        if not open_now and await run.records.fetchval("SELECT count(*) FROM remediations") >= proposals:
            return
        wait_s = min((max(step_s, _WAITS.get(one, step_s)) for one in open_now), default=step_s)
        await run.tick(timedelta(seconds=wait_s))

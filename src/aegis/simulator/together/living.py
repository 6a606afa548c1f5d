"""Live a schedule to its end, and judge what it left behind."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from aegis.backend.remediations.lifecycle import CONCLUDED, following
from aegis.contracts.actions import ActionKind
from aegis.contracts.remediations import RemediationState
from aegis.executor.guardrails.checks import CHECKS
from aegis.executor.guardrails.reservations import RESERVATIONS
from aegis.simulator.together.databases import Databases
from aegis.simulator.together.gather import gather
from aegis.simulator.together.schedules import Event, Schedule
from aegis.simulator.together.together import Together
from aegis.simulator.world.invariants import RULES, judge
from aegis.simulator.world.invariants.evidence import Evidence, Ruling

BUSY_TICK_S, WAITING_TICK_S, IDLE_TICK_S, LONG_TICK_S = 5.0, 15.0, 20.0, 400.0
VERDICTS_FOR_S = 200.0
"""So long after the last event the AI Engine still gives verdicts; then it is gone, and all must end without it."""
LONGEST_S = 5 * 3600.0
_NOW = {"proposed", "rehearsing", "deciding", "ordered", "acting", "undoing", "pending"}
_SOON = {"settling", "blocked", "awaiting_approval"}
_OPEN = f"""
SELECT state, count(*) FROM remediations
WHERE state NOT IN ({", ".join(f"'{one}'" for one in CONCLUDED)}) GROUP BY state
"""  # noqa: S608 (states of our own)
_UNDER_WAY = """
SELECT stage, count(*) FROM journal
WHERE NOT concluded AND NOT (stage = 'held' AND lease_until IS NULL) GROUP BY stage
"""
_FOR_A_PERSON = "SELECT order_id FROM journal WHERE stage = 'held' AND lease_until IS NULL"

GUARDRAILS = (
    *(check.__name__ for check in CHECKS), "preflight", "blast_radius", "dry_run", "plan", "preconditions", "cluster",
    *(reservation.__name__ for reservation in RESERVATIONS),
)  # fmt: skip


@dataclass
class Exercised:
    """How often each thing came up."""

    transitions: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    guardrails: Counter[str] = field(default_factory=Counter)
    invariants: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Exercised") -> None:
        for name in vars(self):
            getattr(self, name).update(getattr(other, name))

    def never(self) -> list[str]:
        """Return what never came up, of all that can."""
        known: dict[str, list[str]] = {
            "transitions": [f"{now}→{then}" for now in RemediationState for then in following(now)],
            "actions": [str(one) for one in ActionKind],
            "guardrails": list(GUARDRAILS),
            "invariants": list(RULES),
        }
        return [f"{kind}: {one}" for kind, names in known.items() for one in names if not getattr(self, kind)[str(one)]]

    def to_plain(self) -> dict[str, dict[str, int]]:
        return {name: dict(counter) for name, counter in vars(self).items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Mapping[str, int]]) -> "Exercised":
        return cls(**{name: Counter(counts) for name, counts in plain.items()})


@dataclass(frozen=True)
class Lived:
    """A schedule, lived and judged."""

    seed: int
    story: list[str]
    rulings: Mapping[str, Ruling]
    surprises: list[str]
    evidence: Evidence
    exercised: Exercised

    @property
    def broken(self) -> list[str]:
        problems = [f"{name}: {why}" for name, ruling in self.rulings.items() for why in ruling.broken]
        return problems + [f"surprise: {one}" for one in self.surprises]


@contextlib.asynccontextmanager
async def begin(
    schedule: Schedule, databases: Databases, name: str, urls: Mapping[str, str]
) -> AsyncIterator[Together]:
    """Furnish a world, install Aegis in it, and clean up afterwards; `name` and `urls` are a clone's."""
    run = Together(
        seed=schedule.seed,
        topology=schedule.topology,
        databases=databases,
        name=name,
        urls=urls,
        replicas_of=schedule.replicas,
        has_metrics=schedule.has_metrics,
        warm_s=schedule.warm_s,
        executor_settings=schedule.executor_settings,
        backend_settings=schedule.backend_settings,
        prepared=schedule.furnish_all,
    )
    run.canaries = [b"canary-"]
    await run.start()
    try:
        yield run
    finally:
        await run.close()


async def live(run: Together, schedule: Schedule) -> Lived:
    """Let a schedule happen, then everything end, and judge it."""
    await happen(run, schedule)
    return await conclude(run)


async def conclude(run: Together, *, within_s: float = LONGEST_S) -> Lived:
    """Let everything end, and judge what is left behind."""
    await end(run, within_s=within_s)
    await _countersign(run)
    evidence = await gather(run)
    rulings = judge(evidence)
    story = [f"{(at - run.began_at).total_seconds():6.0f} s  {what}" for at, what in run.story]
    counts = exercised(run, evidence, rulings)
    return Lived(run.seed, story, rulings, run.network.surprises, evidence, counts)


async def _countersign(run: Together) -> None:
    """Let the Executor countersign what was audited while it, or the Backend, was away to the end."""
    for replica in (*run.replicas["backend"], run.replicas["executor"][0]):
        if not replica.is_alive:
            await replica.start()
    await run.turn("executor.monitor")


async def happen(run: Together, schedule: Schedule) -> None:
    for event in sorted(schedule.events, key=lambda one: one.at_s):
        await _pass(run, event.at_s)
        await _do(run, event)
    await _pass(run, schedule.lasts_s)


async def _do(run: Together, event: Event) -> None:
    run.story.append((run.clock.now(), await event.do(run)))


async def _pass(run: Together, until_s: float) -> None:
    """Let time pass in large ticks while nothing is under way."""
    until = run.began_at + timedelta(seconds=until_s)
    while run.clock.now() < until:
        tick_s = _tick_s(await still_open(run))
        await run.tick(min(timedelta(seconds=tick_s), until - run.clock.now()))


async def end(run: Together, *, within_s: float = LONGEST_S) -> None:
    """Calm everything down, and let everything end: for a while with the AI Engine, then without it."""
    run.network.troubles.clear()
    run.api.weather.error_rate = 0.0
    run.is_prometheus_up = run.is_watch_up = True
    for replica in run.all_replicas():
        replica.back_at, replica.crash_at = None, None
    began = run.clock.now()
    while (passed := (run.clock.now() - began).total_seconds()) < within_s:
        open_now = await still_open(run)
        if not open_now:
            return
        if passed >= VERDICTS_FOR_S:
            for replica in run.replicas["ai-engine"]:
                if replica.is_alive:
                    await replica.die(back_at=run.clock.now() + timedelta(days=1))
        in_a_hurry = passed < VERDICTS_FOR_S or (_NOW | {"settling"}) & open_now.keys()
        await run.tick(timedelta(seconds=_tick_s(open_now) + WAITING_TICK_S if in_a_hurry else LONG_TICK_S))


def _tick_s(open_now: Mapping[str, int]) -> float:
    if _NOW & open_now.keys():
        return BUSY_TICK_S
    return WAITING_TICK_S if _SOON & open_now.keys() else IDLE_TICK_S


async def still_open(run: Together) -> dict[str, int]:
    """Return what still waits for something, by state; a change held for a person waits for nothing."""
    found = {row[0]: int(row[1]) for row in await run.records.fetch(_OPEN)}
    persons = [row[0] for row in await run.journal.fetch(_FOR_A_PERSON)]
    held = await run.records.fetchval(
        "SELECT count(*) FROM remediations WHERE state = 'held' AND order_id = ANY($1)", persons
    )
    if held and found.get("held") == held:
        del found["held"]
    for stage, count in await run.journal.fetch(_UNDER_WAY):
        # The Backend may have given up on what the Executor still carries out.
        found.setdefault("pending" if stage == "received" else stage, int(count))
    if unsaid := await run.journal.fetchval("SELECT count(*) FROM outbox"):
        found["pending"] = int(unsaid)
    return found


def exercised(run: Together, evidence: Evidence, rulings: Mapping[str, Ruling]) -> Exercised:
    """Count what came up in a run."""
    counts = Exercised(troubles=Counter(run.network.happened))
    counts.troubles["deaths"] = sum(one.deaths for one in run.all_replicas())
    for entry in evidence.entries:
        subject, _, verb = entry.event.partition(":")
        if subject == "remediation" and "from" in entry.detail:
            counts.transitions[f"{entry.detail['from']}→{verb}"] += 1
    for _, order_id in evidence.acts():
        row = evidence.remediation_of(order_id)
        if row is not None:
            counts.actions[row["proposal"]["action"]["kind"]] += 1
    for row in evidence.tables["remediations"]:
        counts.guardrails.update(check["name"] for check in row["checks"] if check["verdict"] != "passed")
    for row in evidence.tables["outcomes"]:
        if row["body"]["guardrail"]:
            counts.guardrails[row["body"]["guardrail"]] += 1
    counts.invariants.update({name: ruling.looked_at for name, ruling in rulings.items()})
    return counts

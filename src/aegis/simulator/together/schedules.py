"""What goes wrong in a run, drawn from a seed: in the cluster, among people, on the wires, in the services."""

import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from aegis.contracts.actions import Action
from aegis.contracts.diagnoses import CauseKind
from aegis.contracts.proposals import Proposal
from aegis.contracts.targets import TargetRef
from aegis.kit.errors import AegisError
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import Object, copy_of
from aegis.simulator.kubernetes.resources import DEPLOYMENTS, HPAS, NODES, PODS, SECRETS, Resource
from aegis.simulator.together.network import CALM, Trouble
from aegis.simulator.together.replicas import Kind
from aegis.simulator.together.together import CLUSTER, KINDS, NAMESPACE, Together
from aegis.simulator.world.faults import STEP
from aegis.simulator.world.invariants.evidence import Span
from aegis.simulator.world.network import resource_of
from aegis.simulator.world.topologies import Topology, TopologySpec, draw

GUARDRAILS = "aegis-guardrails"
Do = Callable[[Together], Awaitable[str]]


@dataclass(frozen=True)
class Event:
    """Something happens, so many seconds after Aegis was installed."""

    at_s: float
    do: Do


@dataclass
class Schedule:
    """One run, before it is lived."""

    seed: int
    topology: Topology
    replicas: dict[Kind, int] = field(default_factory=dict)
    has_metrics: bool = True
    lasts_s: float = 330.0
    warm_s: float = 900.0
    """For so long the cluster has been running when Aegis is installed."""
    furnish: list[Callable[[Together], None]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    executor_settings: dict[str, Any] = field(default_factory=dict)
    backend_settings: dict[str, Any] = field(default_factory=dict)

    def at(self, at_s: float, do: Do) -> "Schedule":
        self.events.append(Event(at_s, do))
        return self

    def furnish_all(self, run: Together) -> None:
        for furnish in self.furnish:
            furnish(run)


class Guarded(Topology):
    """A topology whose containers hold values that nobody may ever see elsewhere."""

    canary: str = ""

    def manifests(self) -> list[tuple[Resource, Object]]:
        found = super().manifests()
        for _, manifest in found:
            template = manifest.get("spec", {}).get("template")
            if template is not None:
                template["spec"]["containers"][0]["env"] = [{"name": "API_KEY", "value": self.canary}]
        namespaces = sorted({part.namespace for part in self.parts})
        secret = {"stringData": {"password": f"{self.canary}-secret"}}
        return found + [(SECRETS, {"metadata": {"name": "vault", "namespace": one}, **secret}) for one in namespaces]


def furnished(seed: int, spec: TopologySpec) -> Guarded:
    drawn = draw(seed, spec)
    guarded = Guarded(drawn.parts, drawn.nodes, drawn.traffic, drawn.extras)
    guarded.canary = canary_of(seed)
    return guarded


def canary_of(seed: int) -> str:
    return f"canary-{seed}-never-shown"


# Parts of schedules


def step(**given: Any) -> Do:
    """A step in the world; one that makes no sense there is refused, as a person would be."""

    async def do(run: Together) -> str:
        try:
            return run.world.do(STEP.validate_python(given))
        except (AegisError, ApiError) as refused:
            return f"{given['do']} was refused: {refused}"

    return do


def say(name: str, method: str, *arguments: Any) -> Do:
    """Somebody says something to the Backend."""

    async def do(run: Together) -> str:
        answer = await getattr(run.person(name), method)(*arguments)
        return f"{name}: {method} -> {answer.status_code if answer is not None else 'no answer'}"

    return do


def label_namespaces(mode: str | None) -> Callable[[Together], None]:
    def furnish(run: Together) -> None:
        for namespace in sorted({part.namespace for part in run.topology.parts}):
            marked = {"do": "label", "namespace": namespace, "labels": {"aegis.dev/mode": mode}}
            run.world.do(STEP.validate_python(marked))

    return furnish


def label(target: str, **labels: str | None) -> Do:
    return step(do="label", target=target, labels={key.replace("__", "/"): value for key, value in labels.items()})


def mark(target: str, labels: dict[str, str]) -> Callable[[Together], None]:
    def furnish(run: Together) -> None:
        run.world.do(STEP.validate_python({"do": "label", "target": target, "labels": labels}))

    return furnish


def owned_by_an_operator(target: str) -> Callable[[Together], None]:
    def furnish(run: Together) -> None:
        found = run.world.find(target)
        resource = resource_of(found.kind)
        changed = copy_of(run.world.store.get(resource, found.namespace, found.name))
        changed["metadata"]["ownerReferences"] = [
            {"apiVersion": "db.example/v1", "kind": "Ledger", "name": "main", "uid": "u-1", "controller": True}
        ]
        run.world.store.update(resource, changed)

    return furnish


def autoscaled(target: str) -> Callable[[Together], None]:
    def furnish(run: Together) -> None:
        found = run.world.find(target)
        if run.world.store.find(HPAS, found.namespace, found.name) is None:
            metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
            spec = {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": found.kind, "name": found.name},
                "minReplicas": 2, "maxReplicas": 6, "metrics": [{"type": "Resource", "resource": metric}],
            }  # fmt: skip
            meta = {"name": found.name, "namespace": found.namespace}
            run.world.store.create(HPAS, {"metadata": meta, "spec": spec})

    return furnish


def one_bad_pod(target: str) -> Do:
    """All processes go bad, and all pods but one are replaced by good ones."""

    async def do(run: Together) -> str:
        found = run.world.find(target)
        run.world.physics.behave(found, {"error_share": 0.9}, survives_restart=False)
        pods = [
            one["metadata"]["name"]
            for one in run.world.store.list(PODS, found.namespace)
            if (one["metadata"].get("labels") or {}).get("app") == found.name
        ]
        for name in pods[1:]:
            run.world.store.delete(PODS, found.namespace, name)
        return f"one of {len(pods)} pods of {found} is bad"

    return do


def stop_node(number: int, *, for_s: float) -> list[Event]:
    async def cut(run: Together) -> str:
        return await step(do="cut_power", node=_node(run, number))(run)

    async def restore(run: Together) -> str:
        return await step(do="restore_power", node=_node(run, number))(run)

    return [Event(0, cut), Event(for_s, restore)]


def _node(run: Together, number: int) -> str:
    nodes = [str(one["metadata"]["name"]) for one in run.world.store.list(NODES)]
    return nodes[number % len(nodes)]


def config_map(**data: str | None) -> Do:
    """An operator with nothing but kubectl writes the Executor's ConfigMap."""

    async def do(run: Together) -> str:
        now = run.clock.now()
        done = await step(do="set_config", namespace=NAMESPACE, name=GUARDRAILS, data=_dashed(data))(run)
        if data.get("paused") == "true":
            run.operator_pauses.append(Span(now, None, "ConfigMap"))
        elif "paused" in data:
            run.operator_pauses[:] = [_ended(span, now) for span in run.operator_pauses]
        if data.get("freeze"):
            run.freezes.append(Span(now, None, "freeze"))
        elif "freeze" in data:
            run.freezes[:] = [_ended(span, now) for span in run.freezes]
        return done

    return do


def _dashed(data: dict[str, str | None]) -> dict[str, str | None]:
    return {key.replace("_", "-"): value for key, value in data.items()}


def _ended(span: Span, at: Any) -> Span:
    return span if span.until is not None else Span(span.since, at, span.what)


ALWAYS_FROZEN = "- {name: always, cron: '* * * * *', minutes: 5}"


def policy(effect: str, action: str, namespace: str = "*") -> Do:
    """An admin saves one more policy; what it denies is remembered, for the judge."""

    async def do(run: Together) -> str:
        name = f"{effect}-{action}".replace("_", "-")
        source = f"""
apiVersion: aegis.dev/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  rules:
    - {{name: r, effect: {effect}, actions: [{action}], namespaces: ['{namespace}'], when: 'true', because: we say so}}
"""
        answer = await run.person("ada").save_policy(name, source)
        if answer is not None and answer.is_success and effect == "deny":
            namespaces = {part.namespace for part in run.topology.parts} if namespace == "*" else {namespace}
            run.forbidden.extend(Span(run.clock.now(), None, f"{action} {one}") for one in namespaces)
        return f"policy {name}: {answer.status_code if answer is not None else 'no answer'}"

    return do


def kill(kind: Kind, *, number: int = 0, for_s: float = 0.0) -> Do:
    async def do(run: Together) -> str:
        found = run.replicas[kind][number % len(run.replicas[kind])]
        if found.is_alive:
            await found.die(back_at=run.clock.now() + timedelta(seconds=for_s))
        return f"{found.name} was killed for {for_s:.0f} s"

    return do


def crash_soon(kind: Kind, after: int) -> Do:
    """Kill a replica at one of its next boundaries."""

    async def do(run: Together) -> str:
        found = run.replicas[kind][0]
        found.crash_at = len(found.boundaries) + after
        return f"{found.name} will be killed at its boundary {after} from now"

    return do


def trouble(client: str, server: str, given: Trouble) -> Do:
    async def do(run: Together) -> str:
        if given == CALM:
            run.network.troubles.pop((client, server), None)
        else:
            run.network.troubles[client, server] = given
        return f"{client} → {server}: {given}"

    return do


def flag(name: str, value: bool) -> Do:  # noqa: FBT001
    async def do(run: Together) -> str:
        setattr(run, name, value)
        return f"{name} = {value}"

    return do


def weather(rate: float, code: int = 503) -> Do:
    async def do(run: Together) -> str:
        run.api.weather.error_rate, run.api.weather.error_code = rate, code
        return f"the API server answers {code} to {rate:.0%}"

    return do


def alert(target: str, *, resolved: bool) -> Do:
    async def do(run: Together) -> str:
        found = run.world.find(target)
        await run.alert(namespace=found.namespace, kind=found.kind, name=found.name, resolved=resolved)
        return f"alert on {found} {'resolved' if resolved else 'fires'}"

    return do


def ask(name: str, target: str, action: dict[str, Any]) -> Do:
    """A person asks for an action; what depends on the target's size is filled in."""

    async def do(run: Together) -> str:
        found = run.world.find(target)
        given = _completed(action, run.world.store.get(resource_of(found.kind), found.namespace, found.name))
        answer = await run.person(name).request(
            namespace=found.namespace, kind=found.kind, name=found.name, action=given
        )
        return f"{name} asks for {given} on {found}: {answer.status_code if answer is not None else 'no answer'}"

    return do


def propose(target: str, action: dict[str, Any], **given: Any) -> Do:
    """The AI Engine proposes something, sensible or not: the others must be able to live with it.

    `age_s`, `uid`, `pod` (a number), `incident`, `cause`, `confidence`, `signals` and `ladder` may be given.
    """

    async def do(run: Together) -> str:
        found = run.world.find(target)
        obj = run.world.store.get(resource_of(found.kind), found.namespace, found.name)
        owner = _reference("apps/v1", found.kind, obj)
        if "uid" in given:
            owner = owner.model_copy(update={"uid": given["uid"]})
        pod = _pod(run, found.namespace, found.name, given.get("pod", 0)) if action["kind"] == "evict_pod" else None
        now = run.clock.now()
        incident = given.get("incident") or f"case-{run.rng.getrandbits(40):x}"
        proposal = Proposal(
            id=f"pro-{run.rng.getrandbits(40):x}",
            incident_key=incident,
            target=_reference("v1", "Pod", pod) if pod is not None else owner,
            owner=owner,
            action=_ACTION.validate_python(_completed(action, obj)),
            cause=given.get("cause", CauseKind.BAD_REVISION),
            confidence=given.get("confidence", 0.9),
            rationale="it looks like it",
            signals=given.get("signals", ()),
            proposed_by="service:ai-engine",
            proposed_at=now,
            data_as_of=now - timedelta(seconds=given.get("age_s", 0)),
            ladder=tuple(_ACTION.validate_python(_completed(one, obj)) for one in given.get("ladder", ())),
        )
        answer = await run.propose(proposal)
        return f"proposed {action} on {found}: {answer.status_code if answer is not None else 'no answer'}"

    return do


_ACTION: TypeAdapter[Action] = TypeAdapter(Action)


def _completed(action: dict[str, Any], owner: Object) -> dict[str, Any]:
    """Fill in what depends on the target."""
    given = dict(action)
    if given["kind"] == "scale_workload":
        given["replicas"] = owner["spec"]["replicas"] + given.pop("by", 1)
    if given["kind"] == "raise_memory":
        given["container"] = owner["metadata"]["name"]
    return given


def _reference(api_version: str, kind: str, obj: Object) -> TargetRef:
    meta = obj["metadata"]
    return TargetRef(
        cluster_id=CLUSTER, api_version=api_version, kind=kind,
        namespace=meta["namespace"], name=meta["name"], uid=meta["uid"],
    )  # fmt: skip


def _pod(run: Together, namespace: str, app: str, number: int) -> Object | None:
    pods = [
        one for one in run.world.store.list(PODS, namespace) if (one["metadata"].get("labels") or {}).get("app") == app
    ]
    return pods[number % len(pods)] if pods else None


def review(name: str, verdict: str) -> Do:
    """Somebody looks at what awaits approval, and says yes, no, or yes to something else."""

    async def do(run: Together) -> str:
        person, said = run.person(name), []
        for one in await person.remediations(state="awaiting_approval"):
            plan_hash = one["plan"]["hash"] if verdict != "wrong" else "0" * 64
            answer = (
                await person.reject(one["id"]) if verdict == "reject" else await person.approve(one["id"], plan_hash)
            )
            said.append(answer.status_code if answer is not None else 0)
        return f"{name} says {verdict}: {said}"

    return do


def take_back(name: str = "ole") -> Do:
    """Somebody takes back whatever can be taken back."""
    return _conclude(name, "undo", of=("kept", "held", "settling", "acting", "undone"))


def keep(name: str = "ole") -> Do:
    """Somebody keeps for good whatever is held."""
    return _conclude(name, "keep", of=("held", "settling"))


def _conclude(name: str, purpose: str, *, of: Collection[str]) -> Do:
    async def do(run: Together) -> str:
        person, said = run.person(name), []
        for one in await person.remediations():
            if one["state"] in of:
                answer = await person.conclude(one["id"], purpose)
                said.append(answer.status_code if answer is not None else 0)
        return f"{name} would {purpose}: {said}"

    return do


def jump(seconds: float) -> Do:
    async def do(run: Together) -> str:
        await run.jump(timedelta(seconds=seconds))
        return f"the clock jumps {seconds:.0f} s"

    return do


# Faults

BAD_REVISIONS: Sequence[dict[str, Any]] = (
    {"exit_at_start": 1}, {"error_share": 0.6}, {"latency_s": 1.5}, {"exit_after_s": 15.0}, {"never_ready": True},
    {"burst_mib": 900.0, "burst_after_s": 3.0}, {"cpu_s_per_request": 0.2}, {"leak_mib_per_s": 6.0},
)  # fmt: skip
SERVICES = ("@entry", "@middle", "@client")


def a_fault(rng: random.Random, at_s: float) -> list[Event]:  # noqa: C901, PLR0911, PLR0912 (a list of faults)
    """Draw something that goes wrong in the cluster."""
    target = rng.choice(SERVICES)
    drawn = rng.choices(
        ("bad_revision", "bad_env", "memory", "leak", "surge", "pool", "outage", "node", "config", "image", "quota",
         "lone_pod", "crash", "storm"),
        (26, 8, 8, 7, 9, 4, 5, 4, 5, 6, 3, 8, 4, 3),
    )[0]  # fmt: skip
    match drawn:
        case "bad_revision":
            return [Event(at_s, step(do="deploy", target=target, tag="9.9.9", behaviour=rng.choice(BAD_REVISIONS)))]
        case "bad_env":
            env = {"ERROR_SHARE": "0.7", "API_KEY": "canary-rotated-never-shown"}
            return [Event(at_s, step(do="set_env", target=target, env=env))]
        case "memory":
            return [Event(at_s, step(do="set_resources", target=target, limits={"memory": f"{rng.randint(36, 70)}Mi"}))]
        case "leak":
            changes = {"leak_mib_per_s": rng.uniform(0.3, 1.5)}
            return [Event(at_s, step(do="behave", target=target, changes=changes, survives_restart=True))]
        case "surge":
            return [Event(at_s, step(do="surge", factor=rng.uniform(2.5, 6), for_s=rng.uniform(120, 400)))]
        case "pool":
            return [Event(at_s, step(do="behave", target="@store", changes={"latency_s": rng.uniform(0.3, 2)}))]
        case "outage":
            return [Event(at_s, step(do="scale", target="@store", replicas=0))]
        case "node":
            events = stop_node(rng.randrange(8), for_s=rng.uniform(60, 300))
            return [Event(at_s + one.at_s, one.do) for one in events]
        case "config":
            if rng.random() < 0.5:
                return [Event(at_s, step(do="mount", target=target, config_map="nowhere"))]
            return [Event(at_s, step(do="require_key", target=target, config_map="nowhere", key="k"))]
        case "image":
            return [Event(at_s, step(do="set_image", target=target, image="registry.example/none:0"))]
        case "quota":
            return [Event(at_s, _tight_quota(target)), Event(at_s + 5, step(do="restart", target=target))]
        case "lone_pod":
            return [Event(at_s, one_bad_pod(target))]
        case "storm":
            return [Event(at_s, everything_breaks())]
        case _:
            return [Event(at_s, step(do="crash", target=target))]


def everything_breaks() -> Do:
    async def do(run: Together) -> str:
        for each in run.world.store.list(DEPLOYMENTS):
            meta = each["metadata"]
            target = f"{meta['namespace']}/{meta['name']}"
            await step(do="behave", target=target, changes={"never_ready": True}, survives_restart=True)(run)
            await step(do="crash", target=target)(run)
        return "everything breaks at once"

    return do


def _tight_quota(target: str) -> Do:
    async def do(run: Together) -> str:
        namespace = run.world.find(target).namespace
        pods = len(run.world.store.list(PODS, namespace))
        return await step(do="set_quota", namespace=namespace, hard={"pods": str(pods)})(run)

    return do


# Whole schedules


def random_schedule(seed: int) -> Schedule:
    """Draw a run: mostly a healthy surrounding with one or two things wrong with it."""
    rng = random.Random(seed)
    spec = TopologySpec(workloads=rng.choice((3, 3, 4, 4, 5, 6)))
    made = Schedule(seed, furnished(seed, spec), has_metrics=rng.random() < 0.88, lasts_s=rng.uniform(220, 340))
    if rng.random() < 0.15:
        made.replicas = {kind: 2 for kind in KINDS if rng.random() < 0.6}
    _draw_modes(rng, made)
    _draw_owners(rng, made)
    if rng.random() > 0.04:
        made.at(0, say("ada", "resume"))
    for number in range(rng.choice((1, 1, 1, 2))):
        made.events.extend(a_fault(rng, 10 + 90 * number + rng.uniform(0, 40)))
    for draw_some in (_draw_proposals, _draw_policies, _draw_switches, _draw_people, _draw_crashes, _draw_weather):
        draw_some(rng, made)
    return made


def an_action(rng: random.Random) -> dict[str, Any]:
    return dict(
        rng.choice(
            (
                {"kind": "restart_workload", "allow_single_replica": rng.random() < 0.5},
                {"kind": "scale_workload", "by": rng.choice((1, 2, 40))},
                {"kind": "rollback_rollout"},
                {"kind": "raise_memory", "factor": rng.choice((1.3, 3.0))},
                {"kind": "evict_pod"},
            )
        )
    )


def _draw_proposals(rng: random.Random, made: Schedule) -> None:
    """An AI Engine may be wrong: about what, about whom, about when, and how sure it is."""
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        given: dict[str, Any] = {
            "confidence": rng.choice((0.3, 0.65, 0.95, 0.95)),
            "cause": rng.choice((CauseKind.BAD_REVISION, CauseKind.BAD_REVISION, CauseKind.UNKNOWN)),
            "pod": rng.randrange(5),
            "signals": rng.choice(((), ("error_ratio",), ("latency_seconds", "cpu_usage_ratio"), ("no_such",))),
        }
        if rng.random() < 0.15:
            given["age_s"] = rng.choice((30, 60, 600))
        if rng.random() < 0.06:
            given["uid"] = "of-another-life"
        if rng.random() < 0.1:
            given["ladder"] = (an_action(rng),)
        target = rng.choice((*SERVICES, "@store"))
        made.at(rng.uniform(15, made.lasts_s - 60), propose(target, an_action(rng), **given))


def _draw_modes(rng: random.Random, made: Schedule) -> None:
    mode = rng.choices(("auto", "approve", "observe", "off", None), (70, 15, 7, 4, 4))[0]
    made.furnish.append(label_namespaces(mode))
    if rng.random() < 0.15:
        made.furnish.append(mark(rng.choice(SERVICES), {"aegis.dev/mode": rng.choice(("observe", "off", "approve"))}))


def _draw_owners(rng: random.Random, made: Schedule) -> None:
    drawn = rng.random()
    target = rng.choice(SERVICES)
    if drawn < 0.05:
        made.furnish.append(mark(target, {"argocd.argoproj.io/instance": "shop"}))
    elif drawn < 0.10:
        made.furnish.append(mark(target, {"kustomize.toolkit.fluxcd.io/name": "apps"}))
    elif drawn < 0.16:
        made.furnish.append(owned_by_an_operator(target))
    elif drawn < 0.22:
        made.furnish.append(autoscaled(target))


def _draw_policies(rng: random.Random, made: Schedule) -> None:
    actions = ("rollback_rollout", "restart_workload", "scale_workload", "raise_memory", "evict_pod")
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):
        effect = rng.choice(("deny", "allow", "require_approval"))
        made.at(rng.uniform(0, 120), policy(effect, rng.choice(actions)))


def _draw_switches(rng: random.Random, made: Schedule) -> None:
    drawn, at_s = rng.random(), rng.uniform(20, 150)
    until = at_s + rng.choice((30, 120, 300))
    if drawn < 0.10:
        made.at(at_s, say(rng.choice(("ole", "ann")), "pause")).at(until, say("ada", "resume"))
    elif drawn < 0.16:
        made.at(at_s, config_map(paused="true")).at(until, config_map(paused="false"))
    elif drawn < 0.20:
        made.at(at_s, config_map(freeze=ALWAYS_FROZEN)).at(until, config_map(freeze=""))
    elif drawn < 0.22:
        made.at(at_s, config_map(freeze="what is this")).at(until, config_map(freeze=""))
    elif drawn < 0.25:
        made.at(at_s, config_map(policy_floor="rollback_rollout: 1"))


def _draw_people(rng: random.Random, made: Schedule) -> None:
    for at_s in range(40, int(made.lasts_s), 40):
        name = rng.choice(("ann", "ann", "bob", "ada", "eve", "vic", "ole"))
        made.at(at_s, review(name, rng.choices(("approve", "reject", "wrong", "silence"), (60, 8, 10, 22))[0]))
    if rng.random() < 0.25:
        who, target = rng.choice(("ole", "ada", "vic")), rng.choice((*SERVICES, "@store"))
        made.at(rng.uniform(10, 200), ask(who, target, an_action(rng)))
    if rng.random() < 0.2:
        made.at(rng.uniform(100, made.lasts_s), rng.choice((take_back(), take_back(), keep())))
    if rng.random() < 0.2:
        target, told_s = rng.choice(SERVICES), rng.uniform(5, 60)
        made.at(told_s, alert(target, resolved=False)).at(told_s + rng.uniform(5, 120), alert(target, resolved=True))


def _draw_crashes(rng: random.Random, made: Schedule) -> None:
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        kind, at_s = rng.choice(KINDS), rng.uniform(20, made.lasts_s)
        if rng.random() < 0.5:
            made.at(at_s, kill(kind, for_s=rng.choice((0, 10, 40, 120))))
        else:
            made.at(at_s, crash_soon(kind, rng.randint(1, 12)))


def _draw_weather(rng: random.Random, made: Schedule) -> None:
    wires = (
        ("executor", "backend"), ("executor", "cluster"), ("ai-engine", "backend"), ("executor", "ai-engine"),
        ("person", "backend"), ("backend", "ai-engine"),
    )  # fmt: skip
    at_s, for_s = rng.uniform(10, 200), rng.uniform(40, 200)
    if rng.random() < 0.4:
        for client, server in rng.sample(wires, rng.choice((1, 2, 6))):
            given = Trouble(*(rng.choice((0.0, 0.05, 0.25)) for _ in range(4)))
            made.at(at_s, trouble(client, server, given)).at(at_s + for_s, trouble(client, server, CALM))
    if rng.random() < 0.1:
        made.at(at_s, flag("is_prometheus_up", False)).at(at_s + for_s, flag("is_prometheus_up", True))
    if rng.random() < 0.08:
        made.at(at_s, flag("is_watch_up", False)).at(at_s + for_s, flag("is_watch_up", True))
    if rng.random() < 0.12:
        made.at(at_s, weather(rng.choice((0.1, 0.5, 1.0)), rng.choice((429, 500, 503)))).at(at_s + for_s, weather(0))
    if rng.random() < 0.12:
        made.at(rng.uniform(30, 250), jump(rng.choice((20, 70, 700))))

"""The physics: processes, the requests between them, and what a second does to both.

Requests flow as a fluid, second by second: down the call graph as rates, up again as latencies and
failures. What a caller knows of its callees' speed is a step old, as it is in real life. The physics is the
kubelet's container runtime, so nothing here writes a status: a process exits, and the cluster notices.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from aegis.kit.clock import Clock
from aegis.simulator.kubernetes.controllers.quantities import amount
from aegis.simulator.kubernetes.controllers.runtime import Exited, ProbeKind, Running
from aegis.simulator.kubernetes.objects import Object, dig, labels_of
from aegis.simulator.kubernetes.resources import CONFIGMAPS, NODES, SECRETS
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.world.network import Network, ServiceKey, service_key, workload_of
from aegis.simulator.world.processes import Limits, Process, Workload
from aegis.simulator.world.programs import Call, Program, Registry
from aegis.simulator.world.queueing import contention, overflow, stretch, throttled, timed_out
from aegis.simulator.world.telemetry import Telemetry
from aegis.simulator.world.traffic import Traffic

ContainerKey = tuple[str, str]
_GIVE_UP_S = 2.0  # users and callers wait no longer for a server that cannot keep up
_REFUSED_AFTER_S = 0.002
_RATE_MEMORY_S = 2.0
_UNLIMITED_CORES = 2.0
_LOST_POWER = 255
_MEASURED_AFTER = timedelta(seconds=15)


@dataclass
class Answer:
    """How a service answered in this step."""

    latency_s: float = _REFUSED_AFTER_S
    errors: float = 1.0


@dataclass
class Behaviour:
    """A change of how a workload's processes behave that the cluster cannot see."""

    changes: dict[str, Any]
    survives_restart: bool


@dataclass
class Connections:
    """A server's connections in this step: how many there are, and which share of those wanted."""

    held: float = 0.0
    granted: float = 1.0
    most: float | None = None


@dataclass
class _Past:
    """What is remembered of a container between its runs."""

    runs: int = 0
    logs: list[str] = field(default_factory=list)
    previous_logs: list[str] = field(default_factory=list)


class Physics:
    """All processes and all traffic of a world; the container runtime of its kubelets."""

    def __init__(
        self, store: Store, clock: Clock, rng: random.Random, registry: Registry, telemetry: Telemetry
    ) -> None:
        self.registry = registry
        self.traffic: dict[ServiceKey, Traffic] = {}
        self.queues: dict[Workload, float] = {}
        self.network = Network(store)
        self.telemetry = telemetry
        self.answers: dict[ServiceKey, Answer] = {}
        self._store, self._clock, self._rng = store, clock, rng
        self._started_at = clock.now()
        self._processes: dict[ContainerKey, Process] = {}
        self._main: dict[str, Process] = {}
        self._past: dict[ContainerKey, _Past] = {}
        self._behaviours: dict[Workload, Behaviour] = {}
        self._dark: set[str] = set()
        self._order: list[ServiceKey] | None = None
        self._connections: dict[ServiceKey, Connections] = {}
        self._crowding: dict[str, float] = {}
        self._step_s = 1.0
        self._refused: dict[ServiceKey, float] = {}
        self._silent: dict[ServiceKey, float] = {}
        self._outside: dict[ServiceKey, float] = {}
        self._taken: dict[ServiceKey, float] = {}
        self._demand: dict[ServiceKey, float] = {}

    # The container runtime

    def has_power(self, node: str) -> bool:
        return node not in self._dark

    def image_exists(self, image: str) -> bool:
        return image in self.registry

    def start(self, pod: Object, container: Object) -> None:
        uid, name, now = pod["metadata"]["uid"], container["name"], self._clock.now()
        past = self._past.setdefault((uid, name), _Past())
        past.runs += 1
        past.previous_logs, past.logs = past.logs, [f"{now:%H:%M:%S} starting {container['image']}"]
        workload = workload_of(self._store, pod)
        process = Process(
            pod_uid=uid,
            container=name,
            node=pod["spec"]["nodeName"],
            workload=workload,
            revision=_revision_of(pod),
            program=self._program_of(pod, container, workload),
            limits=Limits.of(container),
            started_at=now,
            run=past.runs,
            is_main=name == pod["spec"]["containers"][0]["name"],
        )
        self._processes[uid, name] = process
        if process.is_main:
            self._main[uid] = process
        self._order = None
        self.telemetry.note_start(workload, is_restart=past.runs > 1)

    def stop(self, pod_uid: str, container: str) -> None:
        process = self._processes.get((pod_uid, container))
        if process is not None and process.stops_at is None:
            process.stops_at = self._clock.now() + timedelta(seconds=process.program.stop_s)

    def kill(self, pod_uid: str, container: str) -> None:
        self._processes.pop((pod_uid, container), None)
        self._past.pop((pod_uid, container), None)
        if pod_uid in self._main and self._main[pod_uid].container == container:
            del self._main[pod_uid]
        self._order = None

    def state(self, pod_uid: str, container: str) -> Running | Exited | None:
        process = self._processes.get((pod_uid, container))
        if process is None:
            return None
        return process.exited or Running(process.started_at)

    def probe_failure(self, pod: Object, container: str, kind: ProbeKind) -> str | None:
        process = self._processes.get((pod["metadata"]["uid"], container))
        address = dig(pod, "status", "podIP", default="pod")
        if process is None or not process.listens(self._clock.now()):
            return f'Get "http://{address}:8080/": dial tcp {address}:8080: connect: connection refused'
        program = process.program
        most = program.unlive_above if kind == "liveness" else program.unready_above
        if most is not None and process.utilisation > most:
            return f'Get "http://{address}:8080/": context deadline exceeded (Client.Timeout exceeded)'
        if kind == "readiness" and (program.never_ready or self._lacks(process, program.ready_needs)):
            return "HTTP probe failed with statuscode: 503"
        return None

    def cores_used(self, pod_uid: str) -> float | None:
        now = self._clock.now()
        running = [each for each in self._processes.values() if each.pod_uid == pod_uid and each.is_running]
        if not running or any(now - each.started_at < _MEASURED_AFTER for each in running):
            return None
        return sum(each.cpu_used for each in running)

    def logs(self, pod_uid: str, container: str, *, previous: bool = False) -> list[str]:
        past = self._past.get((pod_uid, container), _Past())
        return list(past.previous_logs if previous else past.logs)

    # What people and mishaps do below the cluster's sight

    def behave(self, workload: Workload, changes: Mapping[str, Any], *, survives_restart: bool) -> None:
        """Change how the processes of a workload behave, now and, if so said, after restarts."""
        self._behaviours[workload] = Behaviour(dict(changes), survives_restart)
        for process in self.processes_of(workload):
            process.program = process.program.changed(changes)
        self._order = None

    def behave_normally(self, workload: Workload) -> None:
        """Take back what `behave` changed, for the processes that start from now on."""
        self._behaviours.pop(workload, None)

    def crash(self, workload: Workload, exit_code: int) -> None:
        """End all processes of a workload."""
        for process in self.processes_of(workload):
            self._end(process, exit_code, self._clock.now(), "crashed")

    def cut_power(self, node: str) -> None:
        self._dark.add(node)
        for process in self._processes.values():
            if process.node == node:
                process.exit(_LOST_POWER, self._clock.now())

    def restore_power(self, node: str) -> None:
        self._dark.discard(node)

    def processes_of(self, workload: Workload) -> list[Process]:
        return [each for each in self._processes.values() if each.workload == workload and each.is_running]

    def processes(self) -> Iterable[Process]:
        return self._processes.values()

    @property
    def seconds(self) -> float:
        """Time since the world began."""
        return (self._clock.now() - self._started_at).total_seconds()

    # One step

    def step(self, step_s: float) -> None:
        now, self._step_s = self._clock.now(), step_s
        if self.network.refresh():
            self._order = None
        self._live(now, step_s)
        if self._order is None:
            self._order = self._callees_first()
        self._share_nodes()
        self._share_connections()
        self._send(now, step_s)
        self._answer_all(now, step_s)
        for service in [each for each in self.answers if each not in self.network.endpoints]:
            del self.answers[service]

    def _live(self, now: datetime, step_s: float) -> None:
        for process in self._processes.values():
            if process.is_running:
                process.live(now, step_s)
                process.drift(self._rng, step_s)
                self._check_needs(process, now)
                self._check_load(process, now, step_s)
                self._note_exit(process)

    def _check_needs(self, process: Process, now: datetime) -> None:
        program = process.program
        if not program.needs or not process.listens(now):
            return
        missing = self._lacks(process, program.needs)
        if missing and not process.is_settled:
            self._end(process, 1, now, f"fatal: cannot reach {missing}")
        process.is_settled = True
        if missing is None:
            process.missing_since = None
        elif process.missing_since is None:
            process.missing_since = now
        elif _is_over(process, now):
            self._end(process, 1, now, f"fatal: {missing} has been gone for too long")

    def _check_load(self, process: Process, now: datetime, step_s: float) -> None:
        keep = max(0.0, 1.0 - step_s / _RATE_MEMORY_S)
        process.recent_rps = process.recent_rps * keep + process.arrivals * (1.0 - keep)
        most = process.program.crash_above_rps
        if most is not None and process.recent_rps > most:
            self._end(process, 2, now, f"panic: index out of range at {process.recent_rps:.0f} requests/s")

    def _end(self, process: Process, code: int, at: datetime, why: str) -> None:
        if not process.is_running:
            return
        self._say(process, at, why)
        process.exit(code, at)

    def _note_exit(self, process: Process) -> None:
        exited = process.exited
        if exited is None:
            return
        if exited.exit_code:
            reason = "out of memory" if exited.oom_killed else f"exited with {exited.exit_code}"
            self._say(process, exited.at, reason)
        if self.queues.get(process.workload) and not self.processes_of(process.workload):
            self.queues[process.workload] = 0.0  # the queue lay in its memory

    def _say(self, process: Process, at: datetime, line: str) -> None:
        past = self._past.get((process.pod_uid, process.container))
        if past is not None:
            past.logs.append(f"{at:%H:%M:%S} {line}")

    def _lacks(self, process: Process, services: Iterable[str]) -> str | None:
        for service in services:
            key = service_key(service, process.workload.namespace)
            if not any(self._listener(uid) for uid in self.network.endpoints.get(key, ())):
                return key
        return None

    def _listener(self, uid: str) -> Process | None:
        process = self._main.get(uid)
        return process if process is not None and process.listens(self._clock.now()) else None

    # Shares of what is scarce

    def _share_nodes(self) -> None:
        wanted: dict[str, float] = defaultdict(float)
        for process in self._processes.values():
            if process.exited is None:
                wanted[process.node] += process.cpu_used
        self._crowding = {}
        for node in self._store.list(NODES):
            name = node["metadata"]["name"]
            cores = amount(dig(node, "status", "allocatable", "cpu", default="4"))
            self._crowding[name] = max(1.0, wanted[name] / max(cores, 0.1))

    def _share_connections(self) -> None:
        """Count the connections each server is asked for, and grant what its limit allows, evenly."""
        wanted: dict[ServiceKey, float] = defaultdict(float)
        for process in self._main.values():
            if process.exited is None and process.listens(self._clock.now()):
                for key, _ in self._calls_of(process):
                    wanted[key] += _connections_wanted(process, self.answers.get(key))
        self._connections = {}
        for key, uids in self.network.endpoints.items():
            servers = [each for uid in uids if (each := self._listener(uid))]
            limits = [each.program.max_connections for each in servers if each.program.max_connections]
            if not limits:
                if wanted.get(key):
                    self._connections[key] = Connections(held=wanted[key] / max(1, len(servers)))
                continue
            most = float(sum(limits))
            held = min(wanted[key], most)
            granted = held / wanted[key] if wanted[key] else 1.0
            self._connections[key] = Connections(held / len(servers), granted, most)

    # Down: how many requests reach whom

    def _send(self, now: datetime, step_s: float) -> None:
        for process in self._main.values():
            process.arrivals = process.jobs = 0.0
        demand: dict[ServiceKey, float] = defaultdict(float)
        self._refused, self._silent, self._taken, self._demand = {}, {}, {}, demand
        for key, traffic in self.traffic.items():
            demand[key] += traffic.sample(self.seconds, step_s, self._rng)
        self._outside = dict(demand)
        self._work(demand, now, step_s)
        assert self._order is not None
        for key in reversed(self._order):
            self._spread(key, demand, now)

    def _spread(self, key: ServiceKey, demand: dict[ServiceKey, float], now: datetime) -> None:
        """Share a service's requests evenly among the endpoints that the cluster lists."""
        rate = demand.get(key, 0.0)
        uids = self.network.endpoints.get(key) or []
        if rate <= 0.0:
            self._refused[key] = 0.0 if uids else 1.0
            return
        refused = silent = 0
        for uid in uids:
            process = self._main.get(uid)
            if process is None or not process.listens(now):
                refused += 1
                silent += process is not None and process.node in self._dark
                continue
            share = rate / len(uids)
            process.arrivals += share
            for callee, call in self._calls_of(process):
                demand[callee] += share * process.admitted * call.share
        self._refused[key] = refused / len(uids) if uids else 1.0
        self._silent[key] = silent / len(uids) if uids else 0.0

    def _work(self, demand: dict[ServiceKey, float], now: datetime, step_s: float) -> None:
        """Let workers take jobs from queues, as fast as their CPU allows."""
        for process in self._main.values():
            source = process.program.takes_from
            if source is None or not process.listens(now):
                continue
            key = service_key(source, process.workload.namespace)
            owner = self.network.workloads.get(key)
            if owner is None or not any(self._listener(uid) for uid in self.network.endpoints.get(key, ())):
                continue
            room = _cores(process) - process.program.cpu_idle - process.program.cpu_burn
            able = max(0.0, room) / max(process.program.cpu_s_per_request, 1e-6)
            if process.program.latency_s:
                able = min(able, process.program.threads / process.program.latency_s)
            process.jobs = min(able * 0.95, self.queues.get(owner, 0.0) / step_s)
            self.queues[owner] = max(0.0, self.queues.get(owner, 0.0) - process.jobs * step_s)
            process.arrivals += process.jobs
            demand[key] += process.jobs
            self._taken[key] = self._taken.get(key, 0.0) + process.jobs

    # Up: how long they take and how many fail

    def _answer_all(self, now: datetime, step_s: float) -> None:
        assert self._order is not None
        done: set[str] = set()
        for key in self._order:
            served = latency = failed = 0.0
            for uid in self.network.endpoints.get(key) or ():
                process = self._main.get(uid)
                if process is None or not process.listens(now):
                    continue
                if uid not in done:
                    done.add(uid)
                    self._serve(process, key, step_s)
                weight = process.arrivals or 1e-9
                served += weight
                latency += weight * process.latency_s
                failed += weight * process.errors
            self._settle(key, served, latency, failed, step_s)
        for process in self._main.values():
            if process.pod_uid not in done and process.listens(now):
                self._serve(process, None, step_s)
        self.telemetry.close_step(now)

    def _settle(self, key: ServiceKey, served: float, latency: float, failed: float, step_s: float) -> None:
        refused = self._refused.get(key, 1.0)
        if served > 0.0:
            mean = latency / served
            errors = refused + (1.0 - refused) * failed / served
            # A machine without power does not even refuse: its share of the callers waits in vain.
            lost_s = refused * _REFUSED_AFTER_S + self._silent.get(key, 0.0) * _GIVE_UP_S
            self.answers[key] = Answer((1.0 - refused) * mean + lost_s, errors)
        else:
            errors = 1.0
            self.answers[key] = Answer()
        outside = self._outside.get(key, 0.0)
        if outside > 0.0:
            self.telemetry.note_users(key, outside * step_s, outside * step_s * errors)
            owner = self.network.workloads.get(key)
            if owner is not None and refused > 0.0:
                lost = outside * refused * step_s
                self.telemetry.note_requests(owner, "", lost, lost, lost * _REFUSED_AFTER_S)

    def _serve(self, process: Process, key: ServiceKey | None, step_s: float) -> None:
        """Work out one process's step: its speed, its failures, and what that costs it."""
        program, rate = process.program, process.arrivals
        crowding = self._crowding.get(process.node, 1.0)
        held = self._connections[key].held if key in self._connections and key else 0.0
        slower = contention(held, program.contention_at)
        calls_s, calls_ok = self._call(process, rate, step_s)
        cores = _cores(process)
        room = max(cores - program.cpu_idle - program.cpu_burn, 0.05 * cores) / crowding
        by_cpu = rate * program.cpu_s_per_request / room
        own_s = (program.cpu_s_per_request * stretch(min(by_cpu, 0.97)) * crowding + program.latency_s) * slower
        by_threads = rate * (own_s + calls_s) / program.threads
        use = max(by_cpu, by_threads)
        kept = 1.0 / use if use > 1.0 else 1.0
        late = min(_GIVE_UP_S, _GIVE_UP_S * 2.0 * (use - 1.0)) if use > 1.0 else 0.0
        process.utilisation = use
        process.latency_s = own_s + calls_s + late
        process.errors = 1.0 - kept * (1.0 - program.error_share) * calls_ok
        process.admitted = kept
        process.open_requests = float(program.threads) if use > 1.0 else rate * process.latency_s
        need = program.cpu_idle + program.cpu_burn + rate * program.cpu_s_per_request
        process.cpu_used = min(cores, need * process.unevenness)
        limit = process.limits.cpu
        process.cpu_throttled = throttled(need, limit) if limit else 0.0
        if program.queued_share and key is not None and rate > 0.0:
            self._enqueue(process, key, rate * kept * step_s)
        self._note(process, rate * step_s)

    def _call(self, process: Process, rate: float, step_s: float) -> tuple[float, float]:
        """Return the time a request spends in calls, and the share whose calls went well."""
        total_s, all_ok, in_use = 0.0, 1.0, 0.0
        for key, call in self._calls_of(process):
            took_s, failed, held = self._one_call(process, key, call, rate)
            total_s += call.share * took_s
            in_use += held
            if not call.optional:
                all_ok *= 1.0 - min(1.0, call.share) * failed
            made = rate * process.admitted * call.share * step_s
            peer = self.network.workloads.get(key)
            if made > 0.0 and peer is not None:
                failures = self._chance(made, failed)
                self.telemetry.note_call(process.workload, peer, made, failures, made * took_s)
        process.pool_in_use = in_use
        return total_s, all_ok

    def _one_call(self, process: Process, key: ServiceKey, call: Call, rate: float) -> tuple[float, float, float]:
        """Return the seconds a call takes, the share that fails, and the connections it keeps busy."""
        answer = self.answers.get(key) or Answer()
        took_s = min(answer.latency_s, call.timeout_s)
        ok = (1.0 - answer.errors) * (1.0 - timed_out(answer.latency_s, call.timeout_s))
        connections = self._connections.get(key)
        granted = connections.granted if connections else 1.0
        offered = rate * process.admitted * call.share * took_s
        if granted < 1.0:
            ok *= granted
            made = rate * process.admitted * call.share * self._step_s
            self.telemetry.note_refused(self.network.workloads.get(key), made * (1.0 - granted))
        size = process.program.pool_size
        if size is None:
            return took_s, 1.0 - ok, 0.0
        servers = size * granted
        offered *= granted  # a refused connection is free again at once
        load = offered / servers if servers else 1.0
        ok *= 1.0 - overflow(offered, servers, patience=process.program.pool_timeout_s / max(took_s, 1e-4))
        waits_s = min(process.program.pool_timeout_s, took_s * (stretch(min(load, 0.97)) - 1.0) / max(1.0, servers))
        if load >= 1.0:
            waits_s = process.program.pool_timeout_s
        return took_s + waits_s, 1.0 - ok, min(servers, offered)

    def _enqueue(self, process: Process, key: ServiceKey, requests: float) -> None:
        """Leave jobs behind; those who came to take one leave none."""
        brings = 1.0 - self._taken.get(key, 0.0) / max(self._demand.get(key, 0.0), 1e-9)
        owner = process.workload
        added = requests * max(0.0, brings) * process.program.queued_share
        self.queues[owner] = self.queues.get(owner, 0.0) + added

    def _note(self, process: Process, requests: float) -> None:
        if requests > 0.0:
            failures = self._chance(requests, process.errors)
            seconds = requests * process.latency_s
            self.telemetry.note_requests(process.workload, process.revision, requests, failures, seconds)

    def _chance(self, count: float, share: float) -> float:
        """Let chance round a number of failures, so that ratios are as ragged as measured ones."""
        if share <= 0.0:
            return 0.0
        if share >= 1.0:
            return count
        mean = count * share
        spread = (mean * (1.0 - share)) ** 0.5
        return min(count, max(0.0, self._rng.gauss(mean, spread)))

    # The call graph

    def _program_of(self, pod: Object, container: Object, workload: Workload) -> Program:
        environment = environment_of(self._store, pod, container)
        try:
            program = self.registry.program_for(container["image"], environment)
        except ValidationError:
            return self.registry.program(container["image"]).changed({"exit_at_start": 1})  # it cannot read them either
        behaviour = self._behaviours.get(workload)
        if behaviour is not None and behaviour.survives_restart:
            return program.changed(behaviour.changes)
        return program

    def _calls_of(self, process: Process) -> list[tuple[ServiceKey, Call]]:
        known = process.callees
        if known is None or known[0] is not process.program:
            namespace = process.workload.namespace
            made = process.program.calls
            if process.program.takes_from is not None:
                made = (*made, Call(service=process.program.takes_from))
            calls = [(service_key(each.service, namespace), each) for each in made]
            known = process.callees = (process.program, calls)
        return known[1]

    def _callees_first(self) -> list[ServiceKey]:
        """Order the services so that a callee comes before its callers, as far as there are no circles."""
        calls: dict[ServiceKey, list[ServiceKey]] = {}
        for key, uids in self.network.endpoints.items():
            found: dict[ServiceKey, None] = {}
            for uid in uids:
                process = self._main.get(uid)
                if process is not None:
                    found.update((callee, None) for callee, _ in self._calls_of(process))
            calls[key] = list(found)
        order: list[ServiceKey] = []
        state: dict[ServiceKey, int] = {}

        def visit(key: ServiceKey) -> None:
            if state.get(key):
                return
            state[key] = 1
            for callee in calls.get(key, ()):
                if callee in calls:
                    visit(callee)
            order.append(key)

        for key in calls:
            visit(key)
        return order

    def connections_of(self, key: ServiceKey) -> Connections | None:
        return self._connections.get(key)


def _is_over(process: Process, now: datetime) -> bool:
    most, since = process.program.crash_without_s, process.missing_since
    return most is not None and since is not None and (now - since).total_seconds() >= most


def _cores(process: Process) -> float:
    return process.limits.cpu if process.limits.cpu is not None else _UNLIMITED_CORES


def _connections_wanted(process: Process, answer: Answer | None) -> float:
    size = process.program.pool_size
    if size is not None and process.program.pool_eager:
        return float(size)
    if size is not None:
        return min(float(size), process.pool_in_use + 1.0)
    return process.arrivals * (answer.latency_s if answer else 0.0)


def _revision_of(pod: Object) -> str:
    labels = labels_of(pod)
    return labels.get("pod-template-hash") or labels.get("controller-revision-hash", "").rpartition("-")[2]


def environment_of(store: Store, pod: Object, container: Object) -> dict[str, str]:
    """Read a container's environment as its kubelet would hand it over."""
    namespace, found = pod["metadata"]["namespace"], {}
    for each in container.get("envFrom") or []:
        for field_name, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
            source = store.find(resource, namespace, dig(each, field_name, "name", default=""))
            found.update(dig(source, "data", default={}))
    for each in container.get("env") or []:
        if "value" in each:
            found[each["name"]] = str(each["value"])
        elif reference := dig(each, "valueFrom", "configMapKeyRef"):
            source = store.find(CONFIGMAPS, namespace, reference["name"])
            value = dig(source, "data", default={}).get(reference["key"])
            if value is not None:
                found[each["name"]] = str(value)
    return found

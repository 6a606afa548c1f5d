"""One pod on its node: from sandbox to containers, through crashes and back-offs, to its graceful end."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aegis.simulator.kubernetes.controllers.cluster import EventType
from aegis.simulator.kubernetes.controllers.container_config import missing_setting, missing_volume
from aegis.simulator.kubernetes.controllers.pod_status import ContainerView, PodView, status_of
from aegis.simulator.kubernetes.controllers.probes import KINDS, Probes
from aegis.simulator.kubernetes.controllers.runtime import ContainerRuntime, Exited, ProbeKind
from aegis.simulator.kubernetes.objects import Object, dig, timestamp
from aegis.simulator.kubernetes.resources import PODS
from aegis.simulator.kubernetes.store import Store

Say = Callable[[Object, EventType, str, str], None]
"""Records an event about a pod: kind, reason, message."""

_SANDBOX_S = (0.45, 0.9)
_RESTART_FIRST_S, _RESTART_MOST_S = 10.0, 300.0
_LATE = (1.1, 1.28)  # a pause ends at the next look at the pod, so it is always somewhat longer than said
_RESTARTS_FORGOTTEN_AFTER = timedelta(minutes=10)
_CRASH_LOOP_SHOWN_AFTER = timedelta(seconds=1)
_SAID_AGAIN_AFTER = timedelta(seconds=12)
_PULL = timedelta(seconds=1)
_PULL_FIRST_S, _PULL_MOST_S = 10.0, 300.0
_PULL_SHOWS_LATER = timedelta(seconds=11)
_CONFIG_RETRY = timedelta(seconds=12)
_MOUNT_FIRST_S, _MOUNT_MOST_S = 0.5, 122.0
_TRANSITIONS_IN_A_STEP = 8


@dataclass
class _Pull:
    """An image that is not there: when the running try ends, the failure shows, the next try begins."""

    next_at: datetime
    fails_at: datetime | None = None
    shows_at: datetime | None = None
    tries: int = 0


@dataclass
class _Container:
    """A container's course; `view` is what the API shows of it."""

    spec: Object
    view: ContainerView
    probes: Probes = field(default_factory=Probes)
    runs: int = 0
    pause_s: float = 0.0
    late: float = 1.0
    paused_since: datetime | None = None
    exited_at: datetime | None = None
    noticed_at: datetime | None = None
    said_at: datetime | None = None
    retry_at: datetime | None = None
    pull: _Pull | None = None
    is_stopping: bool = False
    killed_for: ProbeKind | None = None


@dataclass(frozen=True)
class Host:
    """What a worker needs of its kubelet."""

    store: Store
    runtime: ContainerRuntime
    rng: random.Random
    say: Say
    write: Callable[[Object, Object], None]


class PodWorker:
    """Moves one pod along. All its memory is here; what others see is in the pod's status."""

    def __init__(self, pod: Object, host: Host, *, host_ip: str, pod_ip: str, now: datetime) -> None:
        self.uid: str = pod["metadata"]["uid"]
        self._pod = pod
        self._host = host
        self._store, self._runtime, self._rng = host.store, host.runtime, host.rng
        self._next_ip = pod_ip
        self._view = PodView(host_ip=host_ip, started_at=now)
        self._containers = [
            _Container(each, ContainerView(each["name"], each["image"])) for each in pod["spec"]["containers"]
        ]
        self._sandbox_at = now + timedelta(seconds=self._rng.uniform(*_SANDBOX_S))
        self._mount_retry_at, self._mount_pause_s = now, _MOUNT_FIRST_S
        self._kill_at: datetime | None = None
        self._gone_at: datetime | None = None
        self._looked_at: tuple[Object | None, list[tuple[Object, bool, int]]] | None = None

    def sync(self, pod: Object, now: datetime) -> bool:
        """Do what is due; return True once nothing of the pod is left on the node."""
        self._pod = pod
        if dig(pod, "metadata", "deletionTimestamp"):
            return self._end(now)
        if dig(pod, "status", "phase") in ("Succeeded", "Failed"):
            return False
        self._run(now)
        return False

    def abandon(self) -> None:
        """End the processes of a pod that is gone from the API."""
        for container in self._containers:
            self._runtime.kill(self.uid, container.view.name)

    # Running

    def _run(self, now: datetime) -> None:
        if not dig(self._pod, "status", "startTime"):
            self._publish(now)
        if not self._view.has_sandbox and not self._prepare(now):
            return
        for container in self._containers:
            for _ in range(_TRANSITIONS_IN_A_STEP):
                if not self._advance(container, now):
                    break
        if self._has_news():
            self._publish(now)

    def _prepare(self, now: datetime) -> bool:
        """Mount what is to be mounted and make the sandbox; tell whether that is done."""
        if now < self._mount_retry_at:
            return False
        missing = missing_volume(self._store, self._pod)
        if missing:
            self._event("Warning", "FailedMount", missing)
            self._mount_retry_at = now + timedelta(seconds=self._mount_pause_s)
            self._mount_pause_s = min(_MOUNT_MOST_S, self._mount_pause_s * 2)
            return False
        if now < self._sandbox_at:
            return False
        self._view.has_sandbox, self._view.pod_ip = True, self._next_ip
        return True

    def _advance(self, container: _Container, now: datetime) -> bool:
        """Make at most one transition; tell whether there was one."""
        if container.view.is_running:
            return self._watch(container, now)
        if container.view.has_run:
            return self._after_exit(container, now)
        return self._first_start(container, now)

    def _first_start(self, container: _Container, now: datetime) -> bool:
        if not self._has_image(container, now):
            return False
        if container.retry_at and now < container.retry_at:
            return False
        return self._start(container, now)

    def _start(self, container: _Container, now: datetime) -> bool:
        view = container.view
        if container.pull is None:
            already = "already present on machine and can be accessed by the pod"
            self._event("Normal", "Pulled", f'Container image "{view.image}" {already}')
        container.pull = None
        missing = missing_setting(self._store, self._pod, container.spec)
        if missing:
            self._event("Warning", "Failed", f"Error: {missing}")
            view.state = {"waiting": {"reason": "CreateContainerConfigError", "message": missing}}
            container.retry_at = now + _CONFIG_RETRY
            return False
        self._runtime.start(self._pod, container.spec)
        self._event("Normal", "Created", "Container created")
        self._event("Normal", "Started", "Container started")
        if container.runs:
            view.restarts += 1
        self._note_start(container, now)
        self._publish(now)
        return True

    def _note_start(self, container: _Container, now: datetime) -> None:
        view = container.view
        if view.terminated is not None:
            view.last_state = view.state
        container.runs += 1
        view.container_id = f"containerd://{self._rng.getrandbits(256):064x}"
        view.state = {"running": {"startedAt": timestamp(now)}}
        container.probes = Probes.of(container.spec, started_at=now, phase=self._rng.random())
        container.is_stopping, container.killed_for, container.retry_at = False, None, None
        view.started, view.ready = container.probes.is_started, container.probes.is_ready

    # Images

    def _has_image(self, container: _Container, now: datetime) -> bool:
        image = container.view.image
        if self._runtime.image_exists(image):
            if container.pull:
                self._event("Normal", "Pulled", f'Successfully pulled image "{image}"')
            return True
        pull = container.pull = container.pull or _Pull(next_at=now)
        if pull.fails_at is not None and now >= pull.fails_at:
            self._note_failed_pull(container, pull, now)
        if pull.shows_at is not None and now >= pull.shows_at:
            self._show_failed_pull(container, pull)
        if pull.fails_at is None and now >= pull.next_at:
            self._try_again_to_pull(container, pull, now)
        return False

    def _try_again_to_pull(self, container: _Container, pull: _Pull, now: datetime) -> None:
        """Begin a try. The status lags: only now does it say that there was a back-off."""
        view = container.view
        state = view.state["waiting"]
        if state["reason"] == "ErrImagePull":
            message = f'Back-off pulling image "{view.image}": ErrImagePull: {state["message"]}'
            view.state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
        self._event("Normal", "Pulling", f'Pulling image "{view.image}"')
        pull.fails_at = now + _PULL

    def _note_failed_pull(self, container: _Container, pull: _Pull, now: datetime) -> None:
        image = container.view.image
        error = f"rpc error: code = NotFound desc = {_not_found(image)}"
        self._event("Warning", "Failed", f'Failed to pull image "{image}": {error}')
        self._event("Warning", "Failed", "Error: ErrImagePull")
        pause_s = min(_PULL_MOST_S, _PULL_FIRST_S * 2.0**pull.tries)
        pull.shows_at = now + (_PULL_SHOWS_LATER if pull.tries else timedelta())
        pull.fails_at, pull.next_at = None, now + timedelta(seconds=pause_s)
        pull.tries += 1

    def _show_failed_pull(self, container: _Container, pull: _Pull) -> None:
        image = container.view.image
        self._event("Normal", "BackOff", f'Back-off pulling image "{image}"')
        self._event("Warning", "Failed", "Error: ImagePullBackOff")
        container.view.state = {"waiting": {"reason": "ErrImagePull", "message": _not_found(image)}}
        pull.shows_at = None

    # A running container

    def _watch(self, container: _Container, now: datetime) -> bool:
        state = self._runtime.state(self.uid, container.view.name)
        if state is None or isinstance(state, Exited):
            self._note_exit(container, state or Exited(exit_code=255, at=now), now)
            return True
        if not container.is_stopping:
            self._ask_probes(container, now)
        container.view.started = container.probes.is_started
        container.view.ready = container.probes.is_ready
        return False

    def _ask_probes(self, container: _Container, now: datetime) -> None:
        for kind in KINDS:
            if not container.probes.is_asked(kind):
                continue
            probe = container.probes.by_kind[kind]
            for _ in range(probe.take_due(now)):
                failure = self._runtime.probe_failure(self._pod, container.view.name, kind)
                probe.note(passed=failure is None)
                if failure is not None:
                    self._event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {failure}")
                if container.probes.failed:
                    break
        if container.probes.failed:
            self._restart_unhealthy(container, container.probes.failed)

    def _restart_unhealthy(self, container: _Container, kind: ProbeKind) -> None:
        name = container.view.name
        self._event("Normal", "Killing", f"Container {name} failed {kind} probe, will be restarted")
        container.is_stopping, container.killed_for = True, kind
        self._runtime.stop(self.uid, name)

    def _note_exit(self, container: _Container, exited: Exited, now: datetime) -> None:
        container.exited_at, container.noticed_at = exited.at, now
        view = container.view
        reason = "OOMKilled" if exited.oom_killed else "Error" if exited.exit_code else "Completed"
        started_at = dig(view.state, "running", "startedAt", default=timestamp(exited.at))
        terminated = {"exitCode": exited.exit_code, "reason": reason, "startedAt": started_at}
        terminated |= {"finishedAt": timestamp(exited.at), "containerID": view.container_id}
        view.state = {"terminated": terminated}
        view.ready = view.started = False
        if self._will_restart(container) and self._is_paused(container, now):
            self._say_back_off(container, now)
        self._publish(now)

    # Between two runs

    def _after_exit(self, container: _Container, now: datetime) -> bool:
        if not self._will_restart(container):
            return False
        if self._is_paused(container, now):
            return self._pass_pause(container, now)
        if container.retry_at and now < container.retry_at:
            return False
        if not self._start(container, now):
            return False
        self._lengthen_pause(container, now)
        return True

    def _pass_pause(self, container: _Container, now: datetime) -> bool:
        if container.view.terminated is None:
            if container.said_at and now - container.said_at >= _SAID_AGAIN_AFTER:
                self._say_back_off(container, now)
            return False
        if container.noticed_at and now - container.noticed_at < _CRASH_LOOP_SHOWN_AFTER:
            return False
        self._show_crash_loop(container, now)
        return True

    def _will_restart(self, container: _Container) -> bool:
        policy = dig(self._pod, "spec", "restartPolicy", default="Always")
        ended = container.view.terminated
        return policy == "Always" or (policy == "OnFailure" and (ended is None or ended["exitCode"] != 0))

    def _is_paused(self, container: _Container, now: datetime) -> bool:
        pause = timedelta(seconds=container.pause_s * container.late)
        return container.exited_at is not None and now < container.exited_at + pause

    def _lengthen_pause(self, container: _Container, now: datetime) -> None:
        """After each restart the next pause is twice as long, unless the last one is long ago."""
        long_ago = container.paused_since and now - container.paused_since > _RESTARTS_FORGOTTEN_AFTER
        if container.pause_s == 0 or long_ago:
            container.pause_s = _RESTART_FIRST_S
        else:
            container.pause_s = min(_RESTART_MOST_S, container.pause_s * 2)
        container.paused_since = now
        container.late = self._rng.uniform(*_LATE)

    def _show_crash_loop(self, container: _Container, now: datetime) -> None:
        view = container.view
        self._say_back_off(container, now)
        view.last_state = view.state
        meta = self._pod["metadata"]
        pod = f"{meta['name']}_{meta['namespace']}({self.uid})"
        message = f"back-off {_go_duration(container.pause_s)} restarting failed container={view.name} pod={pod}"
        view.state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        self._publish(now)

    def _say_back_off(self, container: _Container, now: datetime) -> None:
        meta = self._pod["metadata"]
        pod = f"{meta['name']}_{meta['namespace']}({self.uid})"
        container.said_at = now
        message = f"Back-off restarting failed container {container.view.name} in pod {pod}"
        self._event("Warning", "BackOff", message)

    # The end

    def _end(self, now: datetime) -> bool:
        """End the pod gracefully; return True when the last of it is gone from the API."""
        if self._kill_at is None:
            grace = self._pod["metadata"].get("deletionGracePeriodSeconds") or 0
            self._kill_at = now + timedelta(seconds=grace)
            self._stop_all()
        left = [each for each in self._containers if each.view.is_running]
        for container in left:
            state = self._runtime.state(self.uid, container.view.name)
            if isinstance(state, Exited):
                self._note_exit_at_end(container, state)
            elif state is None or now >= self._kill_at:
                self._runtime.kill(self.uid, container.view.name)
                self._note_exit_at_end(container, Exited(exit_code=137, at=now))
        if any(each.view.is_running for each in self._containers):
            return False
        return self._leave(now)

    def _stop_all(self) -> None:
        for container in self._containers:
            if container.view.is_running and not container.is_stopping:
                self._event("Normal", "Killing", f"Stopping container {container.view.name}")
                self._runtime.stop(self.uid, container.view.name)

    def _note_exit_at_end(self, container: _Container, exited: Exited) -> None:
        view = container.view
        reason = "OOMKilled" if exited.oom_killed else "Error" if exited.exit_code else "Completed"
        terminated = {"exitCode": exited.exit_code, "reason": reason, "finishedAt": timestamp(exited.at)}
        view.state = {"terminated": {**terminated, "startedAt": view.state["running"]["startedAt"]}}
        view.ready = view.started = False

    def _leave(self, now: datetime) -> bool:
        if self._gone_at is None:
            self._publish(now)
            self._gone_at = now + timedelta(seconds=0.5)
            return False
        if now < self._gone_at:
            return False
        meta = self._pod["metadata"]
        self.abandon()
        self._store.delete(PODS, meta["namespace"], meta["name"], uid=self.uid, grace_s=0)
        return True

    def _has_news(self) -> bool:
        """Tell whether the status may differ from what was last looked at; nearly always it does not."""
        views = [(view.state, view.ready, view.restarts) for each in self._containers if (view := each.view)]
        news = self._pod.get("status"), views
        if self._looked_at is not None and self._looked_at[0] is news[0] and self._looked_at[1] == views:
            return False
        self._looked_at = news
        return True

    def _publish(self, now: datetime) -> None:
        status = status_of(self._pod, self._view, [each.view for each in self._containers], now)
        if status != self._pod.get("status"):
            self._host.write(self._pod, status)
            self._pod = {**self._pod, "status": status}

    def _event(self, kind: EventType, reason: str, message: str) -> None:
        self._host.say(self._pod, kind, reason, message)


def _not_found(image: str) -> str:
    return f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found'


def _go_duration(seconds: float) -> str:
    """Write a duration as Go does.

    >>> _go_duration(10), _go_duration(80), _go_duration(300)
    ('10s', '1m20s', '5m0s')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

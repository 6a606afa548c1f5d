"""Three bad revisions of one service under constant load: left alone, under Argo Rollouts, and with Aegis.

Run `make bench-cluster` on the testbed. All four get the same revision at the same moment, each in a namespace of its
own; what counts is how they compare in one run. For the Deployment that Aegis looks after nobody wrote an analysis.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from aegis.executor.guardrails.facts import is_ready
from testbed.__main__ import tell
from testbed.driver.aegis import installed, make_accounts
from testbed.driver.cluster import Cluster, Object, running_cluster
from testbed.driver.manifests import script, service
from testbed.driver.traffic import Traffic
from testbed.layout import CACHE, PROMETHEUS, STATE, Cache, State
from testbed.peers import start_rollouts

REPLICAS = 4
PER_SECOND = 20.0
USUAL_S = 90
LOOK_EVERY_S = 0.5
GIVEN_UP_AFTER_S = 180
DEADLINE_S = 30
MOST_ERRORS = 0.03
REVISIONS: Mapping[str, Mapping[str, object]] = {
    "exits at start": {"EXIT_CODE": 1},
    "30 % errors": {"ERROR_SHARE": 0.3},
    "leaks until OOM": {"LEAK_MIB_PER_S": 2},
}
GOALS_S = {"exits at start": 30, "30 % errors": 60}
ALONE, CANARY, ANALYSED, AEGIS = "left alone", "Argo canary", "Argo canary, analysis", "Aegis"


@dataclass
class Trial:
    """One service of one keeper, from the bad revision on."""

    keeper: str
    namespace: str
    good_again_after_s: float | None = None
    was_bad: bool = False
    sent_before: int = 0
    failed_before: int = 0
    sent: int = 0
    failed: int = 0


@dataclass
class Round:
    """One bad revision, given to all keepers at once."""

    revision: str
    cluster: Cluster
    trials: list[Trial] = field(default_factory=list)

    def play(self, users: Mapping[str, Traffic]) -> None:
        env = REVISIONS[self.revision]
        for trial in self.trials:
            trial.sent_before, trial.failed_before = users[trial.namespace].sent, users[trial.namespace].failed
        for trial in self.trials:
            self.cluster.apply(manifests(trial.keeper, trial.namespace, env)[0], manager="the-team")
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < GIVEN_UP_AFTER_S:
            for trial in self.trials:
                self._look(trial, elapsed)
            if all(trial.good_again_after_s is not None for trial in self.trials if trial.keeper != ALONE):
                break
            time.sleep(LOOK_EVERY_S)
        for trial in self.trials:
            traffic = users[trial.namespace]
            trial.sent, trial.failed = traffic.sent - trial.sent_before, traffic.failed - trial.failed_before

    def _look(self, trial: Trial, elapsed: float) -> None:
        pods = self.cluster.list("pods", trial.namespace, "app=web")
        is_good = len(pods) == REPLICAS and all(is_ready(pod) and not _is_bad(pod, self.revision) for pod in pods)
        trial.was_bad |= any(_is_bad(pod, self.revision) for pod in pods)
        if not is_good:
            trial.good_again_after_s = None  # it may come back: a canary's next step
        elif trial.was_bad and trial.good_again_after_s is None:
            trial.good_again_after_s = elapsed


def _is_bad(pod: Object, revision: str) -> bool:
    names = {one["name"] for container in pod["spec"]["containers"] for one in container.get("env") or []}
    return bool(names & set(REVISIONS[revision]))


def manifests(keeper: str, namespace: str, env: Mapping[str, object]) -> list[Object]:
    """Return the service as each keeper wants it written; a plain Deployment but for Argo Rollouts."""
    deployment, front = service(namespace, "web", replicas=REPLICAS, **env)
    if keeper not in (CANARY, ANALYSED):
        return [deployment, front]
    canary: Object = {
        "maxSurge": 1,
        "maxUnavailable": 0,
        "steps": [{"setWeight": 25}, {"pause": {"duration": "20s"}}, {"setWeight": 50}, {"pause": {"duration": "10s"}}],
    }
    if keeper == ANALYSED:
        canary["analysis"] = {"templates": [{"templateName": "errors"}], "startingStep": 1}
    rollout = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": deployment["metadata"],
        "spec": {
            **deployment["spec"],
            "progressDeadlineSeconds": DEADLINE_S,
            "progressDeadlineAbort": True,
            "strategy": {"canary": canary},
        },
    }
    return [rollout, front, *([_analysis(namespace)] if keeper == ANALYSED else [])]


def _analysis(namespace: str) -> Object:
    requests = f'http_requests_total{{namespace="{namespace}"'
    query = f'sum(rate({requests},code=~"5.."}}[30s])) / sum(rate({requests}}}[30s]))'
    metric = {
        "name": "errors",
        "interval": "5s",
        "failureLimit": 1,
        "successCondition": f"len(result) == 0 || isNaN(result[0]) || result[0] <= {MOST_ERRORS}",
        "provider": {"prometheus": {"address": PROMETHEUS, "query": query}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "errors", "namespace": namespace},
        "spec": {"metrics": [metric]},
    }


def run(revisions: Sequence[str]) -> list[Round]:
    state, cache = State(STATE), Cache(CACHE)
    cluster = running_cluster(state, cache)
    start_rollouts(state, cache, cluster.binary, tell)
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as name:
        folder = Path(name)
        make_accounts(cluster, folder / "accounts")
        rounds = []
        for number, revision in enumerate(revisions):
            tell(f"{revision}: {USUAL_S} s as usual, then at most {GIVEN_UP_AFTER_S} s of it")
            # A fresh Aegis each time, which knows no more of the service than that it has watched it for a minute.
            place = folder / f"round-{number}"
            place.mkdir()
            with installed(cluster, folder / "accounts", place), ExitStack() as users:
                rounds.append(_round(cluster, revision, users))
        return rounds


def _round(cluster: Cluster, revision: str, stack: ExitStack) -> Round:
    played = Round(revision, cluster)
    users: dict[str, Traffic] = {}
    for keeper in (ALONE, CANARY, ANALYSED, AEGIS):
        namespace = cluster.new_namespace("bench", mode="auto" if keeper == AEGIS else "")
        stack.callback(cluster.kubectl, "delete", "namespace", namespace, "--wait=false")
        cluster.apply(script(namespace), *reversed(manifests(keeper, namespace, {})), manager="the-team")
        played.trials.append(Trial(keeper, namespace))
    for trial in played.trials:
        _wait_until_ready(cluster, trial.namespace)
        traffic = Traffic(cluster.address_of(trial.namespace, "web"), PER_SECOND)
        users[trial.namespace] = stack.enter_context(traffic)
    time.sleep(USUAL_S)
    played.play(users)
    return played


def _wait_until_ready(cluster: Cluster, namespace: str) -> None:
    until = time.monotonic() + GIVEN_UP_AFTER_S
    while sum(map(is_ready, cluster.list("pods", namespace, "app=web"))) < REPLICAS:
        if time.monotonic() > until:
            sys.exit(f"the service in {namespace} does not come up")
        time.sleep(LOOK_EVERY_S)


def show(rounds: Sequence[Round]) -> None:
    """Print the table as the docs have it."""
    keepers = [trial.keeper for trial in rounds[0].trials]
    print(f"\n{REPLICAS} replicas, {PER_SECOND:.0f} requests/s; seconds until every pod serves the good revision; "
          f"failed/all requests meanwhile\n")  # fmt: skip
    print("| revision | " + " | ".join(keepers) + " |\n|---|" + "---|" * len(keepers))
    for one in rounds:
        print(f"| {one.revision} | " + " | ".join(map(_cell, one.trials)) + " |")
    for one in rounds:
        (aegis,) = (trial for trial in one.trials if trial.keeper == AEGIS)
        goal = GOALS_S.get(one.revision)
        if goal is not None:
            is_reached = aegis.good_again_after_s is not None and aegis.good_again_after_s <= goal
            print(f"{one.revision}: goal {goal} s {'reached' if is_reached else 'missed'}")


def _cell(trial: Trial) -> str:
    if not trial.was_bad:
        return "never rolled out"
    after = trial.good_again_after_s
    when = f"{after:.1f}" if after is not None else f"not in {GIVEN_UP_AFTER_S}"
    return f"{when}; {trial.failed}/{trial.sent}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Bad revisions, side by side with a peer.")
    parser.add_argument("--revision", choices=list(REVISIONS), action="append", help="only these")
    show(run(parser.parse_args().revision or list(REVISIONS)))


if __name__ == "__main__":
    main()

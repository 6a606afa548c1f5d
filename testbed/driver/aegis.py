"""An Aegis on the testbed's cluster, installed as the guide says, and driven through its commands and its API."""

import contextlib
import json
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.cli.api import Api, log_in, remembered
from aegis.contracts.remediations import RemediationState
from aegis.kit.errors import NotFoundError
from testbed.driver.audit_log import asked_by_aegis
from testbed.driver.cluster import ASKS_WITHIN_S, Cluster, Object, wait_for
from testbed.layout import HERE, PROMETHEUS

ROOT = HERE.parent
SEEN_WITHIN_S = 30
UP_WITHIN_S = 90
ENDS_WITHIN_S = 60
SETTINGS = ("AEGIS_METRICS_INTERVAL=PT5S", "AEGIS_METRICS_STEP=PT5S", "AEGIS_BUDGET=100")
"""The testbed's Prometheus scrapes every five seconds, and a run has more faults than ten minutes usually see."""


@dataclass(frozen=True)
class Aegis:
    """A running Aegis, as its first administrator."""

    cluster: Cluster
    home: Path
    logs: Path

    def command(self, *arguments: str) -> Any:
        """Run a command and return the JSON that it prints."""
        done = self.run(*arguments, "--output", "json")
        return json.loads(done.stdout)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / ".venv" / "bin" / "aegis"), *arguments]
        environment = {**self.cluster.environment, "AEGIS_HOME": str(self.home)}
        return subprocess.run(
            command, check=True, env=environment, capture_output=True, text=True, timeout=ASKS_WITHIN_S
        )

    @property
    def api(self) -> Api:
        session = remembered(self.home)
        assert session is not None
        return Api(session)

    def person(self, name: str, role: str) -> Api:
        """Let a person in, and return the API as theirs."""
        password = secrets.token_urlsafe(16)
        with self.api as api:
            grants = [{"role": role, "namespaces": ["*"]}]
            api.post("/api/v1/people", {"name": name, "password": password, "grants": grants})
            return Api(log_in(api.url, name, password))

    def ask(self, asker: Api, workload: str, action: Object) -> str:
        """Let a person ask for an action, once Aegis has seen the workload (`namespace/Kind/name`)."""
        namespace, kind, name = workload.split("/")
        body = {"namespace": namespace, "kind": kind, "name": name, "action": action, "reason": "it looks right"}

        def asked() -> str | None:
            with contextlib.suppress(NotFoundError):
                return str(asker.post("/api/v1/remediations", body)["remediation_id"])
            return None

        found = wait_for(asked, within_s=SEEN_WITHIN_S, what=f"Aegis has not seen {workload}")
        assert found is not None
        return found

    def incidents(self, namespace: str) -> list[Object]:
        with self.api as api:
            found = api.get("/api/v1/incidents", limit=200)["incidents"]
        return [one for one in found if one["workload"]["namespace"] == namespace and not one.get("merged_into")]

    def remediations(self, namespace: str) -> list[Object]:
        with self.api as api:
            found = api.get("/api/v1/remediations", limit=200)["remediations"]
        return [one for one in found if one["proposal"]["target"]["namespace"] == namespace]

    def remediation(self, namespace: str, *states: RemediationState, within_s: float) -> Object:
        """Wait until the one remediation of a namespace is in one of these states."""

        def look() -> Object | None:
            return next((one for one in self.remediations(namespace) if one["state"] in states), None)

        found = wait_for(look, within_s=within_s, what=f"{namespace}: no remediation is {' or '.join(states)}")
        assert found is not None
        return found

    def conclusion(self, remediation_id: str, *states: RemediationState, within_s: float, because: str = "") -> Object:
        """Wait until a remediation is in one of these states, for this reason."""

        def look() -> Object:
            with self.api as api:
                found: Object = api.get(f"/api/v1/remediations/{remediation_id}")
            return found

        def is_over(found: Object) -> bool:
            return found["state"] in states and because in found["reason"]

        what = f"{remediation_id} is not {' or '.join(states)} {because}".rstrip()
        return wait_for(look, is_over, within_s=within_s, what=what)

    def notifications(self) -> list[Object]:
        with self.api as api:
            found: list[Object] = api.get("/api/v1/notifications", limit=200)["notifications"]
        return found

    def events(self, subject: str) -> list[str]:
        """Return what the audit trail tells of something, oldest first."""
        with self.api as api:
            found = api.get("/api/v1/audit/entries", subject=subject, limit=1000)["entries"]
        return [one["event"] for one in found]

    def verify_the_trail(self, folder: Path) -> None:
        """Check an export of the audit trail with the public key alone, as an auditor does."""
        file = folder / "trail.jsonl"
        self.run("audit", "export", str(file))
        assert self.command("audit", "verify", str(file), "--key", self.command("status")["public_key"])["ok"]


def make_accounts(cluster: Cluster, folder: Path) -> None:
    """Let Aegis into the cluster, with a kubeconfig for each service, as the guide says."""
    subprocess.run([ROOT / "scripts" / "accounts.sh", folder], check=True, env=cluster.environment)


@contextlib.contextmanager
def installed(cluster: Cluster, accounts: Path, folder: Path) -> Iterator[Aegis]:
    """Run three fresh processes, one account each, that may act, until the block is left."""
    aegis = Aegis(cluster, folder / "home", folder / "logs")
    options = ["--kubeconfig", str(accounts), "--prometheus", PROMETHEUS, "--logs", str(aegis.logs)]
    options += [part for setting in SETTINGS for part in ("--set", setting)]
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [ROOT / ".venv" / "bin" / "aegis", "up", *options],
            env={**cluster.environment, "AEGIS_HOME": str(aegis.home)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for(lambda: up.poll() is not None or remembered(aegis.home), within_s=UP_WITHIN_S, what="Aegis is not up")
        assert up.poll() is None, (folder / "up.log").read_text()
        aegis.run("resume")
        yield aegis
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(ENDS_WITHIN_S)


def fields_of_aegis(workload: Object) -> list[Object]:
    """Return what Aegis still owns of an object: nothing, once it is done with it."""
    return [one for one in workload["metadata"]["managedFields"] if one["manager"].startswith("aegis")]


def cause_of(incident: Mapping[str, Any]) -> str:
    diagnosis = incident.get("diagnosis") or {"hypotheses": [{"cause": "none"}]}
    return str(diagnosis["hypotheses"][0]["cause"])


def writes_in(audit_log: Path, namespace: str) -> list[str]:
    """Return what Aegis changed in a namespace, by the API server's own log."""
    found = (one for one in asked_by_aegis(audit_log) if one.is_change and one.namespace == namespace)
    return [f"{one.verb} {one.resource}" for one in found]

"""What Aegis asked the API server, by the API server's own log."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ACCOUNTS = "system:serviceaccount:aegis:"
READING = frozenset({"get", "list", "watch"})


@dataclass(frozen=True)
class Asked:
    """One request, once it had been answered."""

    user: str
    verb: str
    group: str
    resource: str
    """With its subresource, as RBAC rules write it; empty for what is no resource."""
    namespace: str
    dry_run: bool
    code: int
    decision: str
    """Whether RBAC allowed it: `allow` or `forbid`."""
    path: str

    @property
    def is_change(self) -> bool:
        """Whether it was meant to change something; Events are Aegis's word to people."""
        return self.verb not in READING and not self.dry_run and self.resource != "events"


def asked_by_aegis(audit_log: Path) -> Iterator[Asked]:
    """Yield what Aegis's accounts asked since the cluster was started, in its order."""
    with audit_log.open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["user"]["username"].startswith(ACCOUNTS) and event["stage"] == "ResponseComplete":
                yield _asked(event)


def _asked(event: Mapping[str, Any]) -> Asked:
    about = event.get("objectRef") or {}
    return Asked(
        user=event["user"]["username"],
        verb=event["verb"],
        group=about.get("apiGroup", ""),
        resource="/".join(about[part] for part in ("resource", "subresource") if about.get(part)),
        namespace=about.get("namespace", ""),
        dry_run=("dryRun", "All") in parse_qsl(urlsplit(event["requestURI"]).query),
        code=event["responseStatus"]["code"],
        decision=event.get("annotations", {}).get("authorization.k8s.io/decision", ""),
        path=event["requestURI"],
    )

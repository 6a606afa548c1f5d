"""Who asked for what, and what they were told: the simulator's audit log."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from aegis.simulator.kubernetes.requests import Request

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Requested:
    """One line: a request and the code of its answer. `resource` is the plural, empty for other paths."""

    time: datetime
    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    subresource: str
    patch_type: str
    dry_run: bool
    manager: str
    path: str
    code: int

    @property
    def is_write(self) -> bool:
        return self.verb in _WRITES and not self.dry_run

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "time": self.time.isoformat()}


class RequestLog:
    """The latest requests, oldest first. Watches are written down when they begin."""

    def __init__(self, limit: int = 100_000) -> None:
        self._lines: deque[Requested] = deque(maxlen=limit)

    def __iter__(self) -> Iterator[Requested]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def clear(self) -> None:
        self._lines.clear()

    def writes(self, *, user: str | None = None) -> list[Requested]:
        """Return the successful requests that changed something, of one user or all."""
        return [each for each in self._lines if each.is_write and each.code < 300 and user in (None, each.user)]

    def record(self, request: Request, *, at: datetime, code: int, dry_run: bool) -> None:
        target = request.target
        self._lines.append(
            Requested(
                time=at,
                user=request.user.name,
                verb=request.verb,
                group=target.resource.group if target else "",
                resource=target.resource.plural if target else "",
                namespace=target.namespace if target else "",
                name=target.name if target else "",
                subresource=target.subresource if target else "",
                patch_type=request.patch_type,
                dry_run=dry_run,
                manager=request.query.get("fieldManager", ""),
                path=request.path,
                code=code,
            )
        )

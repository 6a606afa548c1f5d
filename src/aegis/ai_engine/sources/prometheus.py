"""The canonical signals from anything that speaks Prometheus' HTTP API: Thanos, Mimir, VictoriaMetrics too."""

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson

from aegis.ai_engine.ports import Sample, labels_of
from aegis.kit.errors import TemporaryError

QUERY = '{__name__=~"aegis:.+"}'
_BAD_REQUEST = 400
LEFT_ALONE_MAX = timedelta(minutes=5)
"""For so long at most, however long the metrics system wants to be left alone."""
_LABELS = frozenset({
    "namespace", "kind", "workload", "revision", "peer_namespace", "peer_kind", "peer_workload",
})  # fmt: skip


class PrometheusSource:
    """Implements the port `MetricsSource`."""

    def __init__(self, http: httpx.AsyncClient, *, stale_after: timedelta) -> None:
        self._http = http
        # A series that ended must not be answered with its last value; not every system knows the parameter.
        self._look_back = {"lookback_delta": f"{int(stale_after.total_seconds())}s"}

    async def newest(self) -> Sequence[Sample]:
        answer = await self._ask("/api/v1/query", {"query": QUERY})
        with _readable():
            return [sample for series in answer for sample in _samples(series["metric"], [series["value"]])]

    async def between(self, start: datetime, end: datetime, step: timedelta) -> Sequence[Sequence[Sample]]:
        params = {
            "query": QUERY,
            "start": f"{start.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step.total_seconds():g}",
        }
        columns: dict[float, list[Sample]] = defaultdict(list)
        answer = await self._ask("/api/v1/query_range", params)
        with _readable():
            for series in answer:
                for sample in _samples(series["metric"], series["values"]):
                    columns[sample.at].append(sample)
        return [columns[at] for at in sorted(columns)]

    async def _ask(self, path: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        response = await self._send(path, {**params, **self._look_back})
        if response.status_code == _BAD_REQUEST and self._look_back:
            self._look_back = {}
            response = await self._send(path, params)
        if not response.is_success:
            wait = response.headers.get("Retry-After", "")
            raise TemporaryError(
                f"the metrics system answered {response.status_code}: {response.text[:200]}".rstrip(": "),
                retry_after_s=min(float(wait), LEFT_ALONE_MAX.total_seconds()) if wait.isdecimal() else 1.0,
            )
        with _readable():
            return [*orjson.loads(response.content)["data"]["result"]]

    async def _send(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        try:
            return await self._http.get(path, params=dict(params))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TemporaryError(f"the metrics system does not answer: {type(error).__name__} {error}") from error


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TemporaryError(f"the metrics system's answer cannot be read: {type(error).__name__} {error}") from error


def _samples(metric: Mapping[str, str], values: Iterable[Sequence[Any]]) -> Iterable[Sample]:
    """Leave out labels that are not part of the identity (replicas of the ruler, say), and what is no number."""
    labels = labels_of({name: value for name, value in metric.items() if name in _LABELS})
    for at, text in values:
        value = float(text)
        if math.isfinite(value):
            yield Sample(metric["__name__"], labels, value, float(at))

"""The Prometheus HTTP API over the world's signals: what it understands it answers, the rest it refuses."""

import math
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from aegis.kit.clock import Clock
from aegis.simulator.world.telemetry import Sample

KEPT_S = 2 * 3600.0
KEPT_EVERY_S = 15.0
_LOOKBACK_S = 60.0
_MOST_POINTS = 11_000
_SELECTOR = re.compile(r"^\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(?P<matchers>.*)\})?\s*$", re.DOTALL)
_MATCHER = re.compile(r'\s*(?P<label>[a-zA-Z_][a-zA-Z0-9_]*)\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*')
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class BadData(Exception):  # noqa: N818 - Prometheus calls it so
    """A request that Prometheus answers with 400."""


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector."""

    label: str
    how: str
    value: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels fulfil it; a label that is not there is empty."""
        found = labels.get(self.label, "")
        if self.how in ("=", "!="):
            return (found == self.value) == (self.how == "=")
        return (re.fullmatch(self.value, found) is not None) == (self.how == "=~")


def selector(query: str) -> list[Matcher]:
    """Read a vector selector, the only thing understood here.

    >>> [each.label for each in selector('aegis:error_ratio{namespace="shop"}')]
    ['__name__', 'namespace']

    Raises:
        BadData: it is anything else.
    """
    found = _SELECTOR.match(query)
    if found is None or not (found["name"] or found["matchers"]):
        raise BadData(f"parse error: only vector selectors are understood here, not {query!r}")
    matchers = [Matcher("__name__", "=", found["name"])] if found["name"] else []
    rest, at = found["matchers"] or "", 0
    while at < len(rest.rstrip()):
        matcher = _MATCHER.match(rest, at)
        if matcher is None:
            raise BadData(f"parse error: unexpected {rest[at:]!r} inside braces of {query!r}")
        value = re.sub(r"\\(.)", r"\1", matcher["value"]) if matcher["how"] in ("=", "!=") else matcher["value"]
        matchers.append(Matcher(matcher["label"], matcher["how"], value.replace("\\\\", "\\")))
        at = matcher.end()
        if rest[at : at + 1] == ",":
            at += 1
        elif at < len(rest):
            raise BadData(f"parse error: expected a comma before {rest[at:]!r} in {query!r}")
    return _checked(matchers, query)


def _checked(matchers: list[Matcher], query: str) -> list[Matcher]:
    for matcher in matchers:
        if matcher.how in ("=~", "!~"):
            try:
                re.compile(matcher.value)
            except re.error as error:
                raise BadData(f"parse error: {matcher.value!r} is no regular expression: {error}") from error
    if all(each.holds({}) for each in matchers):
        raise BadData(f"parse error: vector selector {query!r} must contain at least one non-empty matcher")
    return matchers


@dataclass
class Recording:
    """The signals of the last two hours, a look every 15 seconds."""

    look: Callable[[], Iterable[Sample]]
    at: deque[float] = field(default_factory=deque)
    looks: deque[list[Sample]] = field(default_factory=deque)

    def keep(self, now: datetime) -> None:
        """Take a look if one is due."""
        seconds = now.timestamp()
        if self.at and seconds - self.at[-1] < KEPT_EVERY_S:
            return
        self.at.append(seconds)
        self.looks.append(list(self.look()))
        while self.at[0] < seconds - KEPT_S:
            self.at.popleft()
            self.looks.popleft()

    def as_of(self, seconds: float) -> list[Sample]:
        """Return the last look before a time, unless it is stale by then."""
        index = bisect_right(self.at, seconds) - 1
        if index < 0 or seconds - self.at[index] > _LOOKBACK_S:
            return []
        return self.looks[index]


class PrometheusApi:
    """The endpoints, over a way to look at the world now and a recording of its past."""

    def __init__(self, recording: Recording, clock: Clock) -> None:
        self._recording = recording
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        both = ["GET", "POST"]
        return [
            Route("/api/v1/query", self._answering(self._query), methods=both),
            Route("/api/v1/query_range", self._answering(self._query_range), methods=both),
            Route("/api/v1/labels", self._answering(self._labels), methods=both),
            Route("/api/v1/label/{name}/values", self._answering(self._values)),
            Route("/api/v1/series", self._answering(self._series), methods=both),
            Route("/api/v1/status/buildinfo", self._answering(_build_info)),
            Route("/-/healthy", _healthy),
            Route("/-/ready", _healthy),
        ]

    def app(self) -> Starlette:
        return Starlette(routes=self.routes())

    def _answering(self, answer: Callable[[dict[str, str]], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                data = answer({**request.path_params, **await _parameters(request)})
            except BadData as refused:
                error = {"status": "error", "errorType": "bad_data", "error": str(refused)}
                return _json(error, status=400)
            return _json({"status": "success", "data": data})

        return endpoint

    def _query(self, given: dict[str, str]) -> Any:
        _refuse_unknown(given, {"query", "time", "timeout"})
        matchers = selector(_required(given, "query"))
        now = self._clock.now().timestamp()
        at = _time(given["time"], "time") if given.get("time") else now
        result = [
            {"metric": _metric(each), "value": [at, _number(each.value)]}
            for each in _matching(self._samples(at, now), matchers)
        ]
        return {"resultType": "vector", "result": result}

    def _samples(self, at: float, now: float) -> Iterable[Sample]:
        return self._recording.look() if at >= now - KEPT_EVERY_S else self._recording.as_of(at)

    def _query_range(self, given: dict[str, str]) -> Any:
        _refuse_unknown(given, {"query", "start", "end", "step", "timeout"})
        matchers = selector(_required(given, "query"))
        start, end = _time(_required(given, "start"), "start"), _time(_required(given, "end"), "end")
        step = _seconds(_required(given, "step"))
        if end < start:
            raise BadData('invalid parameter "end": end timestamp must not be before start time')
        if (end - start) / step > _MOST_POINTS:
            raise BadData("exceeded maximum resolution of 11,000 points per timeseries")
        now = self._clock.now().timestamp()
        rows: dict[tuple[str, ...], Any] = {}
        at = start
        while at <= end:
            for each in _matching(self._recording.as_of(at), matchers) if at <= now else ():
                metric = _metric(each)
                row = rows.setdefault(tuple(metric.values()), {"metric": metric, "values": []})
                row["values"].append([at, _number(each.value)])
            at += step
        return {"resultType": "matrix", "result": list(rows.values())}

    def _labels(self, given: dict[str, str]) -> Any:
        _refuse_unknown(given, {"start", "end"})
        return sorted({"__name__", *(label for each in self._recording.look() for label in each.labels)})

    def _values(self, given: dict[str, str]) -> Any:
        _refuse_unknown(given, {"start", "end", "name"})
        found = {_metric(each).get(given["name"]) for each in self._recording.look()}
        return sorted(each for each in found if each)

    def _series(self, given: dict[str, str]) -> Any:
        _refuse_unknown(given, {"match[]", "start", "end"})
        matchers = selector(_required(given, "match[]"))
        return [_metric(each) for each in _matching(self._recording.look(), matchers)]


async def _parameters(request: Request) -> dict[str, str]:
    given = dict(request.query_params)
    if request.method == "POST":
        given |= dict(parse_qsl((await request.body()).decode(errors="replace")))
    return given


def _refuse_unknown(given: Mapping[str, str], known: set[str]) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        raise BadData(f"invalid parameter {unknown[0]!r}: not understood here")


def _required(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise BadData(f'invalid parameter "{name}": it is missing')
    return given[name]


def _time(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds):
        return seconds
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadData(f'invalid parameter "{name}": cannot parse {text!r} to a valid timestamp') from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    try:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else float(text)
    except ValueError as error:
        raise BadData(f'invalid parameter "step": cannot parse {text!r} to a valid duration') from error
    if not 0 < seconds < math.inf or (parts and "".join(number + unit for number, unit in parts) != text):
        raise BadData(f'invalid parameter "step": {text!r} is not a duration above zero')
    return seconds


def _matching(samples: Iterable[Sample], matchers: list[Matcher]) -> Iterable[Sample]:
    for each in samples:
        if all(
            matcher.holds({"__name__": each.metric}) if matcher.label == "__name__" else matcher.holds(each.labels)
            for matcher in matchers
        ):
            yield each


def _metric(sample: Sample) -> dict[str, str]:
    return {"__name__": sample.metric, **sample.labels}


def _number(value: float) -> str:
    return repr(round(value, 9)) if value % 1 else str(int(value))


def _json(body: Any, *, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")


def _build_info(_given: dict[str, str]) -> Any:
    names = ("version", "revision", "branch", "buildUser", "buildDate", "goVersion")
    return dict.fromkeys(names, "") | {"version": "3.5.0-simulated"}


async def _healthy(_request: Request) -> Response:
    return PlainTextResponse("Prometheus Server is Healthy.\n")

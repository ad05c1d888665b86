"""Azure Monitor's metrics of endpoints and deployments, with the three looks of idleness and with silence.

Rests on API.md C3 and F, and ``responses/metrics_*.json``. A point is the mean of what the metric was during its
interval; what nobody reported has no value. A series without a dimension is no part of an answer that is split by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from local.arm.faults import Answer
from local.arm.resources import Json, Refusal, Resource, Target, not_found
from local.arm.routing import DEPLOYMENT, ENDPOINT, Ask, Route
from local.arm.schema import DayValue, MetricsSeed

if TYPE_CHECKING:
    from local.arm.models import World

REQUESTS = "RequestsPerMinute"
CAPACITY = "DeploymentCapacity"
LATENCIES = tuple(f"RequestLatency{percentile}" for percentile in ("", "_P50", "_P90", "_P95", "_P99"))
BUSY = 12.0  # requests a minute of a deployment that has traffic
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MOST_POINTS = 100_000
TOP = 10  # Azure Monitor's own: time series of a filter with a wildcard, unless ``top`` asks for more
INTERVALS = {
    "PT1M": MINUTE,
    "PT5M": 5 * MINUTE,
    "PT15M": 15 * MINUTE,
    "PT30M": 30 * MINUTE,
    "PT1H": HOUR,
    "PT6H": 6 * HOUR,
    "PT12H": 12 * HOUR,
    "P1D": DAY,
}
AGGREGATIONS = {"average", "minimum", "maximum", "total", "count"}
DIMENSIONS = {
    ("endpoint", REQUESTS): ("deployment", "statusCode", "statusCodeClass", "modelStatusCode"),
    ("deployment", REQUESTS): ("envoy_response_code",),
    ("deployment", CAPACITY): ("instanceId", "State"),
    **{("endpoint", latency): ("deployment",) for latency in LATENCIES},
}
CLAUSE = re.compile(r"(\w+)\s+eq\s+'([^']*)'")
DURATION = re.compile(r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?)?")


class Window(Struct, frozen=True):
    """What a query asks about."""

    since: datetime
    until: datetime
    interval: str

    def buckets(self) -> Iterator[tuple[datetime, datetime]]:
        """The intervals from the first to the last."""
        step, at = INTERVALS[self.interval], self.since.replace(second=0, microsecond=0)
        while at < self.until:
            yield at, at + step
            at += step


class Series(Struct, frozen=True):
    """A time series: its dimensions, and its points."""

    dimensions: dict[str, str]
    points: list[tuple[datetime, float | None]]


class Meters:
    """What deployments report. The world's lock guards it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._began = world.now()
        self._seeds: dict[str, MetricsSeed] = {}
        self._requests: dict[str, list[datetime]] = {}
        for place, workspace in zip(world.places(), world.seed.workspaces, strict=True):
            for endpoint in workspace.endpoints:
                for each in endpoint.deployments:
                    target = place.target.child(endpoint.name).child(each.name)
                    self._seeds[target.key] = each.metrics

    def request(self, target: Target) -> None:
        """One scoring request, now."""
        with self._world.lock:
            self._requests.setdefault(target.key, []).append(self._world.now())

    def seed(self, target: Target) -> MetricsSeed:
        """What the world file says about a deployment."""
        return self._seeds.get(target.key, MetricsSeed())

    def series(self, metric: str, deployment: Resource, window: Window) -> list[Series]:
        """The time series of a deployment, split as far as its metric can be."""
        seed = self.seed(deployment.target)
        if seed.error_code != "Success":
            return []
        if metric == CAPACITY:
            running = {"instanceId": "instance-0", "State": "Running"}
            return self._of(running, self._capacity(deployment), [], deployment, window)
        if metric in LATENCIES:
            latency = "none" if seed.latency_ms is None else seed.latency_ms
            return self._of({"deployment": deployment.target.name}, latency, [], deployment, window)
        asked = [at for at in self._requests.get(deployment.target.key, []) if window.since <= at < window.until]
        name, answered = seed.dimension or deployment.target.name, "none" if seed.answers else None
        found = self._of(
            _dimensions(name, "200"), answered or self._request_rate(deployment), asked, deployment, window
        )
        for each in seed.answers:
            found += self._of(
                _dimensions(name, each.status, each.model_status), each.per_minute, [], deployment, window
            )
        return found

    def rate(self, endpoint: Target, wanted: dict[str, str], minutes: int) -> float:
        """The requests a minute that an alert counts: those with these dimensions, over the last minutes."""
        until = self._world.now().replace(second=0, microsecond=0)
        window = Window(until - minutes * MINUTE, until, "PT1M")
        found = [
            series
            for target in self._world.inside(endpoint)
            if (deployment := self._world.find(target)) is not None
            for series in self.series(REQUESTS, deployment, window)
            if all(series.dimensions.get(name, "").lower() == value.lower() for name, value in wanted.items())
        ]
        return sum(value for each in found for _, value in each.points if value is not None) / minutes

    def _of(
        self,
        dimensions: dict[str, str],
        source: str | float | tuple[DayValue, ...],
        asked: list[datetime],
        deployment: Resource,
        window: Window,
    ) -> list[Series]:
        if source in {"none", "silent"} and not asked:
            return []
        points = [(start, self._mean(source, asked, deployment, start, end)) for start, end in window.buckets()]
        return [Series(dimensions, points)]

    def _request_rate(self, deployment: Resource) -> str | float | tuple[DayValue, ...]:
        said = self.seed(deployment.target).requests
        if said is None:
            return BUSY if self._world.weight(deployment.target) else "none"
        return 0.0 if said == "zero" else said

    def _capacity(self, deployment: Resource) -> str | float | tuple[DayValue, ...]:
        said = self.seed(deployment.target).capacity
        if said == "alive":  # without a provisioning that succeeded there is no instance to report
            capacity = (deployment.spec.get("sku") or {}).get("capacity", 1)
            return float(capacity) if deployment.ever_succeeded else "silent"
        return said

    def _mean(
        self,
        source: str | float | tuple[DayValue, ...],
        asked: list[datetime],
        deployment: Resource,
        start: datetime,
        end: datetime,
    ) -> float | None:
        """The mean of a bucket; None if nothing was reported in it."""
        first, last = max(start, deployment.created_at), min(end, self._world.now())
        counted = sum(start <= at < end for at in asked) / ((end - start) / MINUTE)
        values = []
        at = first
        while at < last:
            value = self._value(source, at)
            if value is not None:
                values.append(value)
            at += end - at if isinstance(source, float | str) else HOUR
        if not values:
            return counted or None
        return sum(values) / len(values) + counted

    def _value(self, source: str | float | tuple[DayValue, ...], at: datetime) -> float | None:
        if isinstance(source, float):
            return source
        if isinstance(source, str) or at >= self._began:
            return None
        days_ago = (self._began - at - timedelta(microseconds=1)) // DAY
        return next((day.average for day in source if day.days_ago == days_ago), None)


# Routes


def _metrics(ask: Ask) -> Answer:
    world = ask.world
    level: Literal["endpoint", "deployment"] = "deployment" if ask.target.deployment else "endpoint"
    names = [name.strip() for name in (ask.query("metricnames") or REQUESTS).split(",") if name.strip()]
    known = {metric.lower(): metric for place, metric in DIMENSIONS if place == level}
    with world.lock:
        target = world.spelled(ask.target)
        resource = world.find(target)
        if resource is None:
            raise not_found()
        unknown = [name for name in names if name.lower() not in known]
        if unknown:
            text = f"Failed to find metric configuration for provider: {target.provider}, metric: {unknown[0]}"
            raise Refusal(400, "BadRequest", f"{text}, Valid metrics: {','.join(known.values())}")
        window, asked_for = _window(ask), _aggregations(ask)
        rows = [_metric(ask, known[name.lower()], target, window, asked_for) for name in names]
    body = {
        "cost": 0,
        "timespan": f"{_text(window.since)}/{_text(window.until)}",
        "interval": window.interval,
        "value": rows,
        "namespace": target.type,
        "resourceregion": resource.location,
    }
    return Answer(status=200, body=body)


def _metric(ask: Ask, metric: str, target: Target, window: Window, asked_for: set[str]) -> Json:
    world = ask.world
    inside = [target] if target.deployment else world.inside(target)
    deployments = [each for each in map(world.find, inside) if each is not None]
    wanted = _filter(ask, metric, target)
    name = wanted.get("deployment", "*")
    if name != "*":
        deployments = [each for each in deployments if each.target.name.lower() == name.lower()]
    codes = {world.meters.seed(each.target).error_code for each in deployments} - {"Success"}
    found = [one for each in deployments for one in world.meters.series(metric, each, window)] if not codes else []
    series = _split(found, wanted)
    top = ask.query("top") or ""
    series = series[: int(top) if top.isdecimal() else TOP] if wanted else series
    # Requests and latencies are averaged only; the capacity has its extremes too.
    kept = asked_for & ({"average", "minimum", "maximum"} if metric == CAPACITY else {"average"})
    return {
        "id": f"{target.id}/providers/Microsoft.Insights/metrics/{metric}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": metric, "localizedValue": metric},
        "displayDescription": "",
        "unit": "MilliSeconds" if metric in LATENCIES else "Count",
        "timeseries": [_shape(each, kept) for each in series],
        "errorCode": next(iter(sorted(codes)), "Success"),
    }


def _shape(series: Series, aggregations: set[str]) -> Json:
    data = [
        {"timeStamp": _text(at)} | (dict.fromkeys(sorted(aggregations), value) if value is not None else {})
        for at, value in series.points
    ]
    shown = [
        {"name": {"value": name, "localizedValue": name}, "value": value} for name, value in series.dimensions.items()
    ]
    return {"metadatavalues": shown, "data": data}


def _dimensions(deployment: str, status: str, model_status: str | None = None) -> dict[str, str]:
    """The dimensions of requests, of the endpoint's metric and of the deployment's own."""
    known = {"deployment": deployment, "statusCode": status, "statusCodeClass": f"{status[:1]}xx"}
    return known | {"envoy_response_code": status} | ({"modelStatusCode": model_status} if model_status else {})


def _split(series: list[Series], wanted: dict[str, str]) -> list[Series]:
    """The series by the dimensions of a filter, those that are alike in one; without a filter all in one."""
    groups: dict[tuple[str, ...], list[Series]] = {}
    for each in series:
        values = tuple(each.dimensions.get(name, "") for name in wanted)
        # Deployments are chosen before: a series may have another name for its own.
        asked = ("*" if name == "deployment" else value for name, value in wanted.items())
        if all(value and one in {"*", value} for one, value in zip(asked, values, strict=True)):
            groups.setdefault(values, []).append(each)
    return [_sum(group, dict(zip(wanted, values, strict=True))) for values, group in groups.items()]


def _sum(series: list[Series], dimensions: dict[str, str]) -> Series:
    points: list[tuple[datetime, float | None]] = []
    for several in zip(*(each.points for each in series), strict=True):
        values = [value for _, value in several if value is not None]
        points.append((several[0][0], sum(values) if values else None))
    return Series(dimensions, points)


def _filter(ask: Ask, metric: str, target: Target) -> dict[str, str]:
    """Dimension -> the value asked for, ``*`` for each of them."""
    text = ask.query("$filter")
    if not text:
        return {}
    allowed = DIMENSIONS["deployment" if target.deployment else "endpoint", metric]
    spelled = {name.lower(): name for name in allowed}
    clauses = [CLAUSE.fullmatch(clause.strip()) for clause in re.split(r"\s+and\s+", text)]
    wanted = {spelled.get(clause[1].lower(), ""): clause[2] for clause in clauses if clause is not None}
    if None in clauses or "" in wanted:
        raise Refusal(400, "BadRequest", f"Filter {text!r} is invalid: {metric} has the dimensions {allowed}.")
    return wanted


def _aggregations(ask: Ask) -> set[str]:
    asked = {each.strip().lower() for each in (ask.query("aggregation") or "Average").split(",")}
    if not asked <= AGGREGATIONS:
        raise Refusal(400, "BadRequest", f"Invalid aggregation: {', '.join(sorted(asked - AGGREGATIONS))}.")
    return asked


def _window(ask: Ask) -> Window:
    now, interval = ask.world.now(), ask.query("interval") or "PT1M"
    if interval not in INTERVALS:
        raise Refusal(400, "BadRequest", f"Invalid time grain {interval!r}. Valid are {', '.join(INTERVALS)}.")
    text = ask.query("timespan") or "PT1H"
    since, slash, until = text.partition("/")
    try:
        window = Window(_moment(since) if slash else now - _duration(since), _moment(until) if slash else now, interval)
    except (ValueError, OverflowError) as error:
        raise Refusal(400, "BadRequest", f"The timespan {text!r} is invalid.") from error
    if not window.since < window.until or (window.until - window.since) / INTERVALS[interval] > MOST_POINTS:
        raise Refusal(400, "BadRequest", f"The timespan {text!r} is invalid for a time grain of {interval}.")
    return window


def _duration(text: str) -> timedelta:
    parts = DURATION.fullmatch(text)
    if parts is None or not any(parts.groups()):
        raise ValueError(text)
    return timedelta(**{name: int(value or 0) for name, value in parts.groupdict().items()})


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_READ = "Microsoft.Insights/metrics/read"
_METRICS = "/providers/Microsoft.Insights/metrics"

ROUTES = (
    Route("GET", "endpoint-metrics", ENDPOINT + _METRICS, _READ, _metrics),
    Route("GET", "deployment-metrics", DEPLOYMENT + _METRICS, _READ, _metrics),
)

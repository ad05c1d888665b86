"""Read Azure Monitor's metrics of endpoints and deployments, and how an endpoint answers requests by them.

Azure fills in no zeros for these metrics: a point without a value, or no series, says nothing by itself. What an answer
does not prove is unknown.

https://learn.microsoft.com/rest/api/monitor/metrics/list
https://learn.microsoft.com/azure/machine-learning/how-to-monitor-online-endpoints
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from remediations.codec import mapping, moment, text
from remediations.model import Answers, Found, Incident, Json, Load, Reading, ResourceId, Unknown
from remediations.ports import Reads

METRICS_API_VERSION = "2024-02-01"
MAX_SERIES = 200  # Azure gives ten unless told otherwise
_VALUES = ("average", "maximum", "minimum", "total")
_MINUTE = timedelta(minutes=1)
_SHORTEST, _LONGEST = timedelta(minutes=15), timedelta(hours=6)
_STATUS = re.compile(r"[1-5]\d\d", re.ASCII)
_UNITS = {"milliseconds": timedelta(milliseconds=1), "seconds": timedelta(seconds=1)}
_SLOWEST = 1e9  # of either unit: more is no latency
_BY_MODEL = "424"  # the service's word for whatever the model's own container answered with


class Series(Struct, frozen=True):
    """One series of a metric: its dimensions (names in lower case), and its points that have a value."""

    dimensions: dict[str, str]
    points: tuple[tuple[datetime, float], ...]


def url(resource: ResourceId, query: str, *, start: datetime, end: datetime, interval: str) -> str:
    """Give the URL of a query for metrics over a span of time."""
    span = f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"
    path = f"{resource.path}/providers/Microsoft.Insights/metrics?api-version={METRICS_API_VERSION}"
    return f"{path}&interval={interval}&timespan={span}{query}"


def series(
    reading: Reading[Json], metric: str, start: datetime, end: datetime, *, slack: timedelta
) -> list[Series] | Unknown:
    """Give the series of one metric, if the answer covers the span and holds nothing odd.

    Args:
        slack: How much the answer may leave out at either end of the span.
    """
    row = _row(reading, metric, start, end, slack)
    if isinstance(row, Unknown):
        return row
    shown = row.get("timeseries")
    found = [_one(mapping(each)) for each in shown] if isinstance(shown, list) else [None]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) else Unknown(f"its {metric} cannot be read")


# ---------------------------------------------------------------------------------------------------------- load


def load(reads: Reads, incident: Incident) -> Reading[Load]:
    """Give how an endpoint, or one deployment of it, answered requests up to a failure.

    It looks at the window of the alert, at least at 15 minutes and at most at six hours. The model's own status codes
    are asked for in a second question: whether a series without that dimension is part of an answer that is split by
    it is not documented.
    """
    scoring, end = incident.scoring, incident.failed_at.replace(second=0, microsecond=0)  # whole minutes alone
    window = scoring.window if scoring is not None and scoring.window is not None else _SHORTEST
    asked = _Asked(reads, incident.resource, end - min(max(window, _SHORTEST), _LONGEST), end)
    found = asked.answers("statusCode eq '*'")
    if isinstance(found, Unknown):
        return found
    if any(one.status == _BY_MODEL and one.most > 0 for one in found):
        split = asked.answers(f"statusCode eq '{_BY_MODEL}' and modelStatusCode eq '*'")
        if not isinstance(split, Unknown) and any(one.model_status is not None for one in split):
            found = [one for one in found if one.status != _BY_MODEL] + split
    busiest_first = sorted(found, key=lambda one: (-one.most, one.status, one.model_status or ""))
    return Found(Load(answers=tuple(busiest_first), latency=asked.latency()))


class _Asked:
    """What the metrics of one endpoint say about one span of time, of one deployment if the incident names it."""

    def __init__(self, reads: Reads, resource: ResourceId, start: datetime, end: datetime) -> None:
        self._reads = reads
        self._endpoint = resource.endpoint_id
        self._deployment = resource.deployment
        self._start, self._end = start, end

    def answers(self, which: str) -> list[Answers] | Unknown:
        """Give the requests by status code, and by the model's own where the filter names that."""
        found = series(self._get("RequestsPerMinute", which), "RequestsPerMinute", *self._span, slack=_MINUTE)
        if isinstance(found, Unknown):
            return found
        if len(found) >= MAX_SERIES:
            return Unknown("the endpoint's metrics have more series than are shown")
        answers = [self._answers_of(each) for each in found]
        known = [each for each in answers if each is not None]
        return known if len(known) == len(answers) else Unknown("the endpoint's metrics are not split by status code")

    def latency(self) -> timedelta | None:
        """Give the 95th percentile of how long requests took, at its worst."""
        metric = "RequestLatency_P95"
        reading = self._get(metric, "")
        row, found = _row(reading, metric, *self._span, _MINUTE), series(reading, metric, *self._span, slack=_MINUTE)
        if isinstance(row, Unknown) or isinstance(found, Unknown):
            return None
        unit = _UNITS.get(text(row.get("unit")).lower())
        worst = max((value for each in found for _, value in each.points), default=0.0)
        return None if unit is None or not 0 < worst < _SLOWEST else unit * worst

    @property
    def _span(self) -> tuple[datetime, datetime]:
        return self._start, self._end

    def _get(self, metric: str, which: str) -> Reading[Json]:
        own = f"deployment eq '{self._deployment}'" if self._deployment is not None else ""
        condition = " and ".join(filter(None, (own, which)))
        query = f"&metricnames={metric}&aggregation=Average&top={MAX_SERIES}"
        query += f"&$filter={condition}" if condition else ""
        return self._reads.get(url(self._endpoint, query, start=self._start, end=self._end, interval="PT1M"))

    def _answers_of(self, each: Series) -> Answers | None:
        """Give one series as answers; None if it is of no status code, or of another deployment."""
        status = each.dimensions.get("statuscode", "")
        model_status = each.dimensions.get("modelstatuscode", "")
        deployment = each.dimensions.get("deployment", "")
        is_other = self._deployment is not None and deployment.lower() not in {"", self._deployment.lower()}
        if is_other or not _STATUS.fullmatch(status):
            return None
        values = [value for _, value in each.points]
        minutes = (self._end - self._start) / _MINUTE
        return Answers(
            status=status,
            model_status=model_status if _STATUS.fullmatch(model_status) else None,
            per_minute=sum(values) / minutes,
            most=max(values, default=0.0),
        )


# ----------------------------------------------------------------------------------------------------- the parts


def _row(
    reading: Reading[Json], metric: str, start: datetime, end: datetime, slack: timedelta
) -> Mapping[str, Json] | Unknown:
    """Give what an answer says of one metric."""
    if not isinstance(reading, Found):
        return reading if isinstance(reading, Unknown) else Unknown("it has no metrics")
    answer = mapping(reading.value)
    first, _, last = text(answer.get("timespan")).partition("/")
    begins, ends = moment(first), moment(last)
    if begins is None or ends is None or begins > start + slack or ends < end - slack:
        return Unknown("its metrics do not cover the whole time")
    values = answer.get("value")
    named = [each for each in map(mapping, values if isinstance(values, list) else []) if _is(each, metric)]
    if len(named) != 1 or named[0].get("errorCode") != "Success":
        return Unknown(f"its metrics give no {metric}")
    return named[0]


def _is(shown: Mapping[str, Json], metric: str) -> bool:
    return text(mapping(shown.get("name")).get("value")).lower() == metric.lower()


def _one(shown: Mapping[str, Json]) -> Series | None:
    """Give one series; None if anything in it is odd."""
    dimensions, data = shown.get("metadatavalues", []), shown.get("data", [])
    if not isinstance(dimensions, list) or not isinstance(data, list):
        return None
    named = {
        text(mapping(each.get("name")).get("value")).lower(): text(each.get("value"))
        for each in map(mapping, dimensions)
    }
    points: list[tuple[datetime, float]] = []
    for point in map(mapping, data):
        at, values = moment(point.get("timeStamp")), [point[name] for name in _VALUES if point.get(name) is not None]
        if not values and any(point.get(name) is not None for name in point.keys() - {"timeStamp"}):
            return None  # it says something, and not what was asked
        for value in values:
            if at is None or isinstance(value, bool) or not isinstance(value, int | float):
                return None
            if not 0 <= value < math.inf:  # nor NaN
                return None
            points.append((at, value))
    return Series(named, tuple(points))

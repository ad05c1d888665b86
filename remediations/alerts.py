"""Read an alert about scoring: common alert schema -> the endpoint or deployment it is about, and `Scoring`. Pure.

Metric alerts (``Platform``) name their metric, and both they and log alerts name what they are about in dimensions. A
log alert carries no rows of its query, so one that is not split by deployment and status code says little.
Whatever an alert holds is text that anyone may have written: every value is checked, and what does not fit is left out.

https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema
https://learn.microsoft.com/azure/machine-learning/how-to-monitor-online-endpoints
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from remediations.codec import duration, mapping, text
from remediations.model import Json, ResourceId, Scoring

SERVICES = frozenset({"Platform", "Log Alerts V2", "Log Analytics", "Application Insights"})
_MOST = 20  # targets, criteria and dimensions that are looked at, of each
_LONGEST_RULE = 120
_LONGEST_WINDOW = timedelta(days=2)  # Azure's own limit
_STATUS = re.compile(r"[1-5](?:\d\d|xx)", re.ASCII)
_METRIC = re.compile(r"[A-Za-z][\w /.%-]{0,99}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_WORKSPACE = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/workspaces/[^/]+", re.IGNORECASE)
# What the metrics and the tables of an endpoint call one thing, in lower case.
_RESOURCE = ("_resourceid", "resourceid", "microsoft.resourceid")
_ENDPOINT = ("endpoint", "endpointname")
_DEPLOYMENT = ("deployment", "deploymentname")
_STATUS_OF = ("statuscode", "responsecode", "envoy_response_code", "statuscodeclass")
_MODEL_STATUS = ("modelstatuscode",)


def read(essentials: Mapping[str, Json], context: Mapping[str, Json]) -> tuple[ResourceId, Scoring] | None:
    """Give what an alert is about and what it says of it; None if it is about no online endpoint.

    An event is one delivery with one end on the trail, so it gives one incident. Little is lost by that: Azure raises
    an alert of its own for each combination of dimensions and for each target, and the criteria of one alert hold at
    the same time, so they tell one story. Told is the criterion that says most: a deployment, then a single status
    code, then a class of them, then a model's status code, and of equal ones the one with the highest value.
    """
    targets = [text(target) for target in _items(essentials.get("alertTargetIDs"))]
    condition = mapping(context.get("condition"))
    rule = "".join(one if one.isprintable() else " " for one in text(essentials.get("alertRule"))[:_LONGEST_RULE])
    window = duration(condition.get("windowSize"))
    told: list[tuple[ResourceId, Scoring]] = []
    for criterion in [mapping(each) for each in _items(condition.get("allOf"))] or [{}]:
        named = _dimensions(criterion)
        resource = _resource(targets, named)
        if resource is None:
            continue
        model_status = _first(named, _MODEL_STATUS).lower()
        metric = text(criterion.get("metricName"))
        scoring = Scoring(
            rule=rule.strip() or "unnamed",
            status=_status(named),
            model_status=model_status if _STATUS.fullmatch(model_status) else None,
            metric=metric if _METRIC.fullmatch(metric) else None,
            value=_number(criterion.get("metricValue")),
            threshold=_number(criterion.get("threshold")),
            window=window if window is not None and window <= _LONGEST_WINDOW else None,
        )
        told.append((resource, scoring))
    return max(told, key=_weight, default=None)


def is_about_failing(scoring: Scoring) -> bool:
    """Tell whether an alert is about answers that fail, or about requests at all, not about the load of a machine."""
    if scoring.status is not None:
        return scoring.status[0] in "45"
    return scoring.metric is None or scoring.metric.lower().startswith("request")


def _weight(told: tuple[ResourceId, Scoring]) -> tuple[bool, bool, bool, bool, float]:
    resource, scoring = told
    status = scoring.status or ""
    value = -math.inf if scoring.value is None else scoring.value
    return resource.deployment is not None, status.isdecimal(), bool(status), scoring.model_status is not None, value


def _items(shown: Json) -> list[Json]:
    return shown[:_MOST] if isinstance(shown, list) else []


def _dimensions(criterion: Mapping[str, Json]) -> dict[str, str]:
    pairs = [mapping(each) for each in _items(criterion.get("dimensions"))]
    return {text(pair.get("name")).lower(): text(pair.get("value")).strip() for pair in pairs}


def _first(named: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((named[name] for name in names if named.get(name)), "")


def _status(named: Mapping[str, str]) -> str | None:
    """Give the status code that is named, or its class where there is none."""
    told = (named.get(name, "").lower() for name in _STATUS_OF)
    return next((status for status in told if _STATUS.fullmatch(status)), None)


def _resource(targets: list[str], named: Mapping[str, str]) -> ResourceId | None:
    """Give the endpoint that an alert aims at, else the one its dimensions name; with the deployment that they name."""
    found = next(_parsed(targets), None)
    if found is None:
        endpoint = _first(named, _ENDPOINT)
        below = [f"{target}/onlineEndpoints/{endpoint}" for target in targets if _WORKSPACE.fullmatch(target)]
        found = next(_parsed([_first(named, _RESOURCE), *below]), None)
    deployment = _first(named, _DEPLOYMENT)
    if found is None or found.deployment is not None or not deployment:
        return found
    return next(_parsed([f"{found.path}/deployments/{deployment}"]), found)


def _parsed(paths: list[str]) -> Iterator[ResourceId]:
    for path in paths:
        try:
            yield ResourceId.parse(path)
        except ValueError:
            continue


def _number(shown: Json) -> float | None:
    """Read a number, or one in quotes, as Azure writes a threshold."""
    if isinstance(shown, str):
        return float(shown) if _NUMBER.fullmatch(shown) else None
    if isinstance(shown, bool) or not isinstance(shown, int | float) or not -1e15 < shown < 1e15:
        return None
    return float(shown)

"""The part of `surroundings` that counts cores: quota, and the deployments that draw on the same one.

Cores are those of Azure ML's own quota, not of Compute's. What metrics do not prove is unknown.

https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas
https://learn.microsoft.com/rest/api/azureml/usages/list
https://learn.microsoft.com/rest/api/monitor/metrics/list
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from remediations import metrics
from remediations.codec import mapping, text
from remediations.enrichment import API_VERSION, resource_state
from remediations.idle import why_kept
from remediations.metrics import MAX_SERIES, Series
from remediations.model import (
    Absent,
    Caller,
    Candidate,
    Found,
    Json,
    Quota,
    Reading,
    ResourceId,
    ResourceState,
    Unknown,
    reading_words,
)
from remediations.policy import Policy
from remediations.ports import Reads

_MAX_WORKSPACES, _MAX_ENDPOINTS, _MAX_DEPLOYMENTS = 20, 100, 500
_MAX_LISTED = 2000
_BUDGET = 150  # what our share of a subscription's reads gives within seconds (`throttling`)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_LOCATION = re.compile(r"[a-z0-9]+")
_WORKSPACE = re.compile(
    r"/subscriptions/[^/?#]+/resourceGroups/[^/?#]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/?#]+",
    re.IGNORECASE,
)


class Size(Struct, frozen=True):
    """A machine type: its family, and the cores of one."""

    family: str
    cores: int


class Sizes(Struct, frozen=True, kw_only=True):
    """The machine types of a location, by name in lower case.

    Attributes:
        path: Resource ID of the location: its usages lie below it.
    """

    location: str
    path: str
    by_name: dict[str, Size]


def sizes(reads: Reads, resource: ResourceId, location: str) -> Reading[Sizes]:
    """Give the machine types of a location."""
    name = _location(location)
    if name is None:
        return Unknown(f"{location[:50]!r} is no location")
    path = f"/subscriptions/{resource.subscription}/providers/Microsoft.MachineLearningServices/locations/{name}"
    reading = reads.get_all(f"{path}/vmSizes?api-version={API_VERSION}", most=_MAX_LISTED)
    if not isinstance(reading, Found):
        return reading
    by_name = {}
    for item in reading.value:
        shown = mapping(item)
        family, cores = text(shown.get("family")), _whole(shown.get("vCPUs"))
        if family and cores is not None and cores > 0:
            by_name[text(shown.get("name")).lower()] = Size(family, cores)
    return Found(Sizes(location=name, path=path, by_name=by_name))


# --------------------------------------------------------------------------------------------------------- quota


def quota(reads: Reads, deployment: Reading[ResourceState], types: Reading[Sizes]) -> Reading[Quota]:
    """Give the quota that a deployment draws on."""
    if not isinstance(types, Found):
        return Unknown("the location lists no machine types") if isinstance(types, Absent) else types
    known = types.value
    demand = _demand(deployment, known)
    if isinstance(demand, Unknown):
        return demand
    state, size, needed = demand
    rows = reads.get_all(f"{known.path}/usages?api-version={API_VERSION}", most=_MAX_LISTED)
    if not isinstance(rows, Found):
        return Unknown("the location has no usages") if isinstance(rows, Absent) else rows
    family = _usage(rows.value, f"{size.family} Cluster Dedicated vCPUs")
    total = _usage(rows.value, "Total Cluster Dedicated Regional vCPUs")
    if isinstance(family, Unknown):
        return family
    if isinstance(total, Unknown):
        return total
    workspace = state.path.lower().partition("/onlineendpoints/")[0]
    if share := _share(rows.value, size.family, workspace, family):
        return Unknown(share)
    return Found(
        Quota(
            location=known.location,
            family=size.family,
            instance_type=state.instance_type or "",
            cores_each=size.cores,
            needed=needed,
            used=family.used,
            limit=family.limit,
            total_used=total.used,
            total_limit=total.limit,
        )
    )


def _demand(deployment: Reading[ResourceState], known: Sizes) -> tuple[ResourceState, Size, int] | Unknown:
    if isinstance(deployment, Unknown):
        return Unknown(f"the deployment is not known: {deployment.reason}")
    if isinstance(deployment, Absent):
        return Unknown("the deployment is not there: what it would need is not shown")
    state = deployment.value
    if state.kind != "Managed":
        return Unknown(f"it runs on {state.kind}: it draws on no quota of Azure ML")
    size = known.by_name.get((state.instance_type or "").lower())
    if size is None:
        return Unknown(f"{known.location} has no machine type {state.instance_type!r}")
    needed = cores_of(state, size)
    return Unknown("the deployment shows no number of instances") if needed is None else (state, size, needed)


def cores_of(state: ResourceState, size: Size) -> int | None:
    """Give the cores that a deployment takes, with the 20 % that Azure ML reserves; None if it shows no instances."""
    capacity = _whole(state.capacity)
    return None if capacity is None or capacity < 1 else -(-12 * capacity // 10) * size.cores


class _Usage(Struct, frozen=True):
    used: int
    limit: int | None


def _usage(rows: tuple[Json, ...], name: str) -> _Usage | Unknown:
    """Give the one row of the subscription by that name."""
    found = [row for row in _named(rows, name) if "workspace" not in f"{row.get('id')} {row.get('type')}".lower()]
    if len(found) != 1:
        return Unknown(f"the usages have {'no row' if not found else f'{len(found)} rows'} for {name}")
    usage = _read_usage(found[0])
    return usage if usage is not None else Unknown(f"the usage of {name} cannot be read")


def _share(rows: tuple[Json, ...], family: str, workspace: str, whole: _Usage) -> str | None:
    """Give why a share of the workspace itself may hold back more than the family's quota does; None if none does."""
    for row in _named(rows, f"{family} Cluster Dedicated vCPUs"):
        path, is_share = text(row.get("id")).lower(), "workspace" in f"{row.get('id')} {row.get('type')}".lower()
        if not is_share or "/computes/" in path:
            continue
        if "/workspaces/" in path and not path.startswith(f"{workspace}/"):
            continue
        own = _read_usage(row)
        bounds = own is not None and own.limit is not None and (whole.limit is None or own.limit < whole.limit)
        if own is None or bounds or own.used > whole.used:
            return f"the workspace may have a share of its own of {family}"
    return None


def _read_usage(row: Mapping[str, Json]) -> _Usage | None:
    used, limit = _whole(row.get("currentValue")), _whole(row.get("limit"))
    if used is None or used < 0 or limit is None or limit < -1:
        return None
    return _Usage(used, None if limit == -1 else limit)


def _named(rows: tuple[Json, ...], name: str) -> Iterator[Mapping[str, Json]]:
    for row in map(mapping, rows):
        if _plain(text(mapping(row.get("name")).get("value"))) == _plain(name):
            yield row


def _plain(name: str) -> str:
    """Give a name's letters and digits: families are written ``standardDSv2Family`` and ``Standard DSv2 Family``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _location(shown: str) -> str | None:
    """Give a location's name as it stands in URLs: ``West Europe`` is ``westeurope``; None if it is none."""
    name = shown.lower().replace(" ", "")
    return name if _LOCATION.fullmatch(name) else None


def _whole(shown: Json) -> int | None:
    return shown if isinstance(shown, int) and not isinstance(shown, bool) else None


# ---------------------------------------------------------------------------------------------------- candidates


def candidates(
    reads: Reads,
    failed: ResourceId,
    types: Reading[Sizes],
    needed: Reading[Quota],
    *,
    policy: Policy,
    now: datetime,
    own: Caller | None,
) -> Reading[tuple[Candidate, ...]]:
    """Give the deployments that draw on the missing quota; metrics are asked only of those that nothing else keeps."""
    if not isinstance(needed, Found) or not isinstance(types, Found):
        return Unknown(f"not looked for: the quota is {reading_words(needed)}")
    if needed.value.missing == 0:
        return Unknown("not looked for: no cores are missing")
    if not needed.value.is_curable:
        return Unknown("not looked for: no deletion could free enough")
    sparing = _Sparing(reads)
    found = _drawing(sparing, failed, types.value, needed.value.family, own)
    if not isinstance(found, Found):
        return found
    measured = _Metrics(sparing, now - policy.idle.window, now)
    judged: list[Candidate] = []
    for candidate in found.value:
        why = why_kept(candidate, policy.idle, policy.protected, now, failed=failed)
        if why is not None:
            unasked = Unknown(f"not asked: {why}")
            judged.append(replace(candidate, requests=unasked, alive=unasked))
        else:
            requests, alive = measured.of(candidate.resource)
            judged.append(replace(candidate, requests=requests, alive=alive, window=policy.idle.window))
    return Unknown(sparing.words) if sparing.is_spent else Found(tuple(judged))


class _Sparing:
    """Reads a bounded number of lists and answers. Once they are spent, every further one is unknown."""

    words = f"more than {_BUDGET} requests would be needed"

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._left = _BUDGET
        self.is_spent = False

    def get(self, url: str) -> Reading[Json]:
        return self._reads.get(url) if self._takes_one() else Unknown(self.words)

    def get_all(self, url: str, *, most: int) -> Reading[tuple[Json, ...]]:
        return self._reads.get_all(url, most=most) if self._takes_one() else Unknown(self.words)

    def _takes_one(self) -> bool:
        self.is_spent = self._left == 0
        self._left -= not self.is_spent
        return not self.is_spent


def _drawing(
    reads: _Sparing, failed: ResourceId, known: Sizes, family: str, own: Caller | None
) -> Reading[tuple[Candidate, ...]]:
    """Give every managed deployment of one family in one location of the subscription, its metrics not asked yet."""
    workspaces = _workspaces(reads, failed, known.location)
    if not isinstance(workspaces, Found):
        return workspaces
    endpoints: list[tuple[ResourceId, Mapping[str, Json]]] = []
    for path in workspaces.value:
        listed = _resources(reads, f"{path}/onlineEndpoints", _MAX_ENDPOINTS - len(endpoints), "endpoints")
        if not isinstance(listed, Found):
            return listed
        endpoints += listed.value
    found: list[Candidate] = []
    number = 0
    for endpoint, shown in endpoints:
        deployments = _resources(reads, f"{endpoint.path}/deployments", _MAX_DEPLOYMENTS - number, "deployments")
        if not isinstance(deployments, Found):
            return deployments
        number += len(deployments.value)
        if not _shows_traffic(shown):
            return Unknown(f"the traffic of {endpoint.label} cannot be read")
        found += _of_endpoint(resource_state(shown, endpoint, own), deployments.value, known, family, own)
    return Found(tuple(found))


def _of_endpoint(
    endpoint: ResourceState,
    deployments: list[tuple[ResourceId, Mapping[str, Json]]],
    known: Sizes,
    family: str,
    own: Caller | None,
) -> Iterator[Candidate]:
    states = [(resource, shown, resource_state(shown, resource, own)) for resource, shown in deployments]
    succeeded = [resource.deployment or "" for resource, _, state in states if state.provisioning_state == "Succeeded"]
    for resource, shown, state in states:
        size = known.by_name.get((state.instance_type or "").lower())
        is_managed = mapping(shown.get("properties")).get("endpointComputeType") == "Managed"
        cores = cores_of(state, size) if size is not None and _plain(size.family) == _plain(family) else None
        if is_managed and cores is not None:
            siblings = tuple(name for name in succeeded if name != resource.deployment)
            yield Candidate(resource=resource, state=state, endpoint=endpoint, cores=cores, siblings=siblings)


def _workspaces(reads: _Sparing, failed: ResourceId, location: str) -> Reading[list[str]]:
    provider = f"/subscriptions/{failed.subscription}/providers/Microsoft.MachineLearningServices"
    listed = reads.get_all(f"{provider}/workspaces?api-version={API_VERSION}", most=_MAX_LISTED)
    if not isinstance(listed, Found):
        return Unknown("there is no list of workspaces") if isinstance(listed, Absent) else listed
    paths = []
    for shown in map(mapping, listed.value):
        path, where = text(shown.get("id")), _location(text(shown.get("location")))
        if not _WORKSPACE.fullmatch(path) or where is None:
            return Unknown("the list of workspaces holds one that cannot be read")
        if where == location:
            paths.append(path)
    return Found(paths) if len(paths) <= _MAX_WORKSPACES else Unknown(f"more than {_MAX_WORKSPACES} workspaces")


def _resources(
    reads: _Sparing, path: str, most: int, what: str
) -> Reading[list[tuple[ResourceId, Mapping[str, Json]]]]:
    """Give the endpoints or deployments of a list, each with what it shows; unknown if one of them is odd."""
    listed = reads.get_all(f"{path}?api-version={API_VERSION}", most=most)
    if not isinstance(listed, Found):
        return Unknown(f"there is no list {path}") if isinstance(listed, Absent) else listed
    if len(listed.value) > most:
        return Unknown(f"too many {what}")
    found = []
    for shown in map(mapping, listed.value):
        try:
            resource = ResourceId.parse(text(shown.get("id")))
        except ValueError:
            return Unknown(f"the list of {what} holds one without an ID")
        if not resource.key.startswith(f"{path.lower()}/") or "/" in resource.key[len(path) + 1 :]:
            return Unknown(f"the list of {what} holds one of another place: {resource.label}")
        found.append((resource, shown))
    return Found(found)


def _shows_traffic(endpoint: Mapping[str, Json]) -> bool:
    """Tell whether every weight can be read: one that cannot must not pass for none."""
    properties = mapping(endpoint.get("properties"))
    weights = [properties.get(name) or {} for name in ("traffic", "mirrorTraffic")]
    return all(isinstance(each, dict) and all(_whole(share) is not None for share in each.values()) for each in weights)


# ------------------------------------------------------------------------------------------------------- metrics


class _Metrics:
    """What the metrics of a span of time prove, each endpoint's read once.

    Azure fills in no zeros for these metrics: a point without a value, or no series, says nothing reached it only if
    `alive` is found.
    """

    def __init__(self, reads: _Sparing, start: datetime, end: datetime) -> None:
        self._reads = reads
        self._start, self._end = start, end
        self._of_endpoint: dict[str, Reading[Json]] = {}

    def of(self, resource: ResourceId) -> tuple[Reading[bool], Reading[bool]]:
        """Tell whether requests reached a deployment, and whether its metrics are alive through the whole span."""
        endpoint = resource.endpoint_id
        if endpoint.key not in self._of_endpoint:
            query = f"&metricnames=RequestsPerMinute&aggregation=Average&$filter=deployment eq '*'&top={MAX_SERIES}"
            self._of_endpoint[endpoint.key] = self._ask(endpoint, query)
        split = self._series(self._of_endpoint[endpoint.key], "RequestsPerMinute")
        answer = self._ask(resource, "&metricnames=RequestsPerMinute,DeploymentCapacity&aggregation=Average")
        single = self._series(answer, "RequestsPerMinute")
        alive = self._series(answer, "DeploymentCapacity")
        return _requests(_split_of(split, resource.deployment or ""), single), self._alive(alive)

    def _ask(self, resource: ResourceId, query: str) -> Reading[Json]:
        return self._reads.get(metrics.url(resource, query, start=self._start, end=self._end, interval="PT1H"))

    def _series(self, reading: Reading[Json], metric: str) -> list[Series] | Unknown:
        return metrics.series(reading, metric, self._start, self._end, slack=_HOUR)

    def _alive(self, series: list[Series] | Unknown) -> Reading[bool]:
        """Tell whether every day of the span has a point above zero; absent if one has none."""
        if isinstance(series, Unknown):
            return series
        moments = sorted(at for each in series for at, value in each.points if value > 0)
        day = self._start
        while self._end - day >= _HOUR:  # the points of the last minutes are not there yet
            first = bisect_right(moments, day - _HOUR)
            if first == len(moments) or moments[first] >= day + _DAY:
                return Absent()
            day += _DAY
        return Found(True)


def _requests(*sources: list[Series] | Unknown) -> Reading[bool]:
    """Tell whether any source shows a request; that none was is known only if all can be read."""
    known = [series for source in sources if not isinstance(source, Unknown) for series in source]
    if any(value > 0 for series in known for _, value in series.points):
        return Found(True)
    return next((source for source in sources if isinstance(source, Unknown)), Found(False))


def _split_of(series: list[Series] | Unknown, deployment: str) -> list[Series] | Unknown:
    """Give the series of one deployment; unknown unless all are split by deployment, and all are there."""
    if isinstance(series, Unknown):
        return series
    if len(series) >= MAX_SERIES:
        return Unknown("the endpoint's metrics have more series than are shown")
    if not all(each.dimensions.keys() == {"deployment"} and each.dimensions["deployment"] for each in series):
        return Unknown("the endpoint's metrics are not split by deployment")
    return [each for each in series if each.dimensions["deployment"].lower() == deployment.lower()]

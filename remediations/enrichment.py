"""Enrich: Incident -> Evidence. Reads through a port; every read is a value, absent or unknown.

The order is that of what tells most soonest: the resource, the long-running operation that it names, the Activity Log
by correlation id, then by resource, and, where those do not settle it, container logs.
The Activity Log lags by seconds to minutes, so one round may not settle it: `is_settled` and `next_poll` tell.
Requests that fail are no operation, and no row tells of them: metrics are read instead. For an undo nothing failed:
only what there is now is read, once. What told why an operation failed is not asked again once that is judged: before a
call only what there is now and who wrote of late, after it only what came of it (`Extent`).

https://learn.microsoft.com/rest/api/monitor/activity-logs/list
https://learn.microsoft.com/rest/api/azureml/online-deployments/get-logs
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from remediations import codec, metrics, spec
from remediations.codec import duration, mapping, moment, text
from remediations.messages import parse_redacted
from remediations.model import (
    Absent,
    ActivityRow,
    Caller,
    DesiredSpec,
    ErrorDetail,
    Evidence,
    Found,
    Identity,
    Incident,
    Json,
    OperationState,
    ProvisioningState,
    Reading,
    ResourceId,
    ResourceState,
    Unknown,
)
from remediations.ports import Reads
from remediations.redaction import redact, tail

API_VERSION = "2024-10-01"
ACTIVITY_API_VERSION = "2015-04-01"
type Extent = Literal["cause", "change", "result"]
"""What a look at a failed operation is for: why it failed, what has changed since, or what came of a call."""

CONTAINERS = ("InferenceServer", "StorageInitializer")
_FIRST_POLL, _LONGEST_POLL = timedelta(seconds=10), timedelta(minutes=5)
_LOOK_BACK, _LOOK_AHEAD = timedelta(hours=3), timedelta(hours=2)
_LOG_LINES = 100
_MAX_ROWS = 200
_LEADING_CODE = re.compile(r"([A-Z][A-Za-z]{4,60}): ")
_NOT_AGAIN = Unknown("not asked again: why the operation failed is judged")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def next_poll(polls: int) -> timedelta:
    """Give how long to wait after so many rounds: 10 s, 20 s, 40 s … 5 min."""
    return min(_FIRST_POLL * float(2 ** min(polls - 1, 10)), _LONGEST_POLL)


def enrich(
    incident: Incident,
    reads: Reads,
    *,
    now: datetime,
    own: Caller | None,
    report: tuple[ErrorDetail, ...] = (),
    wants_spec: bool = False,
    extent: Extent = "cause",
) -> Evidence:
    """Give what one round of reads shows.

    Args:
        own: Our identity, to tell our own writes from a person's.
        report: What the sender of the event said.
        wants_spec: Whether policy lets CI's desired spec be fetched.
        extent: What the look is for. About an undo, and about requests that fail, it is always the same.
    """
    shown = reads.get(f"{incident.resource.path}?api-version={API_VERSION}")
    resource = _state(shown, incident.resource, own)
    if incident.is_scoring or incident.is_undo:
        extent = "cause"
    endpoint = resource
    if incident.resource.deployment is not None:
        endpoint = read_resource(reads, incident.resource.endpoint_id, own) if extent != "result" else _NOT_AGAIN
    if incident.is_scoring:
        return _of_requests(incident, resource, endpoint, reads, now=now)
    if incident.is_undo:
        return _of_undo(incident, resource, endpoint, reads, now=now)
    asks_operation = extent == "cause" or _is_failure_of_ours(resource)
    operation = _operation(reads, incident, resource) if asks_operation else _NOT_AGAIN
    log = _log_around(incident, reads, now)
    activity = _activity(log, incident) if extent == "cause" else _NOT_AGAIN
    history = _history(log, incident, resource) if extent != "result" else _NOT_AGAIN
    if extent == "cause" and isinstance(activity, Unknown | Absent):
        activity = _last_failure(incident, history)
    evidence = Evidence(
        incident=incident,
        collected_at=now,
        resource=resource,
        endpoint=endpoint,
        operation=operation,
        activity=activity,
        history=history,
        desired=_desired(reads, incident, shown) if wants_spec and incident.desired_spec_url else Absent(),
        report=report,
        missing_permissions=reads.refused(),
    )
    if extent == "cause" and _needs_logs(evidence):
        evidence = _with_logs(evidence, reads)
    return evidence


def is_settled(evidence: Evidence) -> bool:
    """Tell whether the evidence is enough to judge by: an ended operation or a terminal row with its detail.

    Of requests that fail it is enough to know what the deployment and the endpoint are.
    """
    if evidence.missing_permissions or evidence.incident.is_undo:
        # Of an undo nobody waits for rows to come: what cannot be read now keeps it from being done.
        return bool(evidence.missing_permissions) or not _is_created_by_us(evidence)
    if isinstance(evidence.resource, Unknown) or isinstance(evidence.endpoint, Unknown):
        return False  # a read that failed now may succeed at the next poll
    if evidence.incident.is_scoring:
        return True  # nothing is under way
    if not isinstance(evidence.history, Found):
        return False
    resource = evidence.resource.value if isinstance(evidence.resource, Found) else None
    if resource is not None and resource.is_running and resource.modified_by_us is True:
        return False  # an interrupted walk of ours is still at work
    if isinstance(evidence.operation, Found):
        operation = evidence.operation.value
        if operation.is_over:
            return bool(operation.errors) or operation.status == "Succeeded"
        return False
    rows = evidence.activity.value if isinstance(evidence.activity, Found) else ()
    return any(row.errors for row in rows)


# ------------------------------------------------------------------------------------------- the ladder


def _is_failure_of_ours(resource: Reading[ResourceState]) -> bool:
    """Tell whether what we sent last has failed: its words tell whether a further step can help."""
    state = resource.value if isinstance(resource, Found) else None
    failed = {ProvisioningState.FAILED, ProvisioningState.CANCELED}
    return state is not None and state.modified_by_us is True and state.provisioning_state in failed


def _is_created_by_us(evidence: Evidence) -> bool:
    """Tell whether an interrupted walk of this undo has begun to create the deployment again, and it is not over."""
    undoes = evidence.incident.undoes
    state = evidence.resource.value if isinstance(evidence.resource, Found) else None
    is_ours = state is not None and state.is_running and state.modified_by_us is True
    return is_ours and undoes is not None and undoes.action == "delete-idle"


def _of_requests(
    incident: Incident,
    resource: Reading[ResourceState],
    endpoint: Reading[ResourceState],
    reads: Reads,
    *,
    now: datetime,
) -> Evidence:
    """Give what there is to read about requests that fail."""
    not_asked = Unknown("not asked: requests fail, and no operation did")
    evidence = Evidence(
        incident=incident,
        collected_at=now,
        resource=resource,
        endpoint=endpoint,
        operation=not_asked,
        activity=not_asked,
        history=not_asked,
        load=metrics.load(reads, incident),
        missing_permissions=reads.refused(),
    )
    has_containers = incident.resource.deployment is not None and isinstance(resource, Found)
    return _with_logs(evidence, reads) if has_containers else evidence


def _of_undo(
    incident: Incident,
    resource: Reading[ResourceState],
    endpoint: Reading[ResourceState],
    reads: Reads,
    *,
    now: datetime,
) -> Evidence:
    """Give what there is now, and who wrote of late; what the undo rests on is read in `undone`."""
    return Evidence(
        incident=incident,
        collected_at=now,
        resource=resource,
        endpoint=endpoint,
        operation=_operation(reads, incident, resource),
        activity=Unknown("not asked: an undo was asked for, and no operation failed"),
        history=_history(_log_around(incident, reads, now), incident, resource),
        missing_permissions=reads.refused(),
    )


def read_resource(reads: Reads, resource: ResourceId, own: Caller | None) -> Reading[ResourceState]:
    """Give what a GET of a deployment or endpoint shows."""
    return _state(reads.get(f"{resource.path}?api-version={API_VERSION}"), resource, own)


def resource_state(shown: Mapping[str, Json], resource: ResourceId, own: Caller | None) -> ResourceState:
    """Give what a GET of a deployment or endpoint shows, without the values of its environment variables."""
    properties, system = mapping(shown.get("properties")), mapping(shown.get("systemData"))
    rebuilt = spec.rebuild(shown, is_endpoint=resource.deployment is None)
    identity = mapping(shown.get("identity"))
    capacity = mapping(shown.get("sku")).get("capacity")
    requests = mapping(properties.get("requestSettings"))
    at_once = requests.get("maxConcurrentRequestsPerInstance")
    return ResourceState(
        path=resource.path,
        kind="endpoint" if resource.deployment is None else text(properties.get("endpointComputeType")) or "Managed",
        provisioning_state=text(properties.get("provisioningState")) or "Unknown",
        created_at=moment(system.get("createdAt")),
        last_modified_at=moment(system.get("lastModifiedAt")) or moment(system.get("createdAt")),
        modified_by_us=_is_own(system.get("lastModifiedBy"), own),
        operation_url=text(mapping(properties.get("properties")).get("AzureAsyncOperationUri")) or None,
        instance_type=text(properties.get("instanceType")) or None,
        capacity=capacity if isinstance(capacity, int) else None,
        environment=text(properties.get("environmentId")) or None,
        model=text(properties.get("model")) or None,
        identity=text(identity.get("type")) or None,
        identities=_identities(identity),
        tags={name: value for name, value in mapping(shown.get("tags")).items() if isinstance(value, str)},
        traffic=_shares(properties.get("traffic")),
        mirror_traffic=_shares(properties.get("mirrorTraffic")),
        environment_names=spec.environment_names(shown),
        shows_environment=resource.deployment is None or "environmentVariables" in properties,
        concurrent_requests=at_once if type(at_once) is int and at_once > 0 else None,
        request_timeout=duration(requests.get("requestTimeout")),
        spec_digest=rebuilt.digest if isinstance(rebuilt, spec.Spec) else None,
        not_rebuildable=rebuilt.words if isinstance(rebuilt, spec.NotRebuildable) else None,
    )


def operation_state(shown: Mapping[str, Json]) -> OperationState:
    """Give what the URL of a long-running operation shows."""
    return OperationState(
        status=_status(text(shown.get("status"))),
        code=code_of(shown.get("error")),
        started_at=moment(shown.get("startTime")),
        ended_at=moment(shown.get("endTime")),
        errors=parse_redacted(shown.get("error")),
    )


def _state(shown: Reading[Json], resource: ResourceId, own: Caller | None) -> Reading[ResourceState]:
    return Found(resource_state(mapping(shown.value), resource, own)) if isinstance(shown, Found) else shown


def _identities(shown: Mapping[str, Json]) -> tuple[Identity, ...]:
    """Give the user-assigned identities, their ids in the casing that Azure shows."""
    return tuple(
        Identity(path=path, principal_id=text(mapping(ids).get("principalId")) or None)
        for path, ids in mapping(shown.get("userAssignedIdentities")).items()
    )


def _shares(shown: Json) -> dict[str, int]:
    return {name: share for name, share in mapping(shown).items() if isinstance(share, int)}


def _operation(reads: Reads, incident: Incident, resource: Reading[ResourceState]) -> Reading[OperationState]:
    state = resource.value if isinstance(resource, Found) else None
    is_ours = state is not None and state.modified_by_us is True  # then the operation is our own repair
    modified = state.last_modified_at if state is not None else None
    if modified is not None and modified > incident.failed_at and not is_ours:
        return Unknown("the resource was written after the failure")
    url = (state.operation_url if state is not None else None) or incident.operation_url
    if url is None:
        return Unknown("nothing names the operation")
    reading = reads.get(url)
    if not isinstance(reading, Found):
        return reading
    operation = operation_state(mapping(reading.value))
    if operation.started_at is not None and operation.started_at > incident.failed_at and not is_ours:
        return Unknown("the resource names a later operation")
    return Found(operation)


class _Log:
    """The Activity Log of a subscription between two times; the newest minutes may be missing.

    Its lists show the same rows: each is read once, by Azure's name for it.
    """

    def __init__(self, reads: Reads, subscription: str, start: datetime, end: datetime) -> None:
        self._reads = reads
        times = f"eventTimestamp ge '{start:%Y-%m-%dT%H:%M:%SZ}' and eventTimestamp le '{end:%Y-%m-%dT%H:%M:%SZ}'"
        self._path = (
            f"/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values"
            f"?api-version={ACTIVITY_API_VERSION}&$filter={times} and "
        )
        self._rows: dict[str, ActivityRow | None] = {}

    def about(self, which: str) -> Reading[tuple[ActivityRow, ...]]:
        """Give the rows that a filter lets through."""
        reading = self._reads.get_all(f"{self._path}{which}", most=_MAX_ROWS)
        if not isinstance(reading, Found):
            return reading
        rows = (self._row(mapping(shown)) for shown in reading.value)
        return Found(tuple(row for row in rows if row is not None))

    def _row(self, shown: Mapping[str, Json]) -> ActivityRow | None:
        name = text(shown.get("eventDataId"))
        if not name:
            return activity_row(shown)
        if name not in self._rows:
            self._rows[name] = activity_row(shown)
        return self._rows[name]


def _log_around(incident: Incident, reads: Reads, now: datetime) -> _Log:
    start, end = incident.began_at - _LOOK_BACK, max(now, incident.failed_at) + _LOOK_AHEAD
    return _Log(reads, incident.resource.subscription, start, end)


def log_of(reads: Reads, path: str, since: datetime, now: datetime) -> Reading[tuple[ActivityRow, ...]]:
    """Give what the Activity Log has about one resource since a time; it may be minutes behind."""
    return _Log(reads, path.split("/")[2], since, now + _LOOK_AHEAD).about(f"resourceUri eq '{path}'")


def _activity(log: _Log, incident: Incident) -> Reading[tuple[ActivityRow, ...]]:
    if not incident.correlation_id:
        return Unknown("no correlation id")
    rows = log.about(f"correlationId eq '{incident.correlation_id}'")
    if not isinstance(rows, Found):
        return rows
    key = incident.resource.key
    about_it = tuple(row for row in rows.value if row.resource.lower() == key)
    return Found(about_it) if about_it else Absent()


def _history(log: _Log, incident: Incident, resource: Reading[ResourceState]) -> Reading[tuple[ActivityRow, ...]]:
    rows = log.about(f"resourceUri eq '{incident.resource.path}'")
    if not isinstance(rows, Found) or not isinstance(resource, Absent) or incident.resource.deployment is None:
        return rows
    above = log.about(f"resourceUri eq '{incident.resource.endpoint_path}'")
    return Found((*rows.value, *above.value)) if isinstance(above, Found) else above


def activity_row(shown: Mapping[str, Json]) -> ActivityRow | None:
    """Give one row of the Activity Log; None if it has no time."""
    at = moment(shown.get("eventTimestamp"))
    if at is None:
        return None
    properties = mapping(shown.get("properties"))
    request = mapping(shown.get("httpRequest"))
    status = _status(_value(shown.get("status")))
    return ActivityRow(
        at=at,
        operation_name=_value(shown.get("operationName")),
        status=status,
        resource=text(shown.get("resourceId")),
        correlation_id=text(shown.get("correlationId")),
        caller=_anonymous(text(shown.get("caller"))),
        client_request_id=text(request.get("clientRequestId")) or None,
        code=code_of(properties.get("statusMessage")),
        errors=parse_redacted(properties.get("statusMessage")) if status in {"Failed", "Canceled"} else (),
    )


def _last_failure(incident: Incident, history: Reading[tuple[ActivityRow, ...]]) -> Reading[tuple[ActivityRow, ...]]:
    """Stand in for the rows by correlation id: the last failure of that resource up to the event."""
    if not isinstance(history, Found):
        return history
    ending = f"/{incident.operation}"
    rows = [
        row
        for row in history.value
        if row.status in {"Failed", "Canceled"}
        and row.operation_name.lower().endswith(ending)
        and row.at <= incident.failed_at + timedelta(minutes=5)
        and (incident.correlation_id is None or row.correlation_id.lower() == incident.correlation_id)
    ]
    return Found((max(rows, key=lambda row: row.at),)) if rows else Absent()


def _desired(reads: Reads, incident: Incident, live: Reading[Json]) -> Reading[DesiredSpec]:
    reading = reads.fetch_spec(incident.desired_spec_url or "")
    if not isinstance(reading, Found):
        return reading
    shown = mapping(reading.value)
    if text(shown.get("id")).lower() != incident.resource.key:
        return Unknown("its id is not that of the failed resource")
    rebuilt = spec.rebuild(shown, is_endpoint=incident.resource.deployment is None)
    if isinstance(rebuilt, spec.NotRebuildable):
        return Unknown(f"it cannot be sent: {rebuilt.words}")
    differs = tuple(spec.differences(rebuilt.body, live.value if isinstance(live, Found) else {}))
    state = resource_state(shown, incident.resource, None)
    return Found(
        DesiredSpec(
            url=incident.desired_spec_url or "",
            digest=rebuilt.digest,
            differs=differs,
            kind=state.kind,
            instance_type=state.instance_type,
            capacity=state.capacity,
        )
    )


def _needs_logs(evidence: Evidence) -> bool:
    """Tell whether the containers' logs could still say something: not for what was canceled or never started."""
    if not isinstance(evidence.resource, Found) or evidence.incident.resource.deployment is None:
        return False
    operation = evidence.operation
    return isinstance(operation, Found) and operation.value.status == "Failed"


def _with_logs(evidence: Evidence, reads: Reads) -> Evidence:
    path = evidence.incident.resource.path
    logs: dict[str, Reading[str]] = {}
    for container in CONTAINERS:
        body: Json = {"containerType": container, "tail": _LOG_LINES}
        reading = reads.ask(f"{path}/getLogs?api-version={API_VERSION}", body)
        content = text(mapping(reading.value).get("content")) if isinstance(reading, Found) else ""
        logs[container] = Found(tail(redact(content))) if isinstance(reading, Found) else reading
    return replace(evidence, logs=logs, missing_permissions=reads.refused())


# ------------------------------------------------------------------------------------------- the parts


def code_of(error: Json) -> str | None:
    """Give the code that the service wrote into the fields of an error: that of its innermost detail.

    Codes inside of messages are not looked at, but for the one that leads a message whose own code is empty: that is
    how Azure ML writes some of its own (``ResourceNotFound: …``).
    """
    if isinstance(error, str):
        try:
            error = codec.parse_json(error)
        except ValueError:
            return None
    shown = {name.lower(): value for name, value in mapping(error).items()}
    if isinstance(shown.get("error"), dict):
        return code_of(shown["error"])
    details = shown.get("details")
    inner = code_of(details[0]) if isinstance(details, list) and details and isinstance(details[0], dict) else None
    own = text(shown.get("code"))
    leading = _LEADING_CODE.match(text(shown.get("message")))
    return inner or (own if own.lower() != "none" else "") or (leading[1] if leading else None)


def _status(text: str) -> str:
    return "Canceled" if text in {"Cancelled", "Canceled"} else text


def _value(shown: Json) -> str:
    return text(mapping(shown).get("value")) if isinstance(shown, dict) else text(shown)


def _anonymous(caller: str) -> str | None:
    """Keep an object id or client id; a name or address becomes a digest, enough to tell one person from another."""
    if not caller:
        return None
    return caller.lower() if _GUID.fullmatch(caller) else f"person-{codec.digest(caller.lower())[:12]}"


def _is_own(modified_by: Json, own: Caller | None) -> bool | None:
    if own is None or not isinstance(modified_by, str):
        return None
    return modified_by.lower() in {name.lower() for name in (own.oid, own.appid) if name}

"""Receive an event: raw JSON -> `Reception`. Pure, and total: no JSON makes it raise.

Takes Azure Resource Manager's ``Microsoft.Resources.*`` events in Event Grid and CloudEvents 1.0 form (also out of a
dead-letter blob), the common alert schema, CI's own CloudEvent, and Azure ML's ``ModelDeployed``. An Activity Log alert
tells of a failed deployment, a metric or log alert of requests that an endpoint fails to answer. What is not ours is
given back with the reason, so that it can be acknowledged and recorded.

https://learn.microsoft.com/azure/event-grid/event-schema-subscriptions
https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from msgspec.structs import replace

from remediations import alerts, codec
from remediations.codec import mapping, moment, text
from remediations.messages import parse_redacted
from remediations.model import Caller, Incident, Json, Operation, Reception, ResourceId
from remediations.settings import is_loopback

CI_EVENT_SUFFIX = ".OnlineDeploymentFailed"
MAX_EVENT_BYTES = 1_048_576  # Event Grid's own limit for one event
MAX_EVENTS = 5_000  # and for one batch
_MAX_ID = 200
_MAX_URL = 2_048

_ARM_EVENT = re.compile(r"Microsoft\.Resources\.Resource(Write|Delete|Action)(Success|Failure|Cancel)")
_OPERATIONS = {
    "microsoft.machinelearningservices/workspaces/onlineendpoints/write": Operation.WRITE,
    "microsoft.machinelearningservices/workspaces/onlineendpoints/deployments/write": Operation.WRITE,
    "microsoft.machinelearningservices/workspaces/onlineendpoints/deployments/delete": Operation.DELETE,
}
_CLAIMS = {
    "oid": ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"),
    "appid": ("appid", "azp"),
    "tid": ("tid", "http://schemas.microsoft.com/identity/claims/tenantid"),
}
_OVER = frozenset({"failed", "canceled", "cancelled"})
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OPERATION_URL = re.compile(
    r"(?P<kept>https?://(?:[\w.-]+|\[::1\])(?::\d+)?/subscriptions/(?P<subscription>[\w-]+)"
    r"/providers/Microsoft\.MachineLearningServices/locations/[\w-]+/mfeOperationsStatus/[\w:-]+)(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE | re.ASCII,
)
_API_VERSION = re.compile(r"(?:^|&)api-version=(\d{4}-\d\d-\d\d(?:-preview)?)(?=&|$)", re.IGNORECASE | re.ASCII)


def split(body: Json) -> tuple[Json, ...]:
    """Give the events of one delivery: a batch is a JSON array, a single event stands alone."""
    return tuple(body) if isinstance(body, list) else (body,)


def incident_id(resource: ResourceId, correlation: str) -> str:
    """Give the id that every event of one failed operation shares: safe as an orchestration id and a blob name."""
    return f"inc-{codec.digest(f'{resource.key}\n{correlation.lower()}')[:24]}"


def receive(raw: Json, *, received_at: datetime, subscriptions: Iterable[str] = ()) -> Reception:
    """Give what one event is.

    Args:
        raw: The event, decoded. Anything is taken; what is no event is ignored with the reason.
        received_at: Stands in for a time that the event does not carry, that cannot be read, or that is yet to come.
        subscriptions: The subscriptions that policy watches; none means any.
    """
    event = mapping(raw)
    if not _can_be_kept(event):
        return _ignored({}, "it holds text that is no Unicode")
    if not event:
        return _ignored(event, "it is not a JSON object")
    if event.get("schemaId") == "azureMonitorCommonAlertSchema":
        reception = _receive_alert(event, received_at)
    elif "specversion" in event or "eventType" in event:
        reception = _receive_event(_Envelope(event), received_at)
    else:
        return _ignored(event, "it is neither an Event Grid event, nor a CloudEvent, nor a common alert")
    watched = {subscription.lower() for subscription in subscriptions}
    incident = reception.incident
    if incident is not None and watched and incident.resource.subscription.lower() not in watched:
        return _but_ignored(reception, f"subscription {incident.resource.subscription} is not one that policy watches")
    if incident is not None and incident.failed_at > received_at:
        # What was done after the failure could not be told from what was done before.
        return replace(reception, incident=replace(incident, failed_at=received_at))
    return reception


def receive_strays(count: int) -> Reception:
    """Give what so many items of one batch are that are no JSON objects."""
    words = "it is not a JSON object" if count == 1 else f"{count} items of the batch are not JSON objects"
    return _ignored({}, words)


def left_out(raw: Json, reception: Reception) -> str:
    """Say which of the URLs that CI named its incident goes without, and why; nothing if it goes without none."""
    incident = reception.incident
    if incident is None or incident.source != "ci":
        return ""
    data = mapping(mapping(raw).get("data"))
    why = {
        "desiredSpecUri": _spec_url(data)[1],
        "asyncOperationUri": _operation_url(data, incident.resource.subscription)[1],
    }
    return "; ".join(f"{name} was left out: {words}" for name, words in why.items() if words)


def is_ours(reception: Reception, own: Caller | None) -> bool:
    """Tell whether our own identity caused the event: by client id or object id, never by a request id alone."""
    if own is None:
        return False
    caller = reception.caller
    return _same(caller.appid, own.appid) or _same(caller.oid, own.oid)


# ------------------------------------------------------------------------------------------- the schemas


class _Envelope:
    """The fields that both event schemas have, under one name each."""

    def __init__(self, event: Mapping[str, Json]) -> None:
        is_cloud = "specversion" in event
        self.event_type = text(event.get("type" if is_cloud else "eventType"))
        self.event_id = text(event.get("id"))[:_MAX_ID]
        self.source = text(event.get("source" if is_cloud else "topic"))
        self.subject = text(event.get("subject"))
        self.time = event.get("time" if is_cloud else "eventTime")
        self.data = mapping(event.get("data"))
        self.is_dead_letter = "deadLetterReason" in event or "deadletterreason" in event


def _receive_event(event: _Envelope, received_at: datetime) -> Reception:
    if event.event_type == "Microsoft.EventGrid.SubscriptionValidationEvent":
        code = text(event.data.get("validationCode"))
        return Reception(event_id=event.event_id, event_type=event.event_type, handshake=code)
    if event.event_type == "Microsoft.MachineLearningServices.ModelDeployed":
        service = text(event.data.get("ServiceName") or event.data.get("serviceName"))
        return Reception(event_id=event.event_id, event_type=event.event_type, repaired=(event.source, service))
    if event.event_type.endswith(CI_EVENT_SUFFIX):
        return _receive_failure(event, "ci", received_at)
    match = _ARM_EVENT.fullmatch(event.event_type)
    if match is None:
        return _ignore_envelope(event, f"{event.event_type[:_MAX_ID]!r} tells of no failed deployment")
    if match.group(2) == "Success":
        return _ignore_envelope(event, "it reports a success")
    return _receive_failure(event, "dead-letter" if event.is_dead_letter else "event-grid", received_at)


def _receive_failure(event: _Envelope, source: str, received_at: datetime) -> Reception:
    data = event.data
    reception = _named(event)
    return _with_incident(
        replace(reception, report=parse_redacted(data.get("error"))) if source == "ci" else reception,
        source=source,
        status=data.get("status"),
        failed_at=moment(event.time) or received_at,
        correlation_id=data.get("correlationId"),
        ci=data if source == "ci" else {},
    )


def _receive_alert(event: Mapping[str, Json], received_at: datetime) -> Reception:
    data = mapping(event.get("data"))
    essentials, context = mapping(data.get("essentials")), mapping(data.get("alertContext"))
    service = text(essentials.get("monitoringService"))
    authorization = mapping(context.get("authorization"))
    reception = Reception(
        event_id=text(essentials.get("alertId"))[:_MAX_ID],
        event_type=f"alert: {service}"[:_MAX_ID],
        resource=(text(authorization.get("scope")) or text(context.get("resourceId")))[:1024] or None,
        operation_name=(text(context.get("operationName")) or text(authorization.get("action")))[:_MAX_ID] or None,
        caller=_caller(context.get("claims")),
    )
    is_scoring = service in alerts.SERVICES
    if not is_scoring and service != "Activity Log - Administrative":
        words = f"an alert of {service[:_MAX_ID]!r} tells of no failed deployment and of no failed requests"
        return _but_ignored(reception, words)
    if text(essentials.get("monitorCondition")) != "Fired":
        return _but_ignored(reception, "the alert is not fired: it reports a recovery")
    if is_scoring:
        return _receive_scoring(event, received_at)
    return _with_incident(
        reception,
        source="alert",
        status=context.get("status"),
        failed_at=moment(context.get("eventTimestamp")) or moment(essentials.get("firedDateTime")) or received_at,
        correlation_id=context.get("correlationId"),
    )


def _receive_scoring(event: Mapping[str, Json], received_at: datetime) -> Reception:
    """Give the incident of requests that fail: the same for every delivery of one firing, another for the next.

    Nobody's identity stands behind requests, so what an alert may say of a caller is not looked at.
    """
    data = mapping(event.get("data"))
    essentials, context = mapping(data.get("essentials")), mapping(data.get("alertContext"))
    event_id = text(essentials.get("alertId"))[:_MAX_ID]
    event_type = f"alert: {text(essentials.get('monitoringService'))}"[:_MAX_ID]
    told = alerts.read(essentials, context)
    if told is None:
        aims = essentials.get("alertTargetIDs")
        resource = next((text(each)[:1024] for each in aims if text(each)), None) if isinstance(aims, list) else None
        reception = Reception(event_id=event_id, event_type=event_type, resource=resource)
        return _but_ignored(reception, "neither its target nor its dimensions name an online endpoint")
    resource_id, scoring = told
    if not alerts.is_about_failing(scoring):
        reception = Reception(event_id=event_id, event_type=event_type, resource=resource_id.path)
        return _but_ignored(reception, "it is about no requests that fail or are slow")
    fired = moment(essentials.get("firedDateTime"))
    firing = f"{event_id.lower()} {'' if fired is None else fired.isoformat()}" if event_id else codec.digest_of(event)
    incident = Incident(
        id=incident_id(resource_id, f"alert {firing}"),
        resource=resource_id,
        operation=Operation.SCORE,
        failed_at=fired or received_at,
        event_id=event_id,
        source="alert",
        scoring=scoring,
    )
    return Reception(event_id=event_id, event_type=event_type, resource=resource_id.path, incident=incident)


def _with_incident(
    reception: Reception,
    *,
    source: str,
    status: Json,
    failed_at: datetime,
    correlation_id: Json,
    ci: Mapping[str, Json] = MappingProxyType({}),
) -> Reception:
    operation = _OPERATIONS.get((reception.operation_name or "").lower())
    if operation is None:
        words = f"operation {reception.operation_name!r} is not the write or delete of an endpoint or deployment"
        return _but_ignored(reception, words)
    if (state := text(status)) and state.lower() not in _OVER:
        return _but_ignored(reception, f"status {state[:40]!r} is not a failure")
    try:
        resource = ResourceId.parse(reception.resource or "")
    except ValueError as error:
        return _but_ignored(reception, str(error))
    correlation = text(correlation_id).strip().lower()
    known = correlation if _GUID.fullmatch(correlation) else None
    incident = Incident(
        id=incident_id(resource, known or f"uncorrelated {failed_at.isoformat()}"),
        resource=resource,
        operation=operation,
        failed_at=failed_at,
        event_id=reception.event_id,
        source=source,
        correlation_id=known,
        caller=reception.caller,
        operation_url=_operation_url(ci, resource.subscription)[0],
        desired_spec_url=_spec_url(ci)[0],
    )
    return replace(reception, incident=incident)


# --------------------------------------------------------------------------------------------- the parts


def _can_be_kept(event: Mapping[str, Json]) -> bool:
    """Tell whether the event can be written at all: Python's own JSON reader lets half a surrogate pair through."""
    try:
        codec.encode(event)
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _ignored(event: Mapping[str, Json], words: str) -> Reception:
    return Reception(event_id=text(event.get("id"))[:_MAX_ID], event_type="", ignored=words)


def _ignore_envelope(event: _Envelope, words: str) -> Reception:
    return replace(_named(event), ignored=words)


def _named(event: _Envelope) -> Reception:
    """Give what any event of Resource Manager says of itself: which resource, which operation, who."""
    data = event.data
    resource = text(data.get("resourceUri")) or event.subject
    return Reception(
        event_id=event.event_id,
        event_type=event.event_type[:_MAX_ID],
        resource=resource[:1024] or None,
        operation_name=text(data.get("operationName"))[:_MAX_ID] or None,
        client_request_id=text(mapping(data.get("httpRequest")).get("clientRequestId"))[:_MAX_ID] or None,
        caller=_caller(data.get("claims")),
    )


def _but_ignored(reception: Reception, words: str) -> Reception:
    return replace(reception, incident=None, ignored=words)


def _caller(claims: Json) -> Caller:
    """Keep oid, appid and tid of the claims, and nothing else: the rest is personal data."""
    if isinstance(claims, str):
        try:
            claims = codec.parse_json(claims)
        except ValueError:
            return Caller()
    known = mapping(claims)

    def first(names: Iterable[str]) -> str | None:
        values = (text(known.get(name)) for name in names)
        return next((value for value in values if _GUID.fullmatch(value)), None)

    return Caller(oid=first(_CLAIMS["oid"]), appid=first(_CLAIMS["appid"]), tid=first(_CLAIMS["tid"]))


def _spec_url(ci: Mapping[str, Json]) -> tuple[str | None, str]:
    """Give where CI says that its spec lies, or why that is not kept: a query may carry a signature, who signs in too.

    Policy lists no such URL, so nothing is lost.
    """
    url = text(ci.get("desiredSpecUri"))
    if len(url) > _MAX_URL:
        return None, f"it has more than {_MAX_URL} characters"
    if "?" in url or "#" in url or "@" in url.split("://", 1)[-1].split("/", 1)[0]:
        return None, "it has a query, a fragment or a user, which may be a secret"
    return url or None, ""


def _operation_url(ci: Mapping[str, Json], subscription: str) -> tuple[str | None, str]:
    """Give the operation that CI names, with no query but the API version, or why it is not kept."""
    url = text(ci.get("asyncOperationUri"))
    if not url:
        return None, ""
    match = _OPERATION_URL.fullmatch(url) if len(url) <= _MAX_URL else None
    if match is None or match["subscription"].lower() != subscription.lower():
        return None, "it is not the status of an operation in the incident's own subscription"
    if not url.lower().startswith("https://") and not is_loopback(url):
        return None, "it is not https"
    version = _API_VERSION.search(match["query"] or "")
    return match["kept"] + (f"?api-version={version[1]}" if version else ""), ""


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.lower() == other.lower()

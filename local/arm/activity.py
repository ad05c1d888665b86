"""The Activity Log: the rows an operation leaves, and the only filter that the service understands.

Rests on API.md B3 and on the spec of Microsoft.Insights 2015-04-01 (``$filter``: a time range and exactly one more).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Literal

from local.arm.resources import Deed, Json, Operation, Refusal, stamp

FIELDS = ("resourceGroupName", "resourceUri", "resourceProvider", "correlationId")
WORDS = {"write": "Create/Update", "delete": "Delete", "action": "Run action on"}
GRAMMAR = (
    "Filter must be: eventTimestamp ge '..' and eventTimestamp le '..' and one of "
    "resourceGroupName, resourceUri, resourceProvider, correlationId eq '..'. No other syntax is allowed."
)

RowStatus = Literal["Started", "Accepted", "Succeeded", "Failed", "Canceled"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry; ``number`` orders entries of the same time."""

    number: int
    at: datetime
    visible_at: datetime
    body: Json


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A parsed ``$filter``."""

    since: datetime
    until: datetime
    field: str
    value: str

    def fits(self, row: Row) -> bool:
        """Whether the row is asked for; ids and names compare without case."""
        names = {
            "resourceGroupName": row.body["resourceGroupName"],
            "resourceUri": row.body["resourceId"],
            "resourceProvider": row.body["resourceProviderName"]["value"],
            "correlationId": row.body["correlationId"],
        }
        return self.since <= row.at <= self.until and names[self.field].lower() == self.value.lower()


def parse_filter(text: str | None) -> Filter:
    """Read a ``$filter``; a Refusal (400) for anything but the one allowed form."""
    times: dict[str, datetime] = {}
    rest: list[tuple[str, str]] = []
    for clause in re.split(r"\s+and\s+", (text or "").strip(), flags=re.IGNORECASE):
        match = re.fullmatch(r"(\w+)\s+(ge|le|eq)\s+'([^']*)'", clause.strip())
        if match is None:
            raise Refusal(400, "BadRequest", GRAMMAR)
        field, comparison, value = match.groups()
        if field == "eventTimestamp" and comparison != "eq" and comparison not in times:
            times[comparison] = _moment(value)
        elif field in FIELDS and comparison == "eq":
            rest.append((field, value))
        else:
            raise Refusal(400, "BadRequest", GRAMMAR)
    if set(times) != {"ge", "le"} or len(rest) != 1:
        raise Refusal(400, "BadRequest", GRAMMAR)
    return Filter(since=times["ge"], until=times["le"], field=rest[0][0], value=rest[0][1])


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "BadRequest", f"{text!r} is not a time. {GRAMMAR}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class ActivityLog:
    """All rows, seen or not yet to be seen. The world's lock guards it.

    Attributes:
        withheld: How often somebody asked for a row that was there and could not be seen.
    """

    def __init__(self, new_id: Callable[[], str], tenant: str, delay: float) -> None:
        self._new_id = new_id
        self._tenant = tenant
        self._delay = timedelta(seconds=delay)
        self._rows: list[Row] = []
        self.withheld = 0

    def add(
        self,
        operation: Operation | Deed,
        status: RowStatus,
        at: datetime,
        *,
        code: str | None = None,
        message: Json | None = None,
    ) -> None:
        """Leave a row; it can be seen after the delay."""
        visible_at = at + self._delay
        body = row_body(
            operation,
            status,
            at,
            event_data_id=self._new_id(),
            tenant=self._tenant,
            visible_at=visible_at,
            status_code=code,
            message=message,
        )
        self._rows.append(Row(number=len(self._rows), at=at, visible_at=visible_at, body=body))

    def add_end(self, operation: Operation, at: datetime) -> None:
        """Leave the row of an operation that has ended."""
        if operation.status != "InProgress":
            code = "OK" if operation.error is None else "Conflict"
            self.add(operation, operation.status, at, code=code, message=terminal_message(operation))

    def visible(self, wanted: Filter, subscription: str, now: datetime, *, nothing: bool = False) -> list[Row]:
        """The rows that the filter asks for and that can be seen by now (or never can), the newest first."""
        fitting = [
            row for row in self._rows if wanted.fits(row) and row.body["subscriptionId"].lower() == subscription.lower()
        ]
        rows = [row for row in fitting if row.visible_at <= now and not nothing]
        self.withheld += len(rows) < len(fitting)
        return sorted(rows, key=lambda row: (row.at, row.number), reverse=True)


def row_body(
    operation: Operation | Deed,
    status: RowStatus,
    at: datetime,
    *,
    event_data_id: str,
    tenant: str,
    visible_at: datetime,
    status_code: str | None = None,
    message: Json | None = None,
) -> Json:
    """One row as the REST answer has it; ``message`` becomes the JSON *string* that ``statusMessage`` is."""
    target, call = operation.target, operation.call
    properties: Json = {}
    if status_code:
        properties |= {"statusCode": status_code, "serviceRequestId": call.request_id}
    if message is not None:
        properties["statusMessage"] = json.dumps(message)
    properties |= {"eventCategory": "Administrative", "entity": target.id}
    if status not in {"Started", "Accepted"}:
        properties |= {"message": operation.name, "hierarchy": f"{tenant}/{target.subscription}"}
    sub_status = status_code if status == "Accepted" or (message and "status" not in message) else ""
    body: Json = {
        "authorization": {"action": operation.name, "scope": target.id},
        "caller": call.principal.oid,
        "channels": "Operation",
        "correlationId": call.correlation_id,
        "eventDataId": event_data_id,
        "eventName": _named("BeginRequest" if status == "Started" else "EndRequest"),
        "category": _named("Administrative"),
        "eventTimestamp": stamp(at),
        "submissionTimestamp": stamp(visible_at),
        "level": "Error" if status in {"Failed", "Canceled"} else "Informational",
        "operationId": call.correlation_id,
        "operationName": _named(operation.name, f"{WORDS[operation.kind]} {target.noun}"),
        "resourceGroupName": target.resource_group,
        "resourceProviderName": _named(target.provider),
        "resourceType": _named(target.type),
        "resourceId": target.id,
        "status": _named(status),
        "subStatus": _named(sub_status or ""),
        "subscriptionId": target.subscription,
        "tenantId": tenant,
        "properties": properties,
    }
    if call.client_request_id:
        body["httpRequest"] = {
            "clientRequestId": call.client_request_id,
            "clientIpAddress": "203.0.113.10",
            "method": call.method,
        }
    return body


def terminal_message(operation: Operation) -> Json | None:
    """What a bad end says: shape A of the published statusMessage shapes, with the ML error as its detail."""
    if operation.error is None:
        return None
    return {
        "status": operation.status,
        "error": {
            "code": "ResourceOperationFailure",
            "message": f"The resource operation completed with terminal provisioning state '{operation.status}'.",
            "details": [{"code": operation.error.code, "message": operation.error.message}],
        },
    }


def phrase(status: int) -> str:
    """The status code as the Activity Log spells it: ``BadRequest``, ``OK``."""
    return "OK" if status == HTTPStatus.OK else HTTPStatus(status).phrase.replace(" ", "")


def _named(value: str, localized: str | None = None) -> Json:
    return {"value": value, "localizedValue": localized if localized is not None else value}

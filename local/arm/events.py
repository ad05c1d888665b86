"""The Event Grid events that a management operation raises, and their delivery.

Rests on API.md A: Microsoft.Resources.Resource{Write,Delete,Action}{Success,Failure,Cancel} in Event Grid schema or
CloudEvents 1.0, at least once, in no order, with no error text inside.
"""

import http.client
import json
import queue
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from local.arm.resources import PROVIDER, Json, Operation, Strict, stamp

Schema = Literal["event-grid", "cloud-events"]
Deliver = Callable[[Json], None]
Post = Callable[[str, Json | list[Json], dict[str, str]], int]

SUFFIX = {"Succeeded": "Success", "Failed": "Failure", "Canceled": "Cancel"}
ACCEPTED = range(200, 205)
NEVER_RETRIED = {400, 413}
_TIMEOUT_S = 30.0


class EventSettings(Strict, frozen=True, kw_only=True):
    """How events leave the world.

    Attributes:
        deliveries: Copies of each event.
        delay: Seconds between the failure and the first delivery.
        shuffle: Every other delivery comes this many seconds late, so that order is lost.
        successes: Raise ``...Success`` too.
        refusals: A request refused at once (400, 403, 404, 409) raises a failure event.
        topic: The system topic: that of the subscription, or of the resource group.
        lower_case_ids: Ids come all in lower case, as the ML front end is known to write them.
    """

    deliveries: int = 1
    delay: float = 0.0
    shuffle: float = 0.0
    successes: bool = False
    refusals: bool = True
    topic: Literal["subscription", "resource-group"] = "subscription"
    lower_case_ids: bool = False


def resource_event(
    operation: Operation,
    status: str,
    at: datetime,
    *,
    event_id: str,
    tenant: str,
    base_url: str,
    settings: EventSettings,
) -> Json:
    """The event in Event Grid schema. ``httpRequest`` is absent when the operation created the resource."""
    target, call = operation.target, operation.call
    principal = call.principal
    home = principal.tid or tenant
    issuer = f"https://sts.windows.net/{home}/"
    identity = "http://schemas.microsoft.com/identity/claims"
    subscription = f"/subscriptions/{target.subscription}"
    uri = target.id.lower() if settings.lower_case_ids else target.id
    issued = int(at.timestamp())
    data: Json = {
        "authorization": {
            "scope": uri,
            "action": operation.name,
            "evidence": {
                "role": "Contributor",
                "roleAssignmentScope": subscription,
                "roleAssignmentId": "1" * 32,
                "roleDefinitionId": "b24988ac618042a0ab8820f7382dd24c",
                "principalId": principal.oid.replace("-", ""),
                "principalType": "User" if principal.type == "User" else "ServicePrincipal",
            },
        },
        "claims": {
            "aud": "https://management.core.windows.net/",
            "iss": issuer,
            "iat": str(issued),
            "nbf": str(issued),
            "exp": str(issued + 3900),
            "aio": "{token}",
            "appid": principal.appid,
            "appidacr": "0" if principal.type == "User" else "2",
            f"{identity}/identityprovider": issuer,
            f"{identity}/objectidentifier": principal.oid,
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": principal.oid,
            f"{identity}/tenantid": home,
            "uti": "{ID}",
            "ver": "1.0",
        },
        "correlationId": call.correlation_id,
        "resourceProvider": PROVIDER,
        "resourceUri": uri,
        "operationName": operation.name,
        "status": status,
        "subscriptionId": target.subscription,
        "tenantId": tenant,
    }
    if not operation.created:
        data["httpRequest"] = {
            "clientRequestId": call.client_request_id or call.request_id,
            "clientIpAddress": "203.0.113.10",
            "method": call.method,
            "url": f"{base_url}{call.path}?api-version={call.api_version}",
        }
    kind = operation.kind.capitalize()
    group = f"{subscription}/resourceGroups/{target.resource_group}"
    return {
        "topic": group if settings.topic == "resource-group" else subscription,
        "subject": uri,
        "eventType": f"Microsoft.Resources.Resource{kind}{SUFFIX[status]}",
        "eventTime": stamp(at),
        "id": event_id,
        "data": data,
        "dataVersion": "2",
        "metadataVersion": "1",
    }


def as_cloud_event(event: Json) -> Json:
    """The same event in CloudEvents 1.0."""
    return {
        "specversion": "1.0",
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "id": event["id"],
        "data": event["data"],
    }


class Subscription:
    """Hands events to one subscriber, one after the other, from a thread of its own.

    A subscriber that raises (a callable) or answers badly (a webhook) is tried again ``retries`` times; what nobody
    took is in ``undelivered``, why in ``last_error``.
    """

    def __init__(self, deliver: Deliver, *, schema: Schema, retries: int = 8, backoff: float = 0.05) -> None:
        self.undelivered: list[Json] = []
        self.last_error: Exception | None = None
        self._deliver = deliver
        self._schema = schema
        self._retries = retries
        self._backoff = backoff
        self._queue: queue.Queue[Json | None] = queue.Queue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-subscription", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was sent has been taken or given up."""
        return self._queue.unfinished_tasks == 0

    def send(self, event: Json) -> None:
        """Queue one delivery."""
        self._queue.put(as_cloud_event(event) if self._schema == "cloud-events" else event)

    def redeliver(self) -> None:
        """Queue what nobody took once more."""
        left, self.undelivered = self.undelivered, []
        for event in left:
            self._queue.put(event)

    def close(self) -> None:
        """Stop; what is still queued stays undelivered."""
        self._closing.set()
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                if self._closing.is_set() or not self._try(event):
                    self.undelivered.append(event)
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _try(self, event: Json) -> bool:
        for attempt in range(self._retries + 1):
            if attempt and self._closing.wait(self._backoff * 2 ** (attempt - 1)):
                return False
            try:
                self._deliver(event)
            except DeadLetteredError as error:
                self.last_error = error
                return False
            except Exception as error:  # noqa: BLE001 - a subscriber may fail in any way; Event Grid would try again
                self.last_error = error
                continue
            return True
        return False


class DeadLetteredError(Exception):
    """The subscriber answered in a way that Event Grid does not try again (400, 413)."""


def post(url: str, body: Json | list[Json], headers: dict[str, str]) -> int:
    """Post some JSON, and give the status of the answer."""
    parts = urlsplit(url)
    place = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", place or "/", json.dumps(body), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def webhook(url: str, *, schema: Schema, name: str = "AML-DEPLOY-FAILURES", post: Post = post) -> Deliver:
    """A deliverer that posts as Event Grid does: an array of one, or a single CloudEvent."""

    def deliver(event: Json) -> None:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "aeg-event-type": "Notification",
            "aeg-subscription-name": name,
            "aeg-delivery-count": "0",
        }
        body: Json | list[Json] = [event]
        if schema == "cloud-events":
            headers["Content-Type"] = "application/cloudevents+json; charset=utf-8"
            body = event
        else:
            headers |= {"aeg-data-version": "2", "aeg-metadata-version": "1"}
        _check(url, post(url, body, headers))

    return deliver


def action_group(url: str, *, post: Post = post) -> Deliver:
    """A deliverer that posts an alert as an action group of Azure Monitor does."""
    return lambda alert: _check(url, post(url, alert, {"Content-Type": "application/json; charset=utf-8"}))


def _check(url: str, status: int) -> None:
    if status in NEVER_RETRIED:
        raise DeadLetteredError(f"POST {url} answered {status}; that is not tried again.")
    if status not in ACCEPTED:
        raise ConnectionError(f"POST {url} answered {status}.")

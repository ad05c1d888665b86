"""``medic send``: an event to a local host as Event Grid posts it, or to a topic by Azure's own client."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from local.commands import terminal
from local.commands.payload import payload_of
from remediations import codec
from remediations.model import Json
from remediations.settings import is_loopback

FUNCTION = "on_deployment_failure"
EVENT_GRID = f"/runtime/webhooks/eventgrid?functionName={FUNCTION}"
ALERTS = "/api/events"
_TIMEOUT_S = 30.0


def send(file: str, *, to: str, topic: str | None, times: int) -> int:
    """Send the events of a file."""
    payload = payload_of(file)
    if topic is not None:
        return _to_topic(topic, payload, times)
    return _to_host(to, payload, times)


# ------------------------------------------------------------------------------------------------- host


def _to_host(to: str, payload: Json, times: int) -> int:
    import httpx  # noqa: PLC0415 - 80 ms that a topic does not need

    url = address(to, payload)
    console, refused = terminal.out(), 0
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=not is_loopback(url)) as client:
        for number in range(1, times + 1):
            try:
                answer = client.post(url, content=codec.encode(payload), headers=headers_of(payload))
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
                fix = "Start it with `medic serve`, or name another place with --to."
                raise terminal.CommandError(f"POST {url} got no answer: {why}. {fix}", terminal.UNREADABLE) from error
            refused += not answer.is_success
            which = f"{number}/{times} " if times > 1 else ""
            words = terminal.plain(answer.text.strip())[:500]
            console.print(f"{which}POST {url}: {answer.status_code} {answer.reason_phrase}", soft_wrap=True)
            if words:
                console.print(f"  {words}", style="dim", soft_wrap=True)
    return terminal.DIFFERS if refused else terminal.OK


def address(to: str, payload: Json) -> str:
    """Give the URL to post to: what `to` names, or below it the app's own route for such a payload."""
    if urlsplit(checked(to)).path not in {"", "/"}:
        return to
    return to.rstrip("/") + (ALERTS if _is_alert(payload) else EVENT_GRID)


def checked(to: str) -> str:
    """Give a URL that may be posted to; raises CommandError."""
    words = f"--to {to!r} is no URL. Write http://127.0.0.1:7071."
    try:
        parts = urlsplit(to)
    except ValueError as error:
        raise terminal.CommandError(words) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise terminal.CommandError(words)
    if parts.scheme == "http" and not is_loopback(to):
        raise terminal.CommandError(f"--to {to!r} is plain http to another machine. Use https, or this machine.")
    return to


def headers_of(payload: Json) -> dict[str, str]:
    """Give the headers that Event Grid sends with such a payload."""
    first = _first(payload)
    if "specversion" in first:
        kind = "cloudevents-batch" if isinstance(payload, list) else "cloudevents"
        return {"content-type": f"application/{kind}+json; charset=utf-8"}
    if _is_alert(payload):
        return {"content-type": "application/json; charset=utf-8"}
    is_handshake = first.get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent"
    return {
        "content-type": "application/json; charset=utf-8",
        "aeg-event-type": "SubscriptionValidation" if is_handshake else "Notification",
        "aeg-subscription-name": "MEDIC-SEND",
        "aeg-delivery-count": "0",
        "aeg-data-version": "2",
        "aeg-metadata-version": "1",
    }


# ------------------------------------------------------------------------------------------------ topic


def _to_topic(topic: str, payload: Json, times: int) -> int:
    from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415 - for a topic alone
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - 30 MB

    if urlsplit(topic).scheme != "https":
        raise terminal.CommandError(f"--topic {topic!r} is no https URL. Copy the topic's endpoint from its overview.")
    try:
        count = publish(topic, payload, DefaultAzureCredential(), times=times)
    except ClientAuthenticationError as error:
        fix = "Sign in with `az login`, and grant EventGrid Data Sender on the topic."
        raise terminal.CommandError(f"{topic} refused us: {_short(error)}. {fix}", terminal.UNREADABLE) from error
    except AzureError as error:
        words = f"{topic} did not take the events: {_short(error)}. Check its endpoint and its input schema."
        raise terminal.CommandError(words, terminal.UNREADABLE) from error
    terminal.out().print(f"{topic}: took {count} events", soft_wrap=True)
    return terminal.OK


def publish(topic: str, payload: Json, credential: Any, *, times: int = 1) -> int:
    """Publish events to a topic; give how many. What only Azure's own topics may say is left out."""
    from azure.eventgrid import EventGridPublisherClient  # noqa: PLC0415 - for a topic alone

    events: list[Any] = [_for_topic(event) for event in (payload if isinstance(payload, list) else [payload])]
    with EventGridPublisherClient(topic, credential) as client:
        for _ in range(times):
            client.send(events)
    return len(events) * times


def _for_topic(event: Json) -> Json:
    """A custom topic refuses an Event Grid event that names another topic."""
    if not isinstance(event, dict) or "eventType" not in event:
        return event
    return {name: value for name, value in event.items() if name not in {"topic", "metadataVersion"}}


def _short(error: Exception) -> str:
    return terminal.plain(str(error).strip().split("\n", 1)[0])[:300].rstrip(".")


def _first(payload: Json) -> Mapping[str, Json]:
    first = payload[0] if isinstance(payload, list) else payload
    return first if isinstance(first, dict) else {}


def _is_alert(payload: Json) -> bool:
    return _first(payload).get("schemaId") == "azureMonitorCommonAlertSchema"

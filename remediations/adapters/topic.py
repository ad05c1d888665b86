"""The port `Notifier` to programs: CloudEvents 1.0 on a topic of Event Grid.

A repeat has the id of the first: whoever subscribes can tell, as Event Grid itself delivers at least once.
https://learn.microsoft.com/azure/event-grid/cloud-event-schema
"""

import logging
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from azure.core.credentials import AzureKeyCredential, TokenCredential
from azure.core.exceptions import AzureError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient
from msgspec import to_builtins

from remediations.adapters.arm import USER_AGENT
from remediations.adapters.posting import WITHIN, delivery_of
from remediations.model import Checkpoint
from remediations.ports import Delivery, Message

_FIX = "Check MEDIC_OUTCOME_TOPIC, that the topic takes CloudEvents, and that our identity has EventGrid Data Sender."

# The client (4.22.1) forgets the options that it is made with, so they go with each event; it then warns of every one
# that it is no part of the event. So it takes no `wire` either: a password that a ``.netrc`` has for the topic's host
# goes out in place of our token, and the topic refuses it.
logging.getLogger("azure.eventgrid._legacy._generated._serialization").setLevel(logging.ERROR)


class TopicNotifier:
    """Publishes each message, and each checkpoint of the trail, as one event.

    Args:
        endpoint: Of the topic. Without TLS it is a stand-in on this machine, and gets no token.
    """

    name = "topic"

    def __init__(self, endpoint: str, credential: TokenCredential, *, within: timedelta = WITHIN) -> None:
        longest = within.total_seconds() / 2
        self._options: dict[str, Any] = {
            "retry_total": 0,
            "permit_redirects": False,
            "connection_timeout": longest / 2,
            "read_timeout": longest,
            "user_agent": USER_AGENT,
        }
        is_azure = endpoint.startswith("https://")
        self._client = EventGridPublisherClient(endpoint, credential if is_azure else AzureKeyCredential("loopback"))

    def tell(self, message: Message) -> Delivery:
        """Hand a message over, once."""
        return self._publish(event_of(message))

    def keep(self, checkpoint: Checkpoint) -> Delivery:
        """Hand a checkpoint over, once."""
        return self._publish(event_of_checkpoint(checkpoint))

    def _publish(self, event: CloudEvent[Any]) -> Delivery:
        try:
            self._client.send(event, **self._options)
        except AzureError as error:
            answer = getattr(error, "response", None) or getattr(error.__cause__, "response", None)  # it wraps a 404
            if answer is None:
                return Delivery(taken=False, words=f"no answer: {type(error).__name__}")
            return delivery_of(answer.status_code, answer.headers, _FIX)
        return Delivery(taken=True, words="the topic took it")


def event_of(message: Message) -> CloudEvent[Any]:
    """Give a message as an event of its workspace."""
    kind = "".join(word.capitalize() for word in message.kind.split("-"))
    return CloudEvent(
        id=message.key,
        source=quote(message.resource.partition("/onlineEndpoints/")[0], safe="/()"),
        type=f"EndpointMedic.Incident.{kind}",
        subject=message.incident_id,
        time=message.at,
        datacontenttype="application/json",
        data={**message.facts, "link": message.link},
    )


def event_of_checkpoint(checkpoint: Checkpoint) -> CloudEvent[Any]:
    """Give a checkpoint as an event: its data is what ``medic audit verify --checkpoint`` reads."""
    return CloudEvent(
        id=f"checkpoint-{checkpoint.number}-{checkpoint.root[:16]}",
        source="endpoint-medic",
        type="EndpointMedic.Audit.Checkpoint",
        subject=f"checkpoint {checkpoint.number}",
        time=checkpoint.at,
        datacontenttype="application/json",
        data=to_builtins(checkpoint),
    )

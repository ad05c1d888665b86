"""The port `Notifier` to tools that page and mail people: Azure Monitor's common alert schema.

What takes a webhook of an action group takes this. An incident is one alert: its first message fires it, and a message
that it is over resolves it, under the same ids; a tool that knows the incident already updates it.
https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema
"""

from datetime import timedelta
from typing import Final

from remediations import codec
from remediations.adapters.posting import WITHIN, post
from remediations.approval.notice import Kind
from remediations.model import Json
from remediations.ports import Delivery, Message

_SEVERITIES: Final[dict[str, str]] = {Kind.NOT_REPAIRED: "Sev1", Kind.INCONCLUSIVE: "Sev1", Kind.ASKED: "Sev2"}


class WebhookNotifier:
    """Posts a message that wants a person as a fired alert, and one that it is over as a resolved one."""

    name = "webhook"

    def __init__(self, url: str, *, within: timedelta = WITHIN) -> None:
        self._url = url
        self._within = within

    def tell(self, message: Message) -> Delivery:
        """Hand a message over, once; one that neither wants a person nor ends that wish is not sent."""
        if not message.wants_person and not message.is_over:
            return Delivery(taken=True, words="not sent: there is nothing to page")
        return post(self._url, codec.encode(alert(message)), fix="Check MEDIC_WEBHOOK_URL.", within=self._within)


def alert(message: Message) -> dict[str, Json]:
    """Give a message as an alert. Once it is over, when it fired is not known here: both times are then one."""
    at = codec.dump(message.at)
    essentials: dict[str, Json] = {
        "alertId": f"{message.resource}/incidents/{message.incident_id}",
        "alertRule": "Endpoint Medic",
        "severity": _SEVERITIES.get(message.kind, "Sev3"),
        "signalType": "Log",
        "monitorCondition": "Fired" if message.wants_person else "Resolved",
        "monitoringService": "Endpoint Medic",
        "alertTargetIDs": [message.resource],
        "configurationItems": [message.resource.rpartition("/")[2]],
        "originAlertId": message.incident_id,
        "firedDateTime": at,
        "description": message.subject,
        "essentialsVersion": "1.0",
        "alertContextVersion": "1.0",
    }
    if not message.wants_person:
        essentials["resolvedDateTime"] = at
    context: dict[str, Json] = {**message.facts, "link": message.link}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": essentials, "alertContext": context}}

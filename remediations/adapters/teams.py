"""The port `Notifier` to a channel of Teams, through a Workflow that a webhook request starts.

Its 202 says that the message is queued, not that anybody saw it. The URL is a secret: whoever has it can post.
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
"""

from datetime import timedelta

from remediations import codec
from remediations.adapters.posting import WITHIN, post
from remediations.ports import Delivery, Message


class TeamsNotifier:
    """Posts the card of a message."""

    name = "teams"

    def __init__(self, url: str, *, within: timedelta = WITHIN) -> None:
        self._url = url
        self._within = within

    def tell(self, message: Message) -> Delivery:
        """Hand a message over, once."""
        fix = "Check MEDIC_TEAMS_URL: the Workflow may be off, or have got a new URL."
        return post(self._url, codec.encode(message.card), fix=fix, within=self._within)

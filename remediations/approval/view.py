"""What the approval page shows a person who may answer: a question, how things stand now, and what is asked of them."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from remediations.approval.notice import Notice
from remediations.model import GuardAnswer, Person


class Change(Struct, frozen=True, kw_only=True):
    """One thing that is no longer as it was when the plan was made.

    Attributes:
        name: Of the fingerprint: ``state``, ``last modified``, ``deployment <path> traffic`` …
        then, now: Its value; None where it was not there.
    """

    name: str
    then: str | None
    now: str | None


class View(Struct, frozen=True, kw_only=True):
    """One approval page.

    Attributes:
        state: ``open``, or why nobody can answer any more; then `words` says how it ended: who, what and when.
        token: The signed token of the link: what the form posts to.
        read_at: When the live state was read; `unread` why it could not be.
        changes: What differs now; an approval would then be void when it comes to the effect.
        refusals: What the guards would refuse now.
        may_approve, may_reject: None if this person may, else why not, in words.
        to_type: Names that have to be typed to approve a deletion, one field each, in this order.
        antiforgery: Value of the hidden field that a form has to send back.
        comment: What was commented in the answer that was just sent and not taken.
        error: What was wrong with the answer that was just sent; None if nothing was sent.
    """

    notice: Notice
    person: Person
    state: Literal["open", "approved", "rejected", "expired", "superseded"]
    token: str
    words: str = ""
    read_at: datetime | None = None
    unread: str | None = None
    changes: tuple[Change, ...] = ()
    refusals: tuple[GuardAnswer, ...] = ()
    may_approve: str | None = None
    may_reject: str | None = None
    to_type: tuple[str, ...] = ()
    antiforgery: str = ""
    comment: str = ""
    error: str | None = None

"""What a round hands over when it is over, and what its judge answers."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from local.arm.models import Entry, World
from local.arm.resources import Principal
from local.arm.witness import Change, Shown


class Delivery(Struct, frozen=True, kw_only=True):
    """One request to the app's event intake.

    Attributes:
        at: When it was sent, by the app's clock.
        body: JSON as it was sent: one event, or a list of them.
        answer: The HTTP status that came back; None if none did.
    """

    at: datetime
    body: Any
    answer: int | None


class Said(Struct, frozen=True, kw_only=True):
    """An answer to a question, as somebody sent it to the app.

    Attributes:
        plan: What was asked about: the digest in the question's name.
        status: The HTTP status that came back: below 300, whoever answered was told that it counts.
    """

    plan: str
    oid: str
    approves: bool
    status: int


class Watched(Struct, frozen=True, kw_only=True):
    """What one simulated Azure knows: its ledger, what it showed, and what became of it.

    Attributes:
        name: The world's subscription id.
        offset: The world's clock minus the app's.
        policy: The policy that this world was played under, if not that of the round.
        medic: The name of the app among its principals.
    """

    name: str
    ledger: tuple[Entry, ...]
    shown: tuple[Shown, ...]
    changes: tuple[Change, ...]
    principals: dict[str, Principal]
    offset: timedelta = timedelta()
    policy: dict[str, Any] | None = None
    medic: str = "medic"


class Lease(Struct, frozen=True, kw_only=True):
    """A desk as the hub holds it."""

    desk: str
    owner: str | None = None
    until: datetime | None = None


class Round(Struct, frozen=True, kw_only=True):
    """A round that is over.

    Attributes:
        store: The folder of the app's store: ``trail`` and ``evidence`` below it.
        deliveries: Every request with events, each repetition on its own.
        said: Every answer to a question that the app answered in turn, each repetition on its own.
        mode: ``MEDIC_MODE`` of the app.
        policy: policy.yaml as plain data, as the app read it.
        now: When the round was over, by the app's clock.
        approvers: Object ids of who may approve; empty: whoever votes may.
        timers: Incidents whose walk the hub still has, and when the next timer of it or of what it waits for is due.
        channels: Names of the notifiers; the escalated end of an incident must have been told on each.
        secrets: Planted; long enough that nothing else can look like one.
        crashes: Exit codes of workers that ended though nobody had killed them.
        texts: Whatever else there is to look through: histories, logs, cards, pages.
        fresh: A look at a target that is older than this is none.
        longest: No timer may be due later than this from now.
    """

    store: Path
    worlds: tuple[Watched, ...]
    deliveries: tuple[Delivery, ...]
    mode: str
    policy: dict[str, Any]
    now: datetime
    said: tuple[Said, ...] = ()
    approvers: frozenset[str] = frozenset()
    timers: dict[str, datetime] = {}
    desks: tuple[Lease, ...] = ()
    channels: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    crashes: tuple[int, ...] = ()
    texts: dict[str, bytes] = {}
    fresh: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=4)


class Violation(Struct, frozen=True, kw_only=True):
    """A promise that was broken.

    Attributes:
        invariant: Which: a name in `INVARIANTS`.
        words: What happened, for people.
        records: What shows it: names on the trail, ``ledger <subscription> <number>``, ``delivery <number>``,
            ``text <name>``.
    """

    invariant: str
    words: str
    incident: str | None = None
    records: tuple[str, ...] = ()


class Checked(Struct, frozen=True, kw_only=True):
    """What a judge found, and how much there was to judge."""

    violations: tuple[Violation, ...]
    figures: dict[str, int | float]


def watched(world: World, *, offset: timedelta = timedelta(), policy: dict[str, Any] | None = None) -> Watched:
    """Give what a world knows by now."""
    with world.lock:
        return Watched(
            name=world.seed.subscription,
            ledger=tuple(world.ledger),
            shown=tuple(world.witness.shown),
            changes=tuple(world.witness.changes),
            principals=dict(world.principals),
            offset=offset,
            policy=policy,
        )

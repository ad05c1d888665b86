"""The desk of one resource: who works on it, until when, and which events wait. Pure transitions of an entity's state.

A desk is claimed right before an effect and never held while a person thinks. A lease that ends frees it by itself.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from remediations import codec

type Order = dict[str, Any]


class Desk(Struct, frozen=True, kw_only=True):
    """The state of one desk.

    Attributes:
        owner: The incident that works here; None if nobody does.
        until: When its lease ends.
        parked: Orders to start once the desk is free, oldest first.
    """

    owner: str | None = None
    until: datetime | None = None
    parked: tuple[Order, ...] = ()

    def is_held(self, now: datetime, *, by_other_than: str | None = None) -> bool:
        """Tell whether somebody (else) holds it."""
        return self.owner is not None and self.owner != by_other_than and self.until is not None and self.until > now


def claim(desk: Desk, owner: str, until: datetime, now: datetime) -> tuple[Desk, bool]:
    """Claim a desk, or renew one's own lease; False if another holds it."""
    if desk.is_held(now, by_other_than=owner):
        return desk, False
    return replace(desk, owner=owner, until=until), True


def release(desk: Desk, owner: str) -> tuple[Desk, tuple[Order, ...]]:
    """Leave a desk; gives what was parked. Whoever does not own it changes nothing."""
    if desk.owner != owner:
        return desk, ()
    return Desk(), desk.parked


def park(desk: Desk, order: Order, now: datetime) -> tuple[Desk, tuple[Order, ...]]:
    """Park an order while somebody works here; gives what can start at once because nobody does."""
    if not desk.is_held(now):
        return Desk(), (*desk.parked, order)
    return replace(desk, parked=(*desk.parked, order)), ()


def key_of(target: str) -> str:
    """Give the key of the desk of a target: no character that an entity's id cannot hold."""
    return codec.digest(target.lower())[:32]


def keys_of(targets: Iterable[str]) -> list[str]:
    """Give the keys of several targets in the order in which all incidents claim them."""
    return sorted(map(key_of, targets))

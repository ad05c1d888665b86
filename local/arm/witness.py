"""What changed in a world, and what it showed to whom: with the ledger, enough to tell who acted on which state.

A version of a resource is shown when its body arrives whole. An answer that was lost, cut or garbled showed nothing; a
stale one showed the version in it. Of role assignments the whole list of a scope is one thing, as of its last page.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import datetime

    from local.arm.faults import Answer, Request
    from local.arm.resources import Call, Json

LISTED = "/providers/microsoft.authorization/roleassignments"


class Change(Struct, frozen=True, kw_only=True):
    """One version of a resource, or one change of the role assignments.

    Attributes:
        order: Changes and showings of a world, counted as they came.
        key: The resource's id in lower case; of a role assignment its own.
        number: Of the version, from 0; of a role assignment, how many such changes there were before.
        by: Who wrote; None for what was there from the beginning.
        body: As GET shows it from now on; None: it is gone.
    """

    order: int
    at: datetime
    key: str
    number: int
    by: str | None
    client_request_id: str | None
    body: Json | None


class Shown(Struct, frozen=True, kw_only=True):
    """One version of a resource that somebody was shown whole; or the role assignments at a scope.

    Attributes:
        key: The resource's id; of the assignments at a scope its id and ``LISTED``. In lower case.
        number: Of the version; None: that there is none. Of assignments, and of one, how many changes there had been.
        is_true: False if rows were left out of a list that looked whole.
    """

    order: int
    at: datetime
    to: str
    key: str
    number: int | None
    is_true: bool = True


class Witness:
    """Keeps the two, in one order. The world's lock guards the changes, its own lock the order."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.shown: list[Shown] = []
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._roles = 0
        self._here = threading.local()

    def changed(self, at: datetime, key: str, number: int, body: Json | None, call: Call | None) -> None:
        """Keep a version of a resource, and whose write made it."""
        by, request = (None, None) if call is None else (call.who, call.client_request_id)
        with self._lock:
            order = next(self._order)
            self.changes.append(
                Change(order=order, at=at, key=key, number=number, by=by, client_request_id=request, body=body)
            )

    def assigned(self, at: datetime, key: str, body: Json | None, by: str | None, request: str | None) -> None:
        """Keep that a role assignment was made, changed or (without a body) removed."""
        with self._lock:
            order, number = next(self._order), self._roles
            self._roles += 1
            self.changes.append(
                Change(order=order, at=at, key=key.lower(), number=number, by=by, client_request_id=request, body=body)
            )

    @contextmanager
    def looking(self) -> Iterator[dict[str, int | None]]:
        """Collect what is read to answer one request, by this thread: the versions, by key."""
        looks: dict[str, int | None] = {}
        self._here.looks = looks
        try:
            yield looks
        finally:
            self._here.looks = None

    def looked(self, key: str, number: int | None) -> None:
        """Keep which version was read for the answer at hand."""
        looks = getattr(self._here, "looks", None)
        if looks is not None:
            looks[key] = number

    def listed(self, scope: str) -> None:
        """Keep that the role assignments of a scope were read for the answer at hand."""
        self.looked(scope.lower().rstrip("/") + LISTED, self._roles)

    def read_assignment(self, key: str, *, is_there: bool) -> None:
        """Keep that one role assignment was."""
        self.looked(key.lower().rstrip("/"), self._roles if is_there else None)

    def show(
        self, at: datetime, request: Request, answer: Answer, before: Json | None, looks: dict[str, int | None]
    ) -> None:
        """Keep what an answer showed of what was read for it.

        Args:
            before: The body as it was before a fault spoiled it.
        """
        if not looks or answer.wire != "whole" or answer.raw is not None:
            return
        there = set(_ids(answer.body)) if answer.status < 300 else set()
        for key, number in looks.items():
            is_list = key.endswith(LISTED)
            is_last = answer.status < 300 and answer.body is not None and not answer.body.get("nextLink")
            if key in there or (is_list and is_last) or (number is None and answer.status == 404):
                is_true = not is_list or answer.body == before
                with self._lock:
                    order = next(self._order)
                    self.shown.append(
                        Shown(order=order, at=at, to=request.who, key=key, number=number, is_true=is_true)
                    )


def _ids(body: Any) -> Iterator[str]:
    """Give the ids of the resource or of the rows in a body, in lower case."""
    rows = body.get("value") if isinstance(body, dict) else None
    for row in rows if isinstance(rows, list) else [body]:
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            yield row["id"].lower()

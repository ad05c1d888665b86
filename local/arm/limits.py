"""How much may be asked: a bucket for each principal, subscription and kind of request. Rests on API.md E.

A world file that names no ``limits`` has none. Azure's own are 250 reads and 25 more a second, 200 writes and 200
deletes and 10 more of each a second.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from local.arm.faults import Answer, Request

type Kind = Literal["reads", "writes", "deletes"]

_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)


class Allowance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is taken at once, and how much more each second."""

    bucket: int
    per_second: float


class Limits:
    """The buckets of a world.

    Attributes:
        refused: How many requests were answered 429, by subscription and kind.
    """

    def __init__(self, allowed: Mapping[Kind, Allowance], clock: Callable[[], datetime]) -> None:
        self._allowed = allowed
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[tuple[str, str, Kind], tuple[float, datetime]] = {}
        self.refused: Counter[tuple[str, Kind]] = Counter()

    def take(self, request: Request) -> tuple[Answer | None, dict[str, str]]:
        """Count a request: the 429 that it gets, if any, and the headers that tell what is left."""
        kind = _kind_of(request.method)
        named, allowance = _SUBSCRIPTION.search(request.path), self._allowed.get(kind)
        if named is None or allowance is None:
            return None, {}
        subscription = named[1].lower()
        key = (request.who, subscription, kind)
        with self._lock:
            now = self._clock()
            left, since = self._left.get(key, (float(allowance.bucket), now))
            left = min(float(allowance.bucket), left + (now - since).total_seconds() * allowance.per_second)
            is_over = left < 1
            self.refused[subscription, kind] += is_over
            left -= not is_over
            self._left[key] = (left, now)
        headers = {f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(left))}
        if not is_over:
            return None, headers
        headers["Retry-After"] = str(max(1, math.ceil((1 - left) / allowance.per_second)))
        text = "Number of requests for the subscription exceeded the limit. Please try again later."
        body = {"error": {"code": "SubscriptionRequestsThrottled", "message": text}}
        return Answer(status=429, body=body, headers=headers), headers


def _kind_of(method: str) -> Kind:
    return {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(method, "writes")  # type: ignore[return-value]

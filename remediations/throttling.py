"""Our share of what Azure Resource Manager permits: a token bucket for each subscription and kind of request.

Azure has such buckets for each region, subscription, identity and kind. A process takes a quarter of one at most: the
platform may run several of this app (``maximumInstanceCount`` in infra/), and one that is busy alone needs no more.
What holds among many is what Azure says is left: below a fifth of its bucket nobody asks until it has had time to fill
up again, so that something is left for whoever else uses the same identity, or the same limits of a provider.

Nothing is kept: a process that starts has full buckets, and the first answer tells it what is left.
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
"""

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What Azure counts apart; metrics are reads that their provider counts once more."""

    READS = "reads"
    WRITES = "writes"
    DELETES = "deletes"
    METRICS = "metrics"


class Limit(Struct, frozen=True):
    """How many requests Azure takes at once, and how many more each second."""

    bucket: int
    per_s: float


LIMITS = {
    Kind.READS: Limit(250, 25),
    Kind.WRITES: Limit(200, 10),
    Kind.DELETES: Limit(200, 10),
    Kind.METRICS: Limit(160, 8),  # not published; Azure only says that reads of metrics are often throttled first
}
SHARE = 0.25
FLOOR = 0.2
_LONGEST_CLOSED_S = 3600.0  # no throttling of Azure is longer: what says so is mistaken
_CLOSED_S = 5.0  # after a 429 that does not say for how long
_LANE_S = 20.0
_AT_ONCE_S = 1e-6  # what sums of fractions are off
_REMAINING = "x-ms-ratelimit-remaining-subscription-"
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/?]+)", re.IGNORECASE)
_METRICS = re.compile(r"/providers/microsoft\.insights/metrics(?:/|$|\?)", re.IGNORECASE)


class Throttle:
    """The buckets of one process."""

    def __init__(self, *, scale: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with full buckets.

        Args:
            scale: Of time, off Azure: buckets fill up so many times as fast.
        """
        self._scale = scale
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, Kind], _Bucket] = {}
        self._lanes: dict[str, tuple[object, float]] = {}

    def take(self, method: str, url: str, *, longest_s: float, leaves_half: bool = False) -> float:
        """Take the place of one request; give in how many seconds its turn comes.

        More than `longest_s` is no place: ask again after so long. Places are given in the order in which they were
        asked for, and whoever gets none is told a time of its own, so that not all come again at once.

        Args:
            leaves_half: Whether half of what may be asked at once is left to others.
        """
        with self._lock:
            now = self._clock()
            buckets = self._of(method, url)
            wait = max(bucket.wait(now, leaves_half=leaves_half) for bucket in buckets)
            if wait > longest_s:
                return max(bucket.turn_away(now, wait) for bucket in buckets)
            for bucket in buckets:
                bucket.take(now)
            return wait

    def closed_s(self, method: str, url: str) -> float:
        """Give for how many seconds Azure wants no such request; 0 if it takes them."""
        with self._lock:
            now = self._clock()
            return max(0.0, *(bucket.closed_until - now for bucket in self._of(method, url)))

    def learn(
        self, method: str, url: str, status: int, headers: Mapping[str, str], retry_after: timedelta | None
    ) -> None:
        """Take from an answer what Azure has left, and for how long it wants no more."""
        with self._lock:
            now = self._clock()
            for kind in (Kind.READS, Kind.WRITES, Kind.DELETES):
                left = headers.get(f"{_REMAINING}{kind}")
                if left is not None and left.isascii() and left.isdigit() and status != 429:
                    self._bucket(url, kind).learn(now, min(int(left), LIMITS[kind].bucket))
            if status == 429:
                asked = _CLOSED_S / self._scale if retry_after is None else retry_after.total_seconds()
                until = now + min(asked, _LONGEST_CLOSED_S)
                bucket = self._of(method, url)[-1]
                bucket.closed_until = max(bucket.closed_until, until)

    def lane(self, url: str, holder: object) -> float:
        """Let one at a time ask a subscription for more than a few things; give in how many seconds to try again.

        Several who each need many would else take the places from one another, and none would come to its end. The
        lane is free again some seconds after its holder last came.
        """
        with self._lock:
            now, subscription = self._clock(), _subscription_of(url)
            other, until = self._lanes.get(subscription, (holder, now))
            if other is not holder and until > now:
                return until - now
            self._lanes[subscription] = (holder, now + _LANE_S / self._scale)
            return 0.0

    def _of(self, method: str, url: str) -> list["_Bucket"]:
        """Give the buckets of a request; the last is the one that a 429 closes."""
        kind = kind_of(method, url)
        kinds = (Kind.READS, Kind.METRICS) if kind is Kind.METRICS else (kind,)
        return [self._bucket(url, each) for each in kinds]

    def _bucket(self, url: str, kind: Kind) -> "_Bucket":
        key = (_subscription_of(url), kind)
        if key not in self._buckets:
            self._buckets[key] = _Bucket(LIMITS[kind], self._scale)
        return self._buckets[key]


class _Bucket:
    """A bucket as the time at which it is full again: each request puts that off.

    Attributes:
        closed_until: Until when Azure wants no more.
    """

    def __init__(self, limit: Limit, scale: float) -> None:
        self._arm = Limit(limit.bucket, limit.per_s * scale)
        self._each_s = 1 / (self._arm.per_s * SHARE)
        self._most = int(limit.bucket * SHARE)
        self._full_at = self._next_turn = self.closed_until = -math.inf

    def wait(self, now: float, *, leaves_half: bool) -> float:
        at_once = self._most / 2 if leaves_half else self._most
        free_at = max(self._full_at, now) - (at_once - 1) * self._each_s
        wait = max(free_at, self.closed_until) - now
        return wait if wait > _AT_ONCE_S else 0.0

    def take(self, now: float) -> None:
        # What was taken ahead of a time at which it is closed is asked after that.
        self._full_at = max(self._full_at, now) + self._each_s

    def turn_away(self, now: float, wait: float) -> float:
        """Give in how many seconds whoever gets no place may come again."""
        self._next_turn = max(self._next_turn + self._each_s, now + wait)
        return self._next_turn - now

    def learn(self, now: float, left: int) -> None:
        floor = self._arm.bucket * FLOOR
        ours = min(self._most, max(0.0, left - floor))
        self._full_at = max(self._full_at, now + (self._most - ours) * self._each_s)
        if left < floor:
            self.closed_until = max(self.closed_until, now + (floor - left) / self._arm.per_s)


class Flights:
    """Lets the same question, asked several times at once, be one request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[object, Future[object]] = {}

    def share[T](self, question: object, ask: Callable[[], T]) -> T:
        """Give the answer of whoever is asking the same just now, else ask."""
        with self._lock:
            other = self._under_way.get(question)
            mine: Future[object] = Future()
            if other is None:
                self._under_way[question] = mine
        if other is not None:
            answer: T = other.result()  # type: ignore[assignment]
            return answer
        try:
            answer = ask()
        except BaseException as error:  # whatever it is, those who share the answer must not wait for ever
            mine.set_exception(error)
            raise
        else:
            mine.set_result(answer)
            return answer
        finally:
            with self._lock:
                del self._under_way[question]


def kind_of(method: str, url: str) -> Kind:
    """Give as what Azure counts a request: a POST that only asks is a write to it."""
    if method in {"GET", "HEAD"}:
        return Kind.METRICS if _METRICS.search(url) else Kind.READS
    return Kind.DELETES if method == "DELETE" else Kind.WRITES


def _subscription_of(url: str) -> str:
    """Give the subscription that a request is counted for; empty for what lies in none."""
    named = _SUBSCRIPTION.search(url)
    return named[1].lower() if named else ""

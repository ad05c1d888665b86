"""The world's time: what is due happens in order, whether or not anyone asks."""

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

LONGEST_NAP = 0.05  # seconds; an injected clock may jump without telling us


class Agenda:
    """Things to do at a time. ``lock`` is the world's: what is due runs inside it."""

    def __init__(self, clock: Callable[[], datetime], lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._wake = threading.Condition(lock)
        self._entries: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._moment: datetime | None = None
        self._ticker: threading.Thread | None = None
        self._closed = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is planned."""
        return not self._entries

    def is_empty_for(self, seconds: float) -> bool:
        """Whether nothing is planned for so long."""
        with self._lock:
            return not self._entries or self._entries[0][0] > self._clock() + timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The time; while something due is done, the moment it was due."""
        return self._moment or self._clock()

    def schedule(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something that many seconds from now."""
        with self._lock:
            due = self.now() + timedelta(seconds=seconds)
            heapq.heappush(self._entries, (due, next(self._numbers), action))
            self._wake.notify_all()

    def settle(self) -> None:
        """Do everything that is due."""
        with self._lock:
            if self._moment is not None:
                return
            now = self._clock()
            while self._entries and self._entries[0][0] <= now:
                self._moment, _, action = heapq.heappop(self._entries)
                try:
                    action()
                finally:
                    self._moment = None

    def start_ticker(self) -> None:
        """From now on settle in a thread, in time for each entry."""
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="arm-agenda", daemon=True)
            self._ticker.start()

    def close(self) -> None:
        """Stop the thread; what is still planned never happens."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
        if self._ticker is not None and self._ticker is not threading.current_thread():
            self._ticker.join(timeout=5)

    def _tick(self) -> None:
        while True:
            self.settle()
            with self._lock:
                if self._closed:
                    return
                nap = LONGEST_NAP
                if self._entries:
                    nap = min(nap, max(0.0, (self._entries[0][0] - self._clock()).total_seconds()))
                self._wake.wait(nap)

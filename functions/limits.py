"""How often somebody may ask: so many times in a minute, counted in this process.

An app of several instances permits so many times more. A limit protects the trail and what Azure permits us to read; no
answer rests on it.
"""

import threading
import time
from collections import OrderedDict, deque

_WINDOW_S = 60.0
_MOST_KEYS = 10_000


class Limit:
    """So many a minute for each key; keys that are quiet are forgotten."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def permits(self, key: str, now: float | None = None) -> bool:
        """Count one more, and tell whether it is still within the limit."""
        now = time.monotonic() if now is None else now
        with self._lock:
            times = self._seen.setdefault(key, deque())
            self._seen.move_to_end(key)
            while times and now - times[0] >= _WINDOW_S:
                times.popleft()
            if len(times) >= self.most:
                return False
            times.append(now)
            while len(self._seen) > _MOST_KEYS:
                self._seen.popitem(last=False)
        return True

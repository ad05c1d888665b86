"""What was read a moment ago: a page that is asked for often reads once. In this process alone; nothing rests on it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Recent[T]:
    """Values by key, so many at most, each for some seconds."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, key: str, read: Callable[[], T], *, within_s: float) -> T:
        """Give the value of a key, read anew if it is older than that."""
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept[0] > within_s:
            kept = (time.monotonic(), read())
            with self._lock:
                self._kept[key] = kept
                while len(self._kept) > self.most:
                    self._kept.popitem(last=False)
        return kept[1]

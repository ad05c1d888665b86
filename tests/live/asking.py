"""What the live tests ask with."""

import time
from collections.abc import Callable
from typing import Any

from remediations.model import Found, Reading, reading_words


def found[T](reading: Reading[T], what: str) -> T:
    """Give what a read found; fail with what it says otherwise."""
    assert isinstance(reading, Found), f"{what} is {reading_words(reading)}"
    return reading.value


def shown(reading: Reading[Any], what: str) -> dict[str, Any]:
    """Give a body that was read."""
    value = found(reading, what)
    assert isinstance(value, dict), what
    return value


def eventually[T](ask: Callable[[], T | None], what: str, *, within_s: float, every_s: float) -> T:
    """Give the first answer that is not None."""
    deadline = time.monotonic() + within_s
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(every_s)
    return answer

"""The rows, in the order in which they are measured; each module has one verb, ``measure``."""

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.row import Row
from benchmarks.rows import cold_start

ROWS: dict[str, Callable[[Bench], Row]] = {
    "cold-start": cold_start.measure,
}

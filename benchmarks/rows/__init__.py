"""The rows, in the order in which they are measured; each module has one verb, ``measure``."""

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.row import Row
from benchmarks.rows import audited_event, cold_start, event_to_decision, growth, orchestration, repairs

ROWS: dict[str, Callable[[Bench], Row]] = {
    "cold-start": cold_start.measure,
    "event-to-decision": event_to_decision.measure,
    "audited-event": audited_event.measure,
    "orchestration": orchestration.measure,
    "growth": growth.measure,
    "repairs": repairs.measure,
}

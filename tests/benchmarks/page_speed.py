"""How long the server takes for an approval page on the local host, reading Azure anew each time and with what it has.

.venv/bin/python -m tests.benchmarks.page_speed
"""

import statistics
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

from functions import approvals
from functions.limits import Limit
from local import answering
from local.arm.resources import Refusal
from tests.workflow.theatre import UPDATED, Story, Theatre, short_of_cores

ROUNDS = 60
IDLE = short_of_cores(16, old={})


def measured(story: Story, *, fresh: bool) -> list[float]:
    """Milliseconds of one request each, over loopback."""
    link, signed = story.link(story.question()), answering.principal(str(uuid.uuid4()))
    kept, approvals._LIVE_FOR_S = approvals._LIVE_FOR_S, -1.0 if fresh else 60.0
    try:
        times = []
        for _ in range(ROUNDS + 5):
            began = time.perf_counter()
            story.http.get(link, headers=signed).raise_for_status()
            times.append((time.perf_counter() - began) * 1000)
        return times[5:]
    finally:
        approvals._LIVE_FOR_S = kept


def main() -> None:
    approvals._LOOKS = Limit(100_000)
    with tempfile.TemporaryDirectory() as folder, Theatre(Path(folder)) as theatre:
        for name, world, deployment in (("retry", UPDATED, "blue"), ("delete-idle", IDLE, "green")):
            story = theatre.tell(world)
            with suppress(Refusal):
                story.world.put_deployment("ci", "credit-scoring", deployment)
            story.question()
            for fresh in (True, False):
                times = measured(story, fresh=fresh)
                how = "reads Azure each time" if fresh else "with what was read in the last 10 s"
                median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
                print(f"{name:<12} {how:<36} median {median:6.1f} ms, p95 {p95:6.1f} ms ({ROUNDS} requests)")
            story.world.close()
            theatre.clear()


if __name__ == "__main__":
    main()

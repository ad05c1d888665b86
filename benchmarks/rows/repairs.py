"""Repairs that succeed: what they ask of Azure beside the least, and our own share of their time."""

from collections.abc import Iterator

from benchmarks import least
from benchmarks.bench import Bench
from benchmarks.row import Figure, Row, Sample, at_most, figure

TIMES = 40
QUESTION = (
    "What does a repair that succeeds ask of Azure, beside the least that it needs, and how long does it take that is "
    "neither Azure's operation nor a wait that we chose?"
)
NOTES = (
    (
        "The whole app on the local host repairs a simulated Azure whose operations are over at once; every wait of "
        "ours is cut to a hundred-thousandth. What is left from the event to the end is our own share, with the "
        "simulator's answers, the local task hub and a trail in a folder in it."
    ),
    (
        f"Each repair is played {TIMES} times after one that is not counted, in one process, however many rounds; "
        "the trail is in memory."
    ),
    (
        "Calls: reads and writes, without the looks whether an operation of ours is over: once a minute, here "
        "once each. The least is counted by hand, with reasons, in `benchmarks/arm_calls.yaml`."
    ),
)


def measure(bench: Bench) -> Row:
    """Measure all repairs in one process: nothing is compared with another subject."""
    bench.say(f"playing each repair {TIMES} times")
    sample = bench.process(bench.own_python, "repaired", str(TIMES), store=bench.memory)
    figures = tuple(one for action in least.table().repairs for one in _figures(action, sample))
    return Row(name="repairs", question=QUESTION, figures=figures, notes=NOTES)


def _figures(action: str, sample: Sample) -> Iterator[Figure]:
    def one(what: str, unit: str, key: str, asked: float | None = None) -> Figure:
        bound = None if asked is None else at_most(asked)
        return figure(action, what, unit, [sample], f"{action} {key}", bound=bound)

    yield one("calls", "", "calls", sample[f"{action} least"])
    yield one("of which writes", "", "writes")
    yield one("looks whether operations are over", "", "polls")
    yield one("our own share, p50", "ms", "p50_ms")
    yield one("our own share, p95", "ms", "p95_ms")

"""What one incident costs as what is around it grows."""

import shutil
from collections.abc import Mapping
from functools import partial
from itertools import count

from benchmarks.bench import Bench
from benchmarks.row import Bound, Figure, Ratio, Row, Sample, at_most, figure, ratio

QUESTION = (
    "What does one incident cost as something around it grows? Asked is linear or better, and flat in what is stored."
)
NOTES = (
    (
        "Incidents stored: a dry run from the event to its end, all requests of Azure answered from memory, "
        "the trail in a folder in memory. Each turn adds fifty to those that were there."
    ),
    "The others: from the event to its decision, every answer there as a value.",
    (
        "Deployments: the quota is short, all of them draw on it, two of each endpoint's twenty may be deleted, and 30 "
        "days of metrics are read of each of these. With more than 500 in a region nothing is deleted."
    ),
    "Assignments: an identity lacks AcrPull, and holds another role on the registry by so many groups.",
    "What lies between the smallest and the largest is in the JSON and in the table.",
)
SIZES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "stored": ("incidents stored", (100, 1_000, 10_000, 100_000)),
    "rules": ("rules in the policy", (10, 100, 1_000, 10_000)),
    "message": ("characters in the message", (100, 1_000, 10_000, 100_000)),
    "causes": ("times the catalogue", (1, 10)),
    "deployments": ("deployments in the workspace", (10, 100, 480)),
    "assignments": ("role assignments on the registry", (10, 400, 4_000)),
}
FLAT = 1.2
ROOM = 6 << 30


def measure(bench: Bench) -> Row:
    """Measure one size after the other, of one kind after the other."""
    figures: list[Figure] = []
    ratios: list[Ratio] = []
    for kind, (what, all_sizes) in SIZES.items():
        sizes = _that_fit(bench, kind, all_sizes)
        numbers = count(0, 1_000)
        found = bench.in_turns({str(size): partial(_one, bench, kind, size, numbers) for size in sizes})
        told = [figure(f"{size:,} {what}", "an incident", "ms", found[str(size)], "ms") for size in sizes]
        figures += told
        bound: Bound = at_most(FLAT if kind == "stored" else sizes[-1] / sizes[0])
        ratios.append(ratio(f"{sizes[-1]:,} to {sizes[0]:,} {what}", told[-1], told[0], bound))
    return Row(name="growth", question=QUESTION, figures=tuple(figures), ratios=tuple(ratios), notes=NOTES)


def _that_fit(bench: Bench, kind: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Give the sizes for which there is room."""
    if kind != "stored" or shutil.disk_usage(bench.memory).free >= ROOM:
        return sizes
    bench.left_out.append(f"{sizes[-1]:,} incidents stored: they need {ROOM >> 30} GiB in memory")
    return sizes[:-1]


def _one(bench: Bench, kind: str, size: int, numbers: "count[int]") -> Sample:
    arguments = (kind, str(size), str(bench.recorded))
    if kind == "stored":
        place = bench.memory / f"stored-{size}"
        return bench.process(bench.own_python, "growth", *arguments, str(next(numbers)), place=place)
    return bench.process(bench.own_python, "growth", *arguments)

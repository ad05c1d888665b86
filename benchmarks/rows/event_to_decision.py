"""From an event to its decision, in a process that is warm."""

from functools import partial

from benchmarks.bench import Bench, Subject
from benchmarks.row import Bound, Figure, Row, Sample, at_least, figure, ratio

EVENTS = 300
MANY = 2_000  # what starts the Java machine is not counted
QUESTION = "How many events a second are decided in one warm process, and how long does one take?"
NOTES = (
    (
        "Ours is intake, enrich, classify, plan, survey, guards and decide, in a dry run, over an empty "
        "trail; the decision is kept in a file that is not synced, as cloud-custodian keeps its record."
    ),
    (
        "With one read, the failed deployment is read over the whole SDK from a stand-in below it, as "
        "cloud-custodian reads it; the ten other answers that our judgement rests on are there as values. "
        "With no read all are, beside ansible-rulebook, which reads nothing. With all reads every one goes "
        "over the SDK."
    ),
    (
        "cloud-custodian makes a policy and a client for each event, as its deployed function does; with "
        "those kept, it is `push`."
    ),
    ("ansible-rulebook's rate is that between its first and its last action; it gives no time for each event."),
)
OURS = {"ours, no read": "none", "ours, one read": "one", "ours, all 11 reads": "all"}
CUSTODIAN = {"cloud-custodian": "handler", "cloud-custodian, push": "push"}
RULEBOOK = "ansible-rulebook"


def measure(bench: Bench) -> Row:
    """Measure all subjects."""
    found = bench.in_turns(_subjects(bench))
    rates = {name: figure(name, "events", "/s", samples, "per_s") for name, samples in found.items()}
    figures = [one for name, samples in found.items() for one in (rates[name], *_latencies(name, samples))]
    pairs: tuple[tuple[str, str, Bound | None], ...] = (
        ("ours, one read", "cloud-custodian", at_least(10)),
        ("ours, one read", "cloud-custodian, push", None),
        ("ours, all 11 reads", "cloud-custodian", None),
        ("ours, no read", RULEBOOK, at_least(4)),
    )
    ratios = [
        ratio(f"{one} to {other}: events/s", rates[one], rates[other], bound)
        for one, other, bound in pairs
        if other in rates
    ]
    medians = {
        name: figure(name, "p50", "ms", samples, "p50_ms") for name, samples in found.items() if "p50_ms" in samples[0]
    }
    ratios += [
        ratio(f"{other} to {one}: p50", medians[other], medians[one]) for one, other, _ in pairs if other in medians
    ]
    return Row(name="event-to-decision", question=QUESTION, figures=tuple(figures), ratios=tuple(ratios), notes=NOTES)


def _subjects(bench: Bench) -> dict[str, Subject]:
    recorded, count = str(bench.recorded), str(EVENTS)
    found: dict[str, Subject] = {}
    app = bench.needed("app")
    for name, reads in OURS.items():
        found[name] = partial(bench.process, app, "ours", "judged", recorded, reads, count)
    if (python := bench.python("custodian")) is not None:
        for name, how in CUSTODIAN.items():
            found[name] = partial(bench.process, python, "custodian", how, recorded, count)
    if (python := bench.python("rulebook")) is not None:
        found[RULEBOOK] = partial(bench.process, python, "rulebook", str(MANY))
    return found


def _latencies(subject: str, samples: list[Sample]) -> list[Figure]:
    told = {"p50_ms": ("p50", "ms"), "p95_ms": ("p95", "ms"), "p99_ms": ("p99", "ms"), "peak_mb": ("peak memory", "MB")}
    return [figure(subject, what, unit, samples, key) for key, (what, unit) in told.items() if key in samples[0]]

"""Incidents through the whole app on the local host, beside durabletask alone: what shell and judgement cost."""

from functools import partial
from importlib.metadata import version

from benchmarks.bench import Bench
from benchmarks.row import Row, at_least, at_most, figure, ratio

INCIDENTS = 200
QUESTION = (
    "How many incidents a second go through the whole app on the local host, beside durabletask with as "
    "many activities that ask the same of the same adapters, and how long does an activity of ours take "
    "besides?"
)
NOTES = (
    (
        "An incident is a dry run to its end: its event over HTTP, four activities, one sub-orchestration, "
        "13 requests of Azure answered from memory, and all that the trail keeps, in a folder in memory."
    ),
    (
        "durabletask is its own in-memory hub with an orchestrator, a sub-orchestration and four activities. "
        "Each activity asks what ours was seen to ask (the same requests over the same SDK, records of the "
        "same sizes, the same looks at the trail), and so does what schedules it; it has no HTTP, no "
        "judgement, no retries and no log."
    ),
    "Both have the hub in one process and the worker in another, 16 activities at once.",
    (
        "Our own time is that of one activity after the other in one process, without what it waits for at "
        "the store and at Azure."
    ),
)
ACTIVITIES = {
    "open_incident_ms": "activity open_incident",
    "collect_ms": "activity collect",
    "judge_ms": "activity judge",
    "finish_ms": "activity finish",
}


def measure(bench: Bench) -> Row:
    """Measure ours and durabletask in turns, and our own time between them."""
    recorded, traced = str(bench.recorded), str(bench.folder / "traced.json")
    bench.versions["durabletask"] = version("durabletask")
    run = partial(bench.process, bench.own_python, "orchestrated", store=bench.memory)
    found = bench.in_turns(
        {
            "our own time": partial(run, "trace", recorded, traced),
            "ours": partial(run, "ours", recorded, str(INCIDENTS)),
            "durabletask": partial(run, "bare", recorded, str(INCIDENTS), traced),
        }
    )
    ours = figure("ours", "incidents", "/s", found["ours"], "per_s")
    bare = figure("durabletask", "incidents", "/s", found["durabletask"], "per_s")
    own = found["our own time"]
    figures = (
        ours,
        figure("ours", "activities an incident", "", found["ours"], "activities"),
        figure("ours", "turns of orchestrations an incident", "", found["ours"], "orchestrations"),
        bare,
        figure("our own time", "an activity, mean of the four", "ms", own, "activity_ms", bound=at_most(1)),
        figure("our own time", "taking an event", "ms", own, "take_ms"),
        *(figure("our own time", what, "ms", own, key, bound=at_most(1)) for key, what in ACTIVITIES.items()),
    )
    ratios = (ratio("ours to durabletask: incidents/s", ours, bare, at_least(0.8)),)
    return Row(name="orchestration", question=QUESTION, figures=figures, ratios=ratios, notes=NOTES)

"""From an event to its decision with all that the trail keeps of it, synced: what no peer writes."""

from functools import partial

from benchmarks.bench import Bench
from benchmarks.row import Row, figure, ratio

EVENTS = 100
SYNCS = 400
QUESTION = (
    "How many events a second are decided with every record and its evidence durable, and how many "
    "`fsync` a second does the disk give?"
)
NOTES = (
    (
        "The functions that Azure calls, up to the decision: the event is taken and recorded, its incident "
        "opened, all reads made over the SDK, evidence, diagnosis, plan and decision recorded, over a folder "
        "in which each record is synced with its name."
    ),
    "The disk alone: a file of 700 bytes is made, synced, and its folder synced, again and again.",
    "In Azure the trail is in blobs: this row tells of a folder alone.",
)


def measure(bench: Bench) -> Row:
    """Measure ours and the disk in turns."""
    python = bench.needed("app")
    store = bench.folder / "synced"
    found = bench.in_turns(
        {
            "ours": partial(bench.process, python, "ours", "durable", str(bench.recorded), str(EVENTS)),
            "the disk": partial(bench.process, python, "disk", str(store), str(SYNCS)),
        }
    )
    ours, disk = found["ours"], found["the disk"]
    rate, syncs = figure("ours", "events", "/s", ours, "per_s"), figure("the disk", "fsync", "/s", disk, "per_s")
    figures = (
        rate,
        figure("ours", "p50", "ms", ours, "p50_ms"),
        figure("ours", "p95", "ms", ours, "p95_ms"),
        figure("ours", "p99", "ms", ours, "p99_ms"),
        figure("ours", "fsync an event", "", ours, "syncs"),
        figure("ours", "share of its time in fsync", "", ours, "sync_share"),
        syncs,
        figure("the disk", "p50", "ms", disk, "p50_ms"),
        figure("the disk", "p95", "ms", disk, "p95_ms"),
    )
    made = figure("ours", "fsync", "/s", [{"per_s": one["per_s"] * one["syncs"]} for one in ours], "per_s")
    ratios = (ratio("ours to the disk: fsync/s", made, syncs),)
    return Row(name="audited-event", question=QUESTION, figures=figures, ratios=ratios, notes=NOTES)

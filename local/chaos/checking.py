"""Judge a round: did it keep what the product promises? By the simulator's ledger and the trail's bytes alone.

``check(played)`` asks every invariant, each a function of its own in `laws`, and counts what there was to judge: a
round in which nothing happened proves nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from local.chaos import laws
from local.chaos.laws import Scene
from local.chaos.played import Checked, Delivery, Lease, Round, Said, Violation, Watched, watched

__all__ = ["INVARIANTS", "Checked", "Delivery", "Lease", "Round", "Said", "Violation", "Watched", "check", "watched"]

INVARIANTS: dict[str, Callable[[Scene], Iterator[Violation]]] = {
    "events-accounted": laws.events_accounted,
    "intent-first": laws.intent_first,
    "one-send": laws.one_send,
    "known-state": laws.known_state,
    "dry-run": laws.dry_run,
    "approved": laws.approved,
    "one-at-a-time": laws.one_at_a_time,
    "ramp": laws.ramp,
    "ends": laws.ends,
    "listed": laws.listed,
    "trail-verifies": laws.trail_verifies,
    "budget": laws.budget,
    "no-secret": laws.no_secret,
    "no-lease": laws.no_lease,
    "attempts-and-told": laws.attempts_and_told,
    "worker-lives": laws.worker_lives,
}


def check(played: Round) -> Checked:
    """Give every violation in a round, by invariant, and its figures."""
    scene = Scene(played)
    found = [violation for law in INVARIANTS.values() for violation in law(scene)]
    return Checked(violations=tuple(found), figures=_figures(scene))


def _figures(scene: Scene) -> dict[str, int | float]:
    book, played = scene.book, scene.played
    raced, oldest = laws.raced(scene)
    effects = [write for write in scene.writes if write.entry.took_effect]
    ends = Counter(str(ended["end"]) for ended in book.ended.values())
    dispositions = Counter(str(intake["disposition"]) for intake in book.intakes)
    return {
        "incidents": len(book.opened),
        "ended": len(book.ended),
        "deliveries": len(played.deliveries),
        "intakes": len(book.intakes),
        "intents": len(book.intents),
        "sends": len(scene.writes),
        "effects": len(effects),
        "deletions": sum(write.entry.method == "DELETE" for write in effects),
        "grants": sum("/roleassignments/" in write.entry.path.lower() for write in effects),
        "records": sum(len(records) for records in book.records.values()),
        "questions": len(book.questions),
        "answers": sum(said.status < 300 for said in played.said),
        "slots": len(book.slots),
        "shown": sum(len(world.shown) for world in played.worlds),
        "bytes": sum(map(len, book.trail.values())) + sum(map(len, book.evidence.values())),
        "looks_raced": raced,
        "oldest_raced_look_s": round(oldest, 3),
        **{f"end: {end}": count for end, count in sorted(ends.items())},
        **{f"event: {disposition}": count for disposition, count in sorted(dispositions.items())},
    }

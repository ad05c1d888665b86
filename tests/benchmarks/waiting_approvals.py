"""Whether many questions that wait for a person slow down an incident that is new.

Two stores take turns in one run under one app: one empty, one with so many incidents that wait, each with its question
as the walk puts it. A deployment fails; measured is how long its event takes to be acknowledged, and how long it takes
to the end of its repair. In half of the rounds an incident of the same deployment waits already, so that the new one
supersedes its question. Asked is at most 1.2 times as long, by medians.

.venv/bin/python -m tests.benchmarks.waiting_approvals
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.arm.hazards import HigherPriority
from local.arm.models import World
from remediations.adapters.folder import FolderStore
from remediations.intake import incident_id
from remediations.model import ResourceId
from remediations.trail import Question, Trail
from tests.builders import make_incident, make_journal
from tests.workflow.theatre import Theatre, eventually

MOST = 1.2
SUBSCRIPTION = str(uuid.uuid4())
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices"
    "/workspaces/mlw-demo"
)


def wait_for_a_person(trail: Trail, path: str, now: datetime) -> None:
    """Let an incident of a deployment wait for an answer, with all that its walk has put on the trail by then."""
    target = ResourceId.parse(path)
    known = str(uuid.uuid4())
    incident = make_incident(
        id=incident_id(target, known),
        resource=target,
        correlation_id=known,
        event_id=known,
        failed_at=now - timedelta(minutes=5),
    )
    question = Question(
        at=now,
        incident_id=incident.id,
        plan=uuid.uuid4().hex * 2,
        decision="d" * 64,
        policy_version="v",
        expires_at=now + timedelta(hours=4),
    )
    journal = make_journal(trail, lambda: now)
    trail.open_incident(incident, known, now)
    journal.opened(incident)
    trail.ask(question)
    journal.asked(question)


class Bench:
    """One app over two stores, of which one is shown to it at a time."""

    def __init__(self, folder: Path, theatre: Theatre, waiting: int) -> None:
        self.theatre = theatre
        self.shown = folder / "current"
        self.stores = {0: folder / "none-waits", waiting: folder / "many-wait"}
        self.trails = {count: Trail(FolderStore(path / "trail")) for count, path in self.stores.items()}
        for place in self.stores.values():
            place.mkdir()
        now = datetime.now(UTC)
        for number in range(waiting):
            path = f"{WORKSPACE}/onlineEndpoints/endpoint-{number % 200}/deployments/d{number}"
            wait_for_a_person(self.trails[waiting], path, now)
        seed = {
            "subscription": SUBSCRIPTION,
            "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring"}]}],
            "operation_seconds": 0.05,
        }
        self.world = World.from_dict(seed)
        self.theatre.server.show(self.world)

    def show(self, count: int) -> None:
        """Put a store in front of the app, in one step."""
        aside = self.shown.with_suffix(".new")
        aside.symlink_to(self.stores[count], target_is_directory=True)
        aside.replace(self.shown)

    def play(self, count: int, name: str, *, supersedes: bool) -> tuple[float, float]:
        """Let a deployment fail and be repaired; give the seconds to the acknowledgement and to the end."""
        self.show(count)
        trail = self.trails[count]
        if supersedes:
            wait_for_a_person(
                trail, f"{WORKSPACE}/onlineEndpoints/credit-scoring/deployments/{name}", datetime.now(UTC)
            )
        before = len(self.world.raised)
        self.world.hazards.append(HigherPriority(remaining=1))
        self.world.put_deployment("ci", "credit-scoring", name)
        event = eventually(lambda: self._failure(before), "no event was raised")
        time.sleep(0.2)  # the row of the Activity Log
        began = time.perf_counter()
        answer = self.theatre.http.post("/api/events", json=event)
        acknowledged = time.perf_counter()
        (handled,) = answer.json()["events"]
        assert handled["disposition"] == "incident", handled
        place = self.stores[count] / "trail" / "incidents" / handled["incident"] / "ended"
        while not place.exists():
            assert time.perf_counter() - began < 60, f"{handled['incident']} did not end"
            time.sleep(0.005)
        ended = time.perf_counter()
        kept = trail.ended(handled["incident"])
        assert kept is not None
        assert kept.end == "repaired", kept
        return acknowledged - began, ended - began

    def _failure(self, before: int) -> dict[str, Any] | None:
        return next((event for event in self.world.raised[before:] if "Cancel" in str(event)), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app").mkdir()
        with Theatre(folder / "app", store=str(folder / "current")) as theatre:
            # Each round's failure goes its own way: so many in a row would otherwise be judged together.
            theatre.write_policy({"actions": {"retry": {"budget_per_hour": 1000}}, "storm": {"from": 1000}})
            bench = Bench(folder, theatre, options.waiting)
            with closing(bench.world):
                figures = measure(bench, options.waiting, options.rounds)
    for what, (none, many) in figures.items():
        times = f"none waits {none * 1000:.1f} ms, {options.waiting:,} wait {many * 1000:.1f} ms"
        print(f"{what}: {times}: {many / none:.2f}")
    sys.exit(any(many / none > MOST for none, many in figures.values()))


def measure(bench: Bench, waiting: int, rounds: int) -> dict[str, tuple[float, float]]:
    taken: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for number in range(-2, rounds):
        supersedes = bool(number % 2)
        for count in (0, waiting) if number % 4 < 2 else (waiting, 0):
            seconds = bench.play(count, f"r{number + 2}-{count}", supersedes=supersedes)
            if number >= 0:
                taken.setdefault((count, supersedes), []).append(seconds)
    found: dict[str, tuple[float, float]] = {}
    for supersedes, which in ((False, "alone"), (True, "supersedes a question")):
        for index, what in ((0, "event to acknowledgement"), (1, "event to end")):
            medians = [statistics.median(one[index] for one in taken[count, supersedes]) for count in (0, waiting)]
            found[f"{what}, {which}"] = (medians[0], medians[1])
    return found


if __name__ == "__main__":
    main()

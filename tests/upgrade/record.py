"""Record the histories of the walk, once, when a version of it is released: python -m tests.upgrade.record.

It plays every shipped scenario, and what no scenario holds, and keeps one history of each shape. Ids and times are made
the same in each recording. A version that has histories is not recorded again: they stand for instances that run.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, override

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc  # type: ignore[import-untyped]
from durabletask.entities import EntityInstanceId

from functions.events import WALK
from local import answering, rehearsal
from local.arm.schema import PRINCIPALS
from local.backend import Backend
from remediations import codec
from remediations.policy import Pause
from remediations.proof import checkpoint
from tests.upgrade import replaying, values
from tests.upgrade.replaying import History, Plain, Turn
from tests.workflow.theatre import Story, Theatre, eventually

RACES = Path(__file__).parents[1] / "e2e" / "races"
BEGIN = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
# A registry whose keys were changed: what is repaired has two steps, and touches two things.
SYNC: dict[str, Any] = {"hazards": [], "registries": [{"name": "crmlwdemo", "keys_regenerated": 1800}]}
# Failures that come at once: those that had places of their own join the storm of the others.
STORM: dict[str, Any] = {
    "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": f"e{number}"} for number in range(5)]}],
    "hazards": [{"kind": "higher-priority", "endpoint": f"e{number}", "remaining": 1} for number in range(5)],
}
STORMY: dict[str, Any] = {"storm": {"from": 2, "within": "P1D", "calm": "PT3M"}, "actions": {"retry": {"mode": "ask"}}}
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.\d|Z|\+00:00)")
_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9a-zA-Z.])(?=[0-9]*[a-f])[0-9a-f]{16,64}(?![0-9a-zA-Z])"
)
_PLACE = re.compile(
    rf"(?<![\w.:-])(?:/(?:tmp|home|root|Users|var|private)/|{re.escape(str(Path(__file__).parents[2]))})[^\s'\"\\,]*"
)
_PORT = re.compile(r"(?<=//127\.0\.0\.1:)\d+|(?<=//localhost:)\d+")


class RecordingBackend(Backend):
    """A task hub that keeps what each turn was given and what it asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: dict[tuple[str, int], list[Taken]] = {}

    @override
    def CompleteOrchestratorTask(
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        with self._lock:
            instance = self._instances.get(request.instanceId)
            if instance is not None and str(instance.completion_token) == request.completionToken:
                turn = Taken(instance.name, [*instance.history], [*instance.dispatched_events], [*request.actions])
                key = (instance.instance_id, self._executions[instance.instance_id])
                self._taken.setdefault(key, []).append(turn)
            return super().CompleteOrchestratorTask(request, context)

    def take(self, scenario: str) -> list[History]:
        """Give what was recorded since the last time, those that began first."""
        with self._lock:
            taken, self._taken = self._taken, {}
        return [
            History(
                scenario=scenario,
                instance=instance,
                orchestrator=turns[0].name,
                events=[replaying.plain(event) for event in (*turns[-1].past, *turns[-1].new)],
                turns=[Turn(len(one.past), len(one.new), list(map(replaying.plain, one.actions))) for one in turns],
            )
            for (instance, _), turns in taken.items()
        ]


class Taken(NamedTuple):
    """One turn, as the hub saw it."""

    name: str
    past: list[pb.HistoryEvent]
    new: list[pb.HistoryEvent]
    actions: list[pb.OrchestratorAction]


def normal(history: History) -> History:
    """Give a history whose ids and times are those of every recording; raises ValueError if it does not replay so.

    The engine derives the ids of requests to an entity from the instance's id and the time, so these are taken from
    the replay itself.
    """
    text = scrubbed(json.dumps([history.instance, history.events, [turn.actions for turn in history.turns]]))
    walk = replaying.walk_of()
    for number in range(len(history.turns)):
        made = _of(history, text)
        turn = made.turns[number]
        for was, now in zip(turn.actions, replaying.actions_of(walk, made, turn), strict=True):
            for old, new in zip(_requests(was), _requests(now), strict=True):
                text = text.replace(old, new)
    made = _of(history, text)
    if found := replaying.differences(walk, made):
        raise ValueError(f"today's code does not replay what it has just done: {'; '.join(found)}")
    return made


def scrubbed(text: str) -> str:
    """Give some JSON with the ids and times of every recording. Times move together: what lies between stays."""
    began = min(
        (datetime.fromisoformat(found[0]) for found in _TIME.finditer(text)), default=BEGIN.replace(tzinfo=None)
    )
    shift = BEGIN.replace(tzinfo=None) - began
    text = _TIME.sub(lambda found: _shifted(found[0], shift), _PLACE.sub("/somewhere", _PORT.sub("1", text)))
    names: dict[str, str] = {}
    return _ID.sub(lambda found: names.setdefault(found[0], _named(found[0], len(names))), text)


def _of(history: History, text: str) -> History:
    instance, events, actions = json.loads(text)
    turns = [Turn(turn.past, turn.new, asked) for turn, asked in zip(history.turns, actions, strict=True)]
    return History(
        scenario=history.scenario, instance=instance, orchestrator=history.orchestrator, events=events, turns=turns
    )


def _requests(action: Plain) -> list[str]:
    message = action.get("sendEntityMessage", {})
    return [one["requestId"] for one in message.values() if isinstance(one, dict) and "requestId" in one]


def _shifted(text: str, shift: timedelta) -> str:
    return (datetime.fromisoformat(text) + shift).isoformat()


def _named(found: str, number: int) -> str:
    if "-" in found:
        return str(uuid.UUID(int=number, version=4))
    return hashlib.sha256(str(number).encode()).hexdigest()[: len(found)]


def stories() -> list[tuple[str, rehearsal.Scenario]]:
    """Every scenario, with what others do at the worst moment."""
    files = [*rehearsal.shipped(), *sorted(RACES.glob("*.yaml"))]
    return [(file.stem, rehearsal.load(file)) for file in files]


def record(folder: Path) -> list[History]:
    """Play every story, and give what the hub saw; what they left in their stores lies in the folder."""
    told: list[History] = []
    for mode in ("auto", "dry-run"):
        backend = RecordingBackend()
        with rehearsal.Stage(mode, folder / mode, backend=backend) as stage:
            for name, scenario in stories():
                if scenario.mode == mode:
                    report = stage.play(scenario)
                    if report.differences:  # on a slow machine; what happened is a history all the same
                        print(f"{name} did not end as expected: {'; '.join(report.differences)}", file=sys.stderr)
                    told += backend.take(name)
    return [*told, *tales(folder / "theatre")]


# ------------------------------------------------------------------------------------------ what no scenario holds


def evidence_lost(story: Story) -> None:
    """A step that fails ends the walk, and gives back its desks."""

    def lose(_kind: str, name: str, _instance: str) -> None:
        if name == "execute":
            shutil.rmtree(story.theatre.folder / "evidence", ignore_errors=True)

    story.host.backend.on_hand_out = lose
    story.put()
    wait_for_its_end(story)


def desks_held(story: Story) -> None:
    """Another incident works on the last thing that a plan touches: what was claimed before is given back."""

    def hold(_kind: str, name: str, instance: str) -> None:
        if name == "repair" and not held:
            held.append(json.loads(story.host.backend._instances[instance].input or "")["desks"][-1])
            now = datetime.now(UTC)
            claim = {"owner": "inc-other", "now": now.isoformat(), "until": (now + timedelta(seconds=2)).isoformat()}
            story.host.client.signal_entity(EntityInstanceId("desk", held[0]), "claim", input=claim)

    held: list[str] = []
    story.host.backend.on_hand_out = hold
    story.put()
    wait_for_its_end(story)


def claimed_by_another(story: Story) -> None:
    """A walk whose incident was claimed under another nonce does nothing."""
    story.put()
    wait_for_its_end(story)
    claim = story.incidents()[0]
    order = {"walk": WALK, "incident": codec.dump(claim.incident), "nonce": "another", "try": 1, "scale": 100.0}
    again = story.host.client.schedule_new_orchestration("remediate", input=order)
    story.host.client.wait_for_orchestration_completion(again, timeout=120)


def nobody_to_ask(story: Story) -> None:
    """A question that nobody may answer is not asked."""
    story.put()
    wait_for_its_end(story)


def storm_joined(story: Story) -> None:
    """The first failures join the storm of those that came right after them, and all are repaired."""
    for number in range(5):
        story.world.put_deployment("ci", f"e{number}", "green")
    asked = eventually(lambda: [one for one in story.trail.open_questions() if one.members], "nobody was asked", 120)
    story.answer(asked[0])
    wait_for_its_end(story)


def telling_fails(story: Story) -> None:
    """What cannot be told, since the claim of its incident cannot be read, is given up."""

    def spoil(_kind: str, name: str, _instance: str) -> None:
        if name == "tell":
            for claim in (story.theatre.folder / "trail" / "incidents").glob("*/opened"):
                claim.write_bytes(b"{")

    backend = story.host.backend

    def is_given_up() -> bool:
        told = [one for one in list(backend._instances.values()) if one.name == "notify"]
        return bool(told) and all(one.output for one in told)

    backend.on_hand_out = spoil
    story.put()
    eventually(is_given_up, "it is still being told", 120)


def wait_for_its_end(story: Story) -> None:
    """Wait longer than a test would: a recording is made once."""

    def is_over() -> bool:
        opened = story.incidents()
        return bool(opened) and all(story.trail.ended(one.incident.id) is not None for one in opened)

    eventually(is_over, "the incident did not end", 120)


def wait_until_told_again(backend: Any) -> None:
    eventually(
        lambda: sum(name.startswith("tell-") for name, _ in list(backend._taken)) > 1, "it is not told again", 120
    )


def member_ended(story: Story) -> None:
    """Somebody ends the walk of a storm's member by hand, and the others are judged all the same."""
    backend, ended = story.host.backend, list[str]()

    def end(_kind: str, name: str, instance: str) -> None:
        if name == "judge" and instance.startswith("muster-") and not ended:
            ended.append(instance)
            threading.Thread(target=story.host.client.terminate_orchestration, args=(instance,)).start()

    def is_judged() -> bool:
        return bool(ended) and not any(name.startswith("muster-") for name in backend.unfinished())

    backend.on_hand_out = end
    for number in range(5):
        story.world.put_deployment("ci", f"e{number}", "green")
    eventually(is_judged, "the storm is not judged", 120)


def rare_values(story: Story) -> None:
    """Leave what no walk leaves: a pause, an answer to no question, a signed state of the trail."""
    story.put()
    wait_for_its_end(story)
    wait_until_told_again(story.host.backend)
    story.trail.pause(Pause(until=datetime.now(UTC) + timedelta(hours=1), reason="a drill"), "drill")
    signed_in = answering.principal(story.approver)
    story.http.post("/api/approvals/none.of.ours", data={"decision": "approve"}, headers=signed_in)
    story.http.post("/admin/functions/anchor", json={}).raise_for_status()


# A question that only whoever started the failed operation might answer.
OWN: dict[str, Any] = {"role": "", "users": [PRINCIPALS["ci"].oid]}
TALES: tuple[tuple[Callable[[Story], None], dict[str, Any], dict[str, Any] | None], ...] = (
    (evidence_lost, SYNC, None),
    (desks_held, SYNC, None),
    (claimed_by_another, SYNC, None),
    (telling_fails, SYNC, None),
    (nobody_to_ask, SYNC, {"actions": {"sync-keys": {"mode": "ask", "approvers": OWN}}}),
    (storm_joined, STORM, STORMY),
    (member_ended, STORM, STORMY),
    (rare_values, SYNC, None),  # the last: each begins with an empty store
)


def tales(folder: Path) -> list[History]:
    """Tell what no scenario holds."""
    told: list[History] = []
    backend = RecordingBackend()
    env = {"MEDIC_TEAMS_URL": "http://127.0.0.1:9/nobody/listens", "MEDIC_ANCHOR_KEY": checkpoint.new_key()}
    with Theatre(folder, backend=backend, env=env) as theatre:
        for tale, world, policy in TALES:
            story = theatre.tell(world, policy=policy)
            tale(story)
            story.world.close()
            told += backend.take(tale.__name__)
    return told


def distinct(told: list[History]) -> list[History]:
    """Give one history of each shape, from its beginning: the first in order of the stories' names."""
    kept: dict[str, History] = {}
    for one in sorted(told, key=lambda history: history.scenario):
        if one.turns[0].past == 0:
            kept.setdefault(one.shape, one)
    return list(kept.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.upgrade.record", description=__doc__)
    parser.add_argument(
        "--again", action="store_true", help="replace the histories of a version that is not released yet"
    )
    options = parser.parse_args()
    if WALK in replaying.versions() and not options.again:
        print(
            f"The walk {WALK} has histories. A changed walk gets a version of its own: functions/events.py, WALK.",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory() as folder:
        told = record(Path(folder))
        left = values.telling(chain.from_iterable(map(values.of_folder, sorted(Path(folder).iterdir()))))
    kept = [normal(one) for one in distinct(told)]
    replaying.write(WALK, kept)
    values.write(WALK, [json.loads(scrubbed(json.dumps(one))) for one in left])
    print(f"{len(told)} executions, {len(kept)} of a shape of their own; {len(left)} values")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

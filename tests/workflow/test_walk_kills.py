"""The worker is killed at every step of the walk, and one effect comes out all the same."""

import fcntl
from collections import Counter

import pytest

from tests.workflow.theatre import Clock, eventually

# Each piece of work that one walk of one canceled deployment hands out: kind, name, and how many times.
WORK = {
    ("orchestration", "remediate"): 7,
    ("orchestration", "gather"): 2,
    ("orchestration", "repair"): 6,
    ("orchestration", "follow"): 5,
    ("activity", "open_incident"): 1,
    ("activity", "collect"): 1,
    ("activity", "judge"): 1,
    ("activity", "execute"): 1,
    ("activity", "check"): 2,
    ("activity", "verify"): 1,
    ("activity", "finish"): 1,
    ("entity", "desk"): 2,
}
STAGES = [
    "incident",
    "evidence",
    "diagnosis",
    "plan",
    "decision",
    "decision",
    "intent",
    "outcome",
    "verification",
    "end",
]


def one_repair(tell):
    """A canceled deployment whose repair runs until it has been looked at once."""
    clock = Clock()
    story = tell(
        {"hazards": [{"kind": "higher-priority", "remaining": 1}, {"kind": "slow", "after": 1, "lasts": 60}]},
        clock=clock,
    )
    story.world.when("put by medic", lambda: story.world.when("get operation by medic", lambda: clock.jump(120)))
    return story


def assert_repaired_once(story):
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert story.state() == "Succeeded"
    assert story.dispositions(1) == ["incident"]
    assert len(story.slots()) == 1
    story.check_promises()


def test_the_list_of_work_to_be_killed_is_that_of_an_undisturbed_walk(tell):
    story = one_repair(tell)
    seen: Counter[tuple[str, str]] = Counter()
    story.host.backend.on_hand_out = lambda kind, name, _: seen.update([(kind, name)])
    story.put()
    assert_repaired_once(story)
    eventually(lambda: seen.total() >= sum(WORK.values()), "work is missing")
    assert dict(seen) == WORK
    assert story.stages() == STAGES


@pytest.mark.parametrize(
    ("kind", "name", "number"),
    [
        pytest.param(kind, name, number, id=f"{kind}-{name}-{number}")
        for (kind, name), count in WORK.items()
        for number in range(1, count + 1)
    ],
)
def test_a_worker_killed_at_any_step_leaves_one_effect(tell, kind, name, number):
    story = one_repair(tell)
    killer = story.kill_at(kind, name, number)
    story.put()
    assert_repaired_once(story)
    eventually(lambda: killer.victim is not None, "the worker was not killed")
    assert [status for _, status in story.intents()] == ["accepted"]


def hold_records(story):
    """Let no record be added to the incident's until what is given is closed."""
    audit = story.theatre.folder / "trail/audit" / story.incident() / ".0000.jsonl.length"
    lock = audit.open("r+b")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def test_a_worker_killed_between_intent_and_send_sends_under_a_new_intent(tell):
    story = one_repair(tell)
    held = []
    # After this read comes the intent; its record waits for the file that we hold, and the send for its record.
    nth = 3  # collect, guards, body
    story.world.when("get deployment by medic", lambda: held.append(hold_records(story)), nth=nth)
    story.put()
    eventually(story.intents, "no intent was created")
    assert story.sends() == []
    victim = story.host.worker_pid
    story.host.kill_worker()
    eventually(lambda: story.host.worker_pid != victim, "no other worker came")
    held[0].close()

    assert_repaired_once(story)
    assert [status for _, status in story.intents()] == ["not-done", "accepted"]
    assert [entry.client_request_id for entry in story.sends()] == [story.intents()[1][0].request_id]
    # The record of the first intent was lost with the worker; its outcome is told all the same.
    assert "the answer was lost; Azure shows that nothing was done" in [
        record.facts["words"] for record in story.records(stage="outcome")
    ]


def test_what_came_of_a_call_is_on_the_record_though_worker_and_hub_were_lost_before_it_was(tell):
    story, held = tell(), []
    story.world.when("put by medic", lambda: held.append(hold_records(story)))
    story.put()
    eventually(lambda: "accepted" in {status for _, status in story.intents()}, "no outcome was kept")
    victim = story.host.worker_pid
    story.host.kill_worker()
    story.host.backend.lose_hub()
    eventually(lambda: story.host.worker_pid != victim, "no other worker came")
    held[0].close()
    assert "outcome" not in story.stages()
    story.sweep()

    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert [record.facts["words"] for record in story.records(stage="outcome")] == ["Azure took the call (200)"]
    story.check_promises()


def test_a_worker_killed_between_send_and_outcome_does_not_send_again(tell):
    story = one_repair(tell)
    story.world.when("put by medic", story.host.kill_worker)
    story.put()
    assert_repaired_once(story)
    assert [status for _, status in story.intents()] == ["accepted"]
    assert (
        story.records(stage="outcome")[0].facts["words"] == "the answer was lost; Azure shows that the call took effect"
    )


def test_a_worker_killed_while_azure_refuses_sends_under_a_new_intent(tell):
    refused = {"kind": "error", "method": "PUT", "principal": "medic", "status": 409, "code": "Conflict"}
    story = tell({"faults": [refused]})
    story.world.when("put by medic", story.host.kill_worker)
    story.put()
    assert_repaired_once(story)
    assert [entry.status for entry in story.sends()] == [409, 200]
    assert [status for _, status in story.intents()] == ["not-done", "accepted"]

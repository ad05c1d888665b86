"""A store that fails under the walk: no audit, no action; and what a lost record leaves behind."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId

from functions import timers
from local.arm.schema import Denial
from remediations import desk, settings, telling
from remediations.model import End, Status
from remediations.ports import Delivery
from remediations.services import Services
from remediations.trail import Ended
from tests.builders import NOON, make_incident, make_intent, make_journal, make_outcome
from tests.workflow.theatre import eventually

HOUR = timedelta(hours=1)
OID = "cccccccc-1111-4222-8333-dddddddddddd"


def ended_in_the_hub(story):
    state = story.host.client.get_orchestration_state(story.incident())
    return state is not None and state.runtime_status in {OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED}


def test_without_a_place_for_the_intent_nothing_is_sent_and_the_sweep_goes_on_with_it(tell):
    story = tell()
    trail = story.theatre.folder / "trail"
    trail.mkdir(exist_ok=True)
    (trail / "effects").write_text("no folder")
    story.put()
    eventually(lambda: story.incidents() and ended_in_the_hub(story), "the walk did not give up")
    assert story.trail.ended(story.incident()) is None
    assert story.sends() == []
    green = EntityInstanceId("desk", desk.key_of(f"{story.resource}/deployments/green"))
    eventually(
        lambda: story.host.client.get_entity(green).get_state() == '{"owner": null, "until": null, "parked": []}',
        "the desk was not left",
    )
    (trail / "effects").unlink()
    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_without_the_record_of_the_intent_nothing_is_sent_until_the_trail_can_be_written_again(tell):
    story = tell()
    spoiled = []

    def spoil_the_trail():
        length = story.theatre.folder / "trail/audit" / story.incident() / ".0000.jsonl.length"
        spoiled.append((length, length.read_bytes()))
        length.unlink()
        length.mkdir()

    story.world.when("get deployment by medic", spoil_the_trail, nth=3)  # collect, guards, body
    story.put()
    eventually(lambda: spoiled and ended_in_the_hub(story), "the walk did not give up")
    assert story.sends() == []
    assert [status for _, status in story.intents()] == [None]

    length, content = spoiled[0]
    length.rmdir()
    length.write_bytes(content)
    story.sweep()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert [status for _, status in story.intents()] == ["not-done", "accepted"]
    story.check_promises()


def test_a_decision_whose_evidence_is_gone_is_not_carried_out(tell):
    story = tell()

    def lose(_kind, name, _instance):
        if name == "execute":
            shutil.rmtree(story.theatre.folder / "evidence", ignore_errors=True)

    story.host.backend.on_hand_out = lose
    story.put()
    assert story.ending() == ("inconclusive", "a step failed: NotFound")
    assert story.sends() == []
    assert story.intents() == []


def test_a_decision_that_was_changed_in_the_store_is_not_carried_out(tell):
    story = tell()

    def change(_kind, name, _instance):
        if name == "execute":
            for path in (story.theatre.folder / "evidence").rglob("*"):
                if path.is_file():
                    path.write_bytes(path.read_bytes().replace(b"green", b"black"))

    story.host.backend.on_hand_out = change
    story.put()
    assert story.ending() == ("inconclusive", "a step failed: ValueError")
    assert story.sends() == []
    assert story.intents() == []


# ------------------------------------------------------------- intents whose incident ended before anybody closed them


@pytest.fixture
def open_intent(tell):
    """A story that has ended with an open intent: what came of its call had no place on the trail."""
    blocked: list[Path] = []

    def told(world=None):
        story = tell(world)

        def block():
            (intent, _) = story.intents()[-1]
            place = story.theatre.folder / f"trail/effects/{intent.plan}/{intent.step}/{intent.attempt}/outcome"
            place.mkdir()
            blocked.append(place)

        story.world.when("put by medic", block)
        story.put()
        assert story.ending() == ("inconclusive", "a step failed: UnsafeName")
        assert [status for _, status in story.intents()] == [None]
        blocked.pop().rmdir()
        return story

    return told


def swept(story):
    """What the only intent comes to, once the sweep has looked."""
    eventually(lambda: story.sweep() or story.intents()[0][1], "the sweep left the intent open")
    (record,) = story.records(stage="outcome")
    assert record.seq == len(story.records()) - 1
    story.check_promises()
    return story.intents()[0][1], record.facts["words"]


def test_the_sweep_closes_what_took_effect(open_intent):
    story = open_intent()
    words = "the answer was lost; Azure shows that the call took effect"
    assert swept(story) == ("accepted", words)
    assert story.effects() == ["PUT green"]


def test_the_sweep_closes_what_was_never_done_and_does_not_do_it(open_intent):
    refused = {"kind": "error", "method": "PUT", "principal": "medic", "status": 409, "code": "Conflict"}
    story = open_intent({"faults": [refused]})
    assert swept(story) == ("not-done", "the answer was lost; Azure shows that nothing was done")
    assert story.effects() == []


def test_what_the_world_does_not_show_is_left_to_people(open_intent):
    story = open_intent()
    story.world.denied.append(Denial(principal="medic", action="*/deployments/read"))
    words = "the answer was lost, and Azure does not show whether the call took effect"
    assert swept(story) == ("unclear", words)


def test_without_the_evidence_of_its_decision_an_intent_is_left_to_people(open_intent):
    story = open_intent()
    shutil.rmtree(story.theatre.folder / "evidence")
    status, words = swept(story)
    assert status == "unclear"
    assert words.startswith("the answer was lost, and what was planned is kept no more: whether PUT /subscriptions/")


def test_people_are_told_of_an_unclear_effect_unless_they_were_told_that_the_end_is(tmp_path):
    own = Services(settings.load({"MEDIC_STORE": str(tmp_path), "MEDIC_DEV_SIGN_IN": OID}), clock=lambda: NOON)
    own.trail.open_incident(make_incident(), "n", NOON)
    own.trail.end_incident(Ended(at=NOON - HOUR, end=End.REFUSED, words="paused", incident=make_incident()))
    unclear, done = make_outcome(status=Status.UNCLEAR, words="nobody knows"), make_outcome()
    make_journal(own.trail).came_of(make_intent(), unclear)
    (key, order) = next(timers._unclear(own, [(make_incident().id, done), (make_incident().id, unclear)]))
    assert (key, order["kind"]) == (f"tell-{order['key']}", "inconclusive")
    message = telling.message(own, order)
    assert message is not None
    assert message.facts["words"] == "paused. Since: nobody knows"
    make_journal(own.trail).told(message, "folder", Delivery(taken=True, words="it did"), attempt=1)
    assert list(timers._unclear(own, [(make_incident().id, unclear)])) == []

"""A store that fails under the walk: no audit, no action; and what a lost record leaves behind."""

import shutil

from durabletask.client import OrchestrationStatus
from durabletask.entities import EntityInstanceId

from remediations import desk
from tests.workflow.theatre import eventually


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

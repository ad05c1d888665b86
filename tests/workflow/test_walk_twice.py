"""Every activity is handed out twice at once, and everything comes out once."""

import random
from collections.abc import Iterator

import pytest

from local.backend import Backend
from tests.workflow.theatre import UPDATED, Theatre

ONCE = {"incident", "intent", "outcome", "verification", "end", "question", "answer"}


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("twice"), backend=Backend(twice=1.0, seed=7)) as opened:
        yield opened


def assert_once(story, stages):
    told = [stage for stage in story.stages() if stage in ONCE]
    assert told == stages
    assert len(story.slots()) == 1
    assert len(story.sends()) == 1
    assert [status for _, status in story.intents()] == ["accepted"]
    story.check_promises()


@pytest.mark.parametrize("number", range(3))
def test_one_repair_has_one_effect(tell, number):
    story = tell()
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert_once(story, ["incident", "intent", "outcome", "verification", "end"])
    assert len(list(story.trail.store.list("results/"))) == 1


def test_one_question_is_asked_and_answered_once(tell):
    story = tell(UPDATED)
    story.put("blue")
    assert story.answer(story.question()).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT blue"]
    assert_once(story, ["incident", "question", "answer", "intent", "outcome", "verification", "end"])


def test_a_repair_that_fails_twice_has_three_effects_and_not_more(tell):
    story = tell({"hazards": [{"kind": "lock-confirmation", "remaining": 3}]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"] * 3
    assert len(story.slots()) == 3
    assert len(list(story.trail.store.list("results/"))) == 3
    story.check_promises()


def test_a_lost_answer_is_read_back_once(tell):
    story = tell({"faults": [{"kind": "lost", "method": "PUT", "principal": "medic"}]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert_once(story, ["incident", "intent", "outcome", "verification", "end"])


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_killed_again_and_again_leaves_one_effect(tell, seed):
    story, chance = tell(), random.Random(seed)
    victims: set[int | None] = set()

    def strike(_kind, _name, _instance):
        # Each worker lives for a few pieces of work, up to the sixth one.
        if len(victims) < 6 and story.host.worker_pid not in victims and chance.random() < 0.3:
            victims.add(story.host.worker_pid)
            story.host.kill_worker()

    story.host.backend.on_hand_out = strike
    story.put()
    assert story.ending()[0] == "repaired"
    assert victims
    assert story.effects() == ["PUT green"]
    assert story.state() == "Succeeded"
    assert len(story.slots()) == 1
    story.check_promises()

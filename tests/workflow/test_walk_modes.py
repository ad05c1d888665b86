"""MEDIC_MODE is a ceiling over whatever policy permits."""

import pytest

from tests.workflow.theatre import Theatre


@pytest.fixture
def theatre(request, tmp_path):
    with Theatre(tmp_path, mode=request.param) as opened:
        yield opened


@pytest.mark.parametrize("theatre", ["off"], indirect=True)
def test_when_it_is_off_nothing_is_decided_to_be_done(tell):
    story = tell()
    story.put()
    assert story.ending() == ("refused", "policy says auto for retry; MEDIC_MODE permits off at most")
    assert story.sends() == []
    assert story.intents() == []


@pytest.mark.parametrize("theatre", ["ask"], indirect=True)
def test_when_it_is_ask_a_person_decides_what_policy_would_do_by_itself(tell):
    story = tell()
    story.put()
    asked = story.question()
    assert story.effects() == []
    assert story.records(stage="decision")[0].facts["mode_words"] == (
        "policy says auto for retry; MEDIC_MODE permits ask at most"
    )
    assert story.answer(asked).status_code == 200
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    story.check_promises()

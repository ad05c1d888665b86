"""Dead letters, sent again a day later and more: judged by what the world shows now, and never acted on as if new."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from local.cli import app
from tests.workflow.theatre import Clock, Story, eventually

LATE = timedelta(hours=30)


def failed(story: Story) -> dict[str, Any]:
    """Let a deployment fail without anybody being told, and give the event that would have told of it."""
    story.put()
    eventually(lambda: story.state() == "Canceled", "it did not fail")
    found = [event for event in story.world.raised if "Cancel" in str(event.get("eventType"))]
    return dict(eventually(lambda: found, "no event was raised")[0])


def letter(event: dict[str, Any], ago: timedelta = LATE) -> dict[str, Any]:
    """Give an event as Event Grid gives it up, dated back."""
    at = datetime.now(UTC) - ago
    return {**event, "eventTime": at.isoformat(), "deadLetterReason": "TimeToLiveExceeded", "deliveryAttempts": 30}


def replay(story: Story, folder: Any, *letters: dict[str, Any]) -> list[dict[str, Any]]:
    (folder / "letters.json").write_text(json.dumps(letters))
    result = CliRunner().invoke(
        app, ["events", "replay", str(folder), "--to", story.host.url, "--json", "--rate", "50"]
    )
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["events"])


@pytest.fixture
def story(tell):
    return tell({"events": "none"})


def test_a_letter_of_a_day_ago_is_diagnosed_and_not_repaired(tell, tmp_path):
    clock = Clock()
    clock.ahead = -LATE
    story = tell({"events": "none"}, clock=clock)
    event = failed(story)
    clock.ahead = timedelta()
    (sent,) = replay(story, tmp_path, event | {"deadLetterReason": "TimeToLiveExceeded"})
    assert (sent["disposition"], sent["reason"]) == ("incident", "TimeToLiveExceeded")
    end, words = story.ending()
    assert (end, story.sends()) == ("refused", [])
    assert "in-time: the failure is 30 h old" in words


def test_a_letter_sent_again_is_a_duplicate(story, tmp_path):
    event = letter(failed(story))
    replay(story, tmp_path, event)
    story.ending()
    assert [one["disposition"] for one in replay(story, tmp_path, event, event)] == ["duplicate", "duplicate"]
    assert len(story.incidents()) == 1


@pytest.mark.parametrize("ago", [LATE, timedelta(minutes=1)], ids=["a day late", "a minute late"])
def test_a_letter_whose_failure_somebody_has_repaired_does_nothing(story, tmp_path, ago):
    event = letter(failed(story), ago)
    story.world.hazards.clear()
    story.put()
    eventually(lambda: story.state() == "Succeeded", "it was not repaired")
    replay(story, tmp_path, event)
    end, _ = story.ending()
    assert (end, story.sends()) == ("nothing-to-do", [])


def test_a_letter_of_a_failure_that_a_newer_one_has_replaced_is_not_acted_on(story, tmp_path):
    story.world.hazards[0].remaining = 2
    event = letter(failed(story), timedelta(minutes=1))
    story.put()
    eventually(lambda: sum("Cancel" in str(each.get("eventType")) for each in story.world.raised) == 2, "no newer one")
    replay(story, tmp_path, event)
    end, _ = story.ending()
    assert (end, story.sends()) == ("nothing-to-do", [])

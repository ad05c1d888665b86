"""Throttled at any point of the walk, an incident waits, and ends as it would have."""

from collections.abc import Iterator

import pytest

from tests.workflow.theatre import Theatre, eventually

# Longer than an activity sleeps, so that timers wait; and a first retry of an activity comes after that.
SECONDS = 6


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("throttled")) as opened:
        yield opened


def throttled(method, after):
    return {
        "kind": "throttle",
        "principal": "medic",
        "method": method,
        "after": after,
        "retry_after": SECONDS,
    }


@pytest.mark.parametrize("after", [0, 4, 6, 8, 9], ids=lambda after: f"after {after} reads")
def test_reads_that_are_throttled_are_waited_for_and_nothing_is_decided_without_them(tell, after):
    story = tell({"faults": [throttled("GET", after)]})
    story.put()
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert [status for _, status in story.intents()] == ["accepted"]
    assert sum(story.world.reads.values()) > after, "it was never throttled"
    story.check_promises()


def test_a_throttled_write_keeps_the_writes_of_another_incident_unsent_and_without_an_intent(tell):
    story = tell(
        {
            "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring"}, {"name": "fraud"}]}],
            "hazards": [{"kind": "higher-priority", "remaining": 2}],
            "faults": [throttled("PUT", 0)],
        }
    )
    story.world.put_deployment("ci", "credit-scoring", "green")
    eventually(lambda: "throttled" in {status for _, status in story.intents()}, "nothing was throttled")
    story.world.put_deployment("ci", "fraud", "green")
    eventually(lambda: "wait" in str([story.stages(one.incident.id) for one in story.incidents()]), "nobody waited")
    assert len(story.intents()) == 1
    assert [str(ended.end) for ended in story.endings(2)] == ["repaired", "repaired"]
    assert sorted(status or "" for _, status in story.intents()) == ["accepted", "accepted", "throttled"]
    assert len(story.sends()) == 3
    story.check_promises()

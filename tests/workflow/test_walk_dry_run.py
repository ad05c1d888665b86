"""A dry run reads, decides and says what it would do. It has nothing that could write."""

from collections.abc import Iterator

import pytest

from tests.workflow.theatre import UPDATED, Theatre, eventually


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("dry"), mode="dry-run") as opened:
        yield opened


@pytest.mark.parametrize("mode", ["auto", "ask", "dry-run"])
def test_what_policy_permits_is_only_said(tell, mode):
    story = tell(policy={"actions": {"retry": {"mode": mode}}})
    story.put()
    end, words = story.ending()
    assert end == "dry-run"
    assert words.endswith(" deploy mlw-demo/credit-scoring/green again with the body that GET shows")
    assert story.sends() == []
    assert story.intents() == []
    assert story.slots() == []
    assert [record.facts["would"] for record in story.records(stage="decision")] == [
        {"auto": "run", "ask": "ask", "dry-run": "dry-run"}[mode]
    ]


def test_an_open_breaker_asks_nobody(tell):
    story = tell(policy={"actions": {"retry": {"breaker_failures": 2}}})
    begin = story.theatre.output.stat().st_size
    story.failed_before(2)
    story.put()
    assert story.ending()[0] == "dry-run"
    (decision,) = story.records(stage="decision")
    assert decision.facts["would"] == "ask"
    said = story.theatre.output.read_bytes()[begin:].decode()
    assert "plan.decided" in said
    assert "breaker.tripped" not in said


def test_what_policy_turns_off_is_refused_in_a_dry_run_too(tell):
    story = tell(policy={"actions": {"retry": {"mode": "off"}}})
    story.put()
    assert story.ending() == ("refused", "policy says off for retry")


def test_a_question_is_not_put_to_anybody(tell):
    story = tell(UPDATED)
    story.put("blue")
    assert story.ending()[0] == "dry-run"
    assert list(story.trail.open_questions()) == []


def test_only_logs_are_asked_for(tell):
    story = tell({"hazards": [], "registries": [{"name": "crmlwdemo", "desynchronised": True}]})
    story.put()
    assert story.ending()[0] == "dry-run"
    asked = [entry.path.rsplit("/", 1)[-1] for entry in story.world.ledger if entry.principal == "medic"]
    assert sorted(set(asked)) == ["diagnose", "getLogs"]
    assert story.sends() == []


def test_the_sweep_and_a_killed_worker_write_nothing_either(tell):
    story = tell()
    killer = story.kill_at("activity", "judge")
    story.put()
    eventually(lambda: killer.victim is not None, "the worker was not killed")
    story.sweep()
    assert story.ending()[0] == "dry-run"
    assert story.sends() == []


def test_no_walk_ever_reaches_the_writer(tell, theatre):
    story = tell()
    story.put()
    story.ending()
    said = theatre.output.read_text()
    assert "plan.decided" in said
    assert "WriteInDryRun" not in said
    assert "a step failed" not in said

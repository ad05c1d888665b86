"""Sweeps that race with a walk and with one another do nothing twice; a breaker that several incidents trip at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from remediations.model import End
from remediations.trail import Result
from tests.workflow.theatre import Story, eventually


def sweep_at_once(story: Story, count: int = 4) -> None:
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: story.sweep(), range(count)))


@contextmanager
def sweeping(story: Story) -> Iterator[None]:
    """Sweep again and again, two at once, as long as the block lasts."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(0.02):
            story.sweep()

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(sweep) for _ in range(2)]
        try:
            yield
        finally:
            over.set()
        for each in running:
            each.result()


def test_sweeps_at_once_start_a_lost_walk_once(tell):
    story = tell()
    lost = story.lose_hub_at("execute")
    story.put()
    eventually(lambda: lost, "the hub was not lost")
    sweep_at_once(story)
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert [status for _, status in story.intents()] == ["accepted"]
    assert len(story.slots()) == 1
    story.check_promises()


def test_a_sweep_beside_a_walk_does_nothing_that_the_walk_does(tell):
    story = tell(policy={"actions": {"retry": {"mode": "ask"}}})
    with sweeping(story):
        story.put()
        assert story.answer(story.question()).status_code == 200
        assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    assert story.dispositions(1) == ["incident"]
    assert story.stages().count("question") == story.stages().count("end") == 1
    story.check_promises()


def test_sweeps_at_once_tell_of_a_failure_that_no_event_told_of_once(tell):
    story = tell({"events": "none"})
    story.theatre.write_policy({"subscriptions": [story.subscription]})
    story.put()
    eventually(lambda: story.state() == "Canceled", "it did not fail")

    def found() -> bool:  # it is due ten minutes after the write: six seconds here
        sweep_at_once(story, 3)
        return bool(story.incidents())

    eventually(found, "the sweep did not find it")
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["PUT green"]
    story.check_promises()


def test_a_breaker_that_incidents_trip_at_once_asks_about_the_next_ones(tell):
    endpoints = [{"name": name} for name in ("one", "two", "three", "four")]
    story = tell(
        {
            "workspaces": [{"name": "mlw-demo", "endpoints": endpoints}],
            "hazards": [{"kind": "higher-priority", "remaining": 6}],
        },
        policy={"actions": {"retry": {"breaker_failures": 2, "attempts": 1}}},
    )
    for name in ("one", "two"):
        story.world.put_deployment("ci", name, "green")
    assert [str(ended.end) for ended in story.endings(2)] == ["not-repaired", "not-repaired"]
    for name in ("three", "four"):
        story.world.put_deployment("ci", name, "green")
    eventually(lambda: len(list(story.trail.open_questions())) == 2, "nobody was asked")
    assert len({one.incident_id for one in story.trail.open_questions()}) == 2
    assert len(story.sends()) == 2
    story.check_promises()


def test_a_breaker_closes_when_its_window_is_over(tell):
    story = tell(policy={"actions": {"retry": {"breaker_failures": 2, "breaker_within": "PT1H"}}})
    for minutes in (61, 62):
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        result = Result(at=at, end=End.NOT_REPAIRED, cause_id="canceled-higher-priority")
        story.trail.record_result(story.subscription, "retry", f"inc-{minutes}-1", result)
    story.put()
    assert story.ending()[0] == "repaired"
    assert "question" not in story.stages()

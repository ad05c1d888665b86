"""A story that breaks a promise is made as short as it can be."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from local.chaos import shrinking
from local.chaos.campaign import CampaignError, Lanes, Result
from local.chaos.drawing import draw
from local.chaos.played import Violation
from local.chaos.shrinking import described, shorter, shrink, size
from local.chaos.story import Story, as_json

WHOLE = draw(3, 1)


def result(story: Story, *broken: str) -> Result:
    return Result(
        story=story,
        folder=Path("nowhere"),
        violations=tuple(Violation(invariant=name, words="it was broken") for name in broken),
        figures={},
        laid={},
        met={},
        kills={},
        crashes=0,
        seconds=0.0,
    )


class Judge:
    """Lanes that play nothing: a rule says what a story breaks."""

    def __init__(self, breaks: Callable[[Story, int], tuple[str, ...]]) -> None:
        self.breaks = breaks
        self.played = 0

    def play(self, story: Story, _name: str) -> "Future[Result]":
        self.played += 1
        done: Future[Result] = Future()
        done.set_result(result(story, *self.breaks(story, self.played)))
        return done


def shrunk(breaks: Callable[[Story, int], tuple[str, ...]], within_s: float = 60) -> Story:
    lanes: Any = Judge(breaks)
    best, played = shrink(result(WHOLE, "one-send"), cast("Lanes", lanes), within_s=within_s)
    assert played == lanes.played
    return best.story


def test_what_is_left_is_the_one_thing_that_breaks_it():
    culprit = WHOLE.kills[3]
    story = shrunk(lambda story, _: ("one-send",) if culprit in story.kills else ())
    assert story.kills == (culprit,)
    assert (len(story.acts), story.store, story.losses, story.sweeps_s) == (1, (), (), ())
    assert (story.acts[0].troubles, story.acts[0].strays) == ((), ())


def test_two_things_that_break_it_together_both_stay():
    kill, fault = WHOLE.kills[0], WHOLE.store[-1]
    story = shrunk(lambda story, _: ("one-send",) if kill in story.kills and fault in story.store else ())
    assert (story.kills, story.store) == ((kill,), (fault,))


def test_another_promise_that_breaks_does_not_count():
    assert shrunk(lambda *_: ("budget",)) == WHOLE


def test_one_of_several_tries_suffices():
    story = shrunk(lambda _, number: ("one-send",) if number % shrinking.TRIES else ())
    assert size(story) < size(WHOLE) / 4


def test_the_acts_that_a_violation_names_are_tried_alone_first():
    act = WHOLE.acts[4]
    said = Violation(invariant="one-send", words="it was sent twice", records=(f"ledger {act.subscription} 3",))
    assert [story.acts for story in shrinking.named(replace(result(WHOLE), violations=(said,)))] == [(act,)]
    assert list(shrinking.named(result(WHOLE, "one-send"))) == []


def test_without_time_the_story_stays_as_it_is():
    assert shrunk(lambda *_: ("one-send",), within_s=-1) == WHOLE


def test_every_shorter_story_is_shorter():
    stories = list(shorter(WHOLE))
    assert stories
    assert all(story != WHOLE and size(story) <= size(WHOLE) for story in stories)
    assert len({as_json(story) for story in stories}) == len(stories)


def test_a_story_is_told_in_words():
    lines = described(WHOLE)
    assert any(WHOLE.acts[0].name in line for line in lines)
    assert f"the worker is killed at {WHOLE.kills[0].point}, time {WHOLE.kills[0].nth}" in lines
    assert len(lines) > size(WHOLE) / 3


def test_the_first_history_and_the_shortest_are_kept_and_no_other(tmp_path):
    class Keeps(Judge):
        def play(self, story: Story, name: str) -> "Future[Result]":
            (tmp_path / name).mkdir()
            done: Future[Result] = Future()
            done.set_result(replace(super().play(story, name).result(), folder=tmp_path / name))
            return done

    first = tmp_path / "round-1"
    first.mkdir()
    lanes: Any = Keeps(lambda story, _: ("one-send",) if WHOLE.kills[3] in story.kills else ("budget",))
    broken = replace(result(WHOLE, "one-send"), folder=first)
    best, _ = shrink(broken, cast("Lanes", lanes), within_s=60)
    assert sorted(tmp_path.iterdir()) == [first, best.folder]


@pytest.mark.parametrize(
    ("error", "lost"), [(CampaignError("it could not be played"), 0), (BrokenProcessPool("it ended"), 1)]
)
def test_a_part_that_cannot_be_played_shows_nothing(error, lost):
    class Fails(Judge):
        lost_hosts = 0

        def renew(self) -> None:
            self.lost_hosts += 1

        def play(self, story: Story, name: str) -> "Future[Result]":
            if self.played == 0:
                self.played += shrinking.TRIES
                failed: Future[Result] = Future()
                failed.set_exception(error)
                return failed
            return super().play(story, name)

    lanes: Any = Fails(lambda *_: ("one-send",))
    best, _ = shrink(result(WHOLE, "one-send"), cast("Lanes", lanes), within_s=60)
    assert size(best.story) < size(WHOLE) / 4
    assert lanes.lost_hosts == lost

"""Make a story that breaks a promise as short as it can be, by playing what is left of it again and again.

Thread timing is real, so that a story which breaks something need not do so each time: a shorter one is played a few
times before it counts as harmless, and what is found in the end is the shortest that was seen to break it.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from msgspec.structs import asdict, replace

from local.chaos.campaign import CampaignError, Lanes, Result
from local.chaos.story import Act, Story

TRIES = 2
_LISTS = ("store", "kills", "losses", "sweeps_s")


def shrink(
    result: Result, lanes: Lanes, *, within_s: float, tell: Callable[[Story], None] = lambda _: None
) -> tuple[Result, int]:
    """Give the result of the shortest story found that breaks one of the same promises, and how many were played.

    Of the folders of the shorter ones, that of the shortest stays.
    """
    broken = {violation.invariant for violation in result.violations}
    deadline, played, best = time.monotonic() + within_s, 0, result
    goes_on = True
    while goes_on:
        goes_on = False
        for story in (*named(best), *shorter(best.story)):
            if time.monotonic() > deadline:
                return best, played
            found, count = _breaks(story, broken, lanes, played)
            played += count
            if found is not None:
                if best is not result:  # that stays, whatever else is found
                    shutil.rmtree(best.folder, ignore_errors=True)
                best, goes_on = found, True
                tell(best.story)
                break
    return best, played


def named(result: Result) -> Iterator[Story]:
    """Give the story with those acts alone whose subscriptions the violations name."""
    said = " ".join(" ".join((violation.words, *violation.records)) for violation in result.violations)
    acts = tuple(act for act in result.story.acts if act.subscription in said)
    if 0 < len(acts) < len(result.story.acts):
        yield replace(result.story, acts=acts)


def shorter(story: Story) -> Iterator[Story]:
    """Give stories that leave something out of a story: much at first, then one thing after the other."""
    acts = story.acts
    if len(acts) > 1:
        half = len(acts) // 2
        yield replace(story, acts=acts[:half])
        yield replace(story, acts=acts[half:])
    for name in _LISTS:
        if getattr(story, name):
            yield replace(story, **{name: ()})
    if any(act.troubles or act.strays for act in acts):
        yield replace(story, acts=tuple(replace(act, troubles=(), strays=()) for act in acts))
    for name, plain in (("twice", 0.0), ("channel_fails", 0)):
        if getattr(story, name) != plain:
            yield replace(story, **{name: plain})
    if len(acts) > 1:
        yield from (replace(story, acts=_without(acts, place)) for place in range(len(acts)))
    for name in _LISTS:
        items = getattr(story, name)
        if len(items) > 1:
            yield from (replace(story, **{name: _without(items, place)}) for place in range(len(items)))
    for place, act in enumerate(acts):
        for less in _shorter_acts(act):
            yield replace(story, acts=(*acts[:place], less, *acts[place + 1 :]))


def size(story: Story) -> int:
    """Give how much there is in a story."""
    parts = sum(len(getattr(story, name)) for name in _LISTS)
    return parts + sum(1 + act.failures + len(act.troubles) + len(act.strays) for act in story.acts)


def _shorter_acts(act: Act) -> Iterator[Act]:
    for name in ("troubles", "strays"):
        items = getattr(act, name)
        yield from (replace(act, **{name: _without(items, place)}) for place in range(len(items)))
    happens: Sequence[Any] = act.world.get("happens", ())
    if len(happens) > 1:
        half = len(happens) // 2
        for kept in (happens[:half], happens[half:]):
            yield replace(act, world={**act.world, "happens": list(kept)}, failures=len(kept))


def _without[T](items: Sequence[T], place: int) -> tuple[T, ...]:
    return (*items[:place], *items[place + 1 :])


def _breaks(story: Story, broken: set[str], lanes: Lanes, played: int) -> tuple[Result | None, int]:
    """Play a story a few times at once; give the first result that breaks one of some promises, and keep that alone."""
    under_way: set[Future[Result]] = set()
    found: Result | None = None
    try:
        for number in range(TRIES):
            under_way.add(lanes.play(story, f"round-{story.number}-shorter-{played + number}"))
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for each in done:
                result = each.result()
                if found is None and broken & {violation.invariant for violation in result.violations}:
                    found = result
                else:
                    shutil.rmtree(result.folder, ignore_errors=True)
    except BrokenProcessPool:
        lanes.renew()
    except (CampaignError, OSError):
        pass  # what cannot be played is no history that shows it
    return found, TRIES


def described(story: Story) -> list[str]:
    """Tell a story in words, a line each."""
    lines = [
        f"mode {story.mode}; policy differs from the shipped one in {', '.join(sorted(story.policy)) or 'nothing'}"
    ]
    for act in story.acts:
        lines.append(f"in subscription {act.subscription}: {act.name} ({act.failures} failing)")
        lines += [f"  {trouble.kind}: {_plain(asdict(trouble))}" for trouble in act.troubles]
        lines += [f"  after {stray.at_s:g} s an event: {stray.kind}" for stray in act.strays]
    for fault in story.store:
        times = f"{fault.times} times" + (f" after {fault.after}" if fault.after else "")
        lines.append(f"the store: {fault.operation} {fault.record} is {fault.kind}, {times}")
    for kill in story.kills:
        whom = "a trigger" if kill.at == "trigger" else "the worker"
        lines.append(f"{whom} is killed at {kill.point}, time {kill.nth}")
    lines += [f"the task hub is lost at {loss.what}, time {loss.nth}" for loss in story.losses]
    if story.twice:
        lines.append(f"{story.twice:.0%} of the activities are handed out twice")
    if story.channel_fails != 0:
        lines.append(
            "the channel is down" if story.channel_fails is None else f"the channel fails {story.channel_fails} times"
        )
    lines += [f"a sweep after {at:g} s" for at in story.sweeps_s]
    return lines


def _plain(trouble: dict[str, Any]) -> str:
    kept = {name: value for name, value in trouble.items() if value and name != "kind"}
    return ", ".join(f"{name} {value}" for name, value in kept.items())

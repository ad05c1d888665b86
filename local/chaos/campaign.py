"""A campaign: round after round, in processes of their own, until so many incidents have been through it."""

import faulthandler
import multiprocessing
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from local.chaos import checking, playing
from local.chaos.drawing import draw, kill_points
from local.chaos.played import Violation
from local.chaos.story import Story
from remediations.errors import MedicError

HOST_LOG = "host.log"
MOST_RENEWED = 3


class CampaignError(MedicError):
    """A campaign that cannot be played; the text says why and what to do."""


class Result(Struct, frozen=True, kw_only=True):
    """What one round came to.

    Attributes:
        folder: Its store, histories and logs; gone where nothing was broken.
        laid, met: How many faults of each kind there were, and how often each kind was met.
        kills: How often the worker was killed at each point.
        crashes: How often the worker ended though nobody had killed it.
        figures: Of the checker.
    """

    story: Story
    folder: Path
    violations: tuple[Violation, ...]
    figures: dict[str, int | float]
    laid: dict[str, int]
    met: dict[str, int]
    kills: dict[str, int]
    crashes: int
    seconds: float


class Lanes:
    """Processes that play rounds, each one after the other."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
        self.count = count
        self.renewed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def renew(self) -> None:
        """Begin anew with other processes: one of them ended, and with it all that they played."""
        self._pool.shutdown(cancel_futures=True)
        self._pool = ProcessPoolExecutor(self.count, mp_context=multiprocessing.get_context("spawn"))
        self.renewed += 1

    def play(self, story: Story, name: str) -> "Future[Result]":
        """Begin to play a story, in a folder of that name."""
        return self._pool.submit(_played, story, self._folder / name)


def run(seed: int, incidents: int, lanes: Lanes) -> Iterator[Result]:
    """Give what each round came to, in the order in which they end.

    Raises:
        CampaignError: a round could not be played to its end.
    """
    under_way: dict[Future[Result], Story] = {}
    number = done = 0
    try:
        while done < incidents or under_way:
            while (
                len(under_way) < lanes.count and done + sum(story.failures for story in under_way.values()) < incidents
            ):
                story = draw(seed, number)
                under_way[lanes.play(story, f"{seed}-{number}")] = story
                number += 1
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                if isinstance(future.exception(), BrokenProcessPool) and lanes.renewed < MOST_RENEWED:
                    lanes.renew()  # an interpreter that crashed, or a process that somebody ended: play them again
                    lost = under_way.values()
                    under_way = {lanes.play(each, f"{seed}-{each.number}"): each for each in lost}
                    break
                del under_way[future]
                result = future.result()
                done += int(result.figures["incidents"])
                yield result
    except (BrokenProcessPool, OSError, TimeoutError) as error:
        msg = f"A round could not be played: {error}. Free memory and files, and play the seed again."
        raise CampaignError(msg) from error


def _played(story: Story, folder: Path) -> Result:
    """Play and check one round, in a process of a lane."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f"{folder.name}.log")
    with aside.open("wb") as log:
        sys.stderr.flush()
        os.dup2(log.fileno(), 2)
        faulthandler.enable()
        played = playing.play(story, folder)
        sys.stderr.flush()
    aside.rename(folder / HOST_LOG)
    texts = {**played.round.texts, HOST_LOG: (folder / HOST_LOG).read_bytes()}
    checked = checking.check(replace(played.round, texts=texts))
    if not checked.violations:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(
        story=story,
        folder=folder,
        violations=checked.violations,
        figures=checked.figures,
        laid=played.laid,
        met=played.met,
        kills=played.kills,
        crashes=played.crashes,
        seconds=played.seconds,
    )


class Totals(Struct, frozen=True, kw_only=True):
    """What a campaign came to."""

    seed: int | None
    rounds: int
    incidents: int
    events: int
    effects: int
    kills: int
    crashes: int
    faults: dict[str, int]
    laid: dict[str, int]
    kill_points: dict[str, int]
    ends: dict[str, int]
    violations: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def bound(self) -> float | None:
        """The largest share of incidents with a violation that seeing none permits, at 95 %: the rule of three."""
        return None if self.violations or not self.incidents else min(1.0, 3 / self.incidents)


def totals(results: Sequence[Result], *, seed: int | None, began: float) -> Totals:
    """Sum up what rounds came to."""

    def summed(counts: Iterator[dict[str, int]]) -> dict[str, int]:
        total: Counter[str] = Counter()
        for each in counts:
            total.update(each)
        return dict(sorted(total.items()))

    figures = Counter[str]()
    for result in results:
        figures.update({name: int(value) for name, value in result.figures.items()})
    points = {kill.point: 0 for kill in kill_points()}
    kills = points | summed(result.kills for result in results)
    return Totals(
        seed=seed,
        rounds=len(results),
        incidents=figures["incidents"],
        events=figures["deliveries"],
        effects=figures["effects"],
        kills=sum(kills.values()),
        crashes=sum(result.crashes for result in results),
        faults=summed(result.met for result in results),
        laid=summed(result.laid for result in results),
        kill_points=kills,
        ends={name.removeprefix("end: "): figures[name] for name in sorted(figures) if name.startswith("end: ")},
        violations=tuple(
            {
                "round": result.story.number,
                "invariant": violation.invariant,
                "words": violation.words,
                "incident": violation.incident,
                "records": list(violation.records),
                "folder": str(result.folder),
            }
            for result in results
            for violation in result.violations
        ),
        seconds=round(time.monotonic() - began, 1),
    )

"""A campaign: round after round, in processes of their own, until so many incidents have been through it."""

import faulthandler
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from local.chaos import checking, keeping, playing
from local.chaos.drawing import draw, kill_points
from local.chaos.played import Violation
from local.chaos.story import Story
from remediations.errors import MedicError

HOST_LOG = "host.log"
MOST_LOST_HOSTS = 3


class CampaignError(MedicError):
    """A campaign that cannot be played; the text says why and what to do."""


class Result(Struct, frozen=True, kw_only=True):
    """What one round came to.

    Attributes:
        folder: Its store, histories, logs and what its violations cite; gone where nothing was broken.
        laid, met: How many faults of each kind there were, and how often each kind was met.
        kills: How often the worker, or a trigger, was killed at each point.
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
    """Processes that play rounds, each one after the other.

    Ctrl-C does not reach them, and they end with this process. If it leaves them by an exception, they are killed.

    Args:
        folder: Where each round gets a folder of its own.

    Attributes:
        lost_hosts: How often a process ended by itself, and with it all that they played.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.lost_hosts = 0
        self._playing: list[tuple[Future[Result], Path]] = []
        self._pool = self._begun()

    def _begun(self) -> ProcessPoolExecutor:
        spawning = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.count, mp_context=spawning, initializer=_end_with_parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        unfinished = [folder for future, folder in self._playing if not future.done()]
        if kind is not None:  # a round takes minutes
            for process in list((self._pool._processes or {}).values()):  # noqa: SLF001 - Python 3.14 has kill_workers
                process.kill()
        self._pool.shutdown(cancel_futures=True)
        for folder in unfinished:
            _remove(folder)

    def renew(self) -> None:
        """Begin anew with other processes: one of them ended, and with it all that they played."""
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._begun()
        self.lost_hosts += 1

    def play(self, story: Story, name: str) -> "Future[Result]":
        """Begin to play a story, in a folder of that name."""
        folder = self.folder / name
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a process that begins now inherits it
        try:
            future = self._pool.submit(_played, story, folder)
            self._playing.append((future, folder))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return future


def _end_with_parent() -> None:
    """End this process with the one that started it, however that ends."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None  # noqa: S101 - a lane has one
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _remove(folder: Path) -> None:
    """Remove what a killed round left; its worker, which ends just after it, may still write there."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.2)
        if not folder.exists():
            return


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (BrokenProcessPool, OSError, TimeoutError) as error:
        msg = f"A round could not be played: {error}. Free memory and files, and play the seed again."
        raise CampaignError(msg) from error


def run(seed: int, incidents: int, lanes: Lanes) -> Iterator[Result]:
    """Give what each round came to, in the order in which they end.

    Raises:
        CampaignError: a round could not be played to its end.
    """
    under_way: dict[Future[Result], Story] = {}
    number = done = 0
    with _told():
        while done < incidents or under_way:
            while (
                len(under_way) < lanes.count and done + sum(story.failures for story in under_way.values()) < incidents
            ):
                story = draw(seed, number)
                under_way[lanes.play(story, f"round-{number}")] = story
                number += 1
            over = wait(under_way, return_when=FIRST_COMPLETED).done
            lost = {future for future in over if isinstance(future.exception(), BrokenProcessPool)}
            for future in over - lost or lost:
                if future in lost and lanes.lost_hosts < MOST_LOST_HOSTS:
                    lanes.renew()  # an interpreter that crashed, or a process that somebody ended: play them again
                    again = f"again-{lanes.lost_hosts}"
                    under_way = {lanes.play(each, f"round-{each.number}-{again}"): each for each in under_way.values()}
                    break
                del under_way[future]
                result = future.result()
                done += int(result.figures["incidents"])
                yield result


def again(story: Story, lanes: Lanes) -> Result:
    """Play one story, and give what it came to; raises CampaignError if it could not be played to its end."""
    with _told():
        return lanes.play(story, f"round-{story.number}").result()


def _played(story: Story, folder: Path) -> Result:
    """Play and check one round, in a process of a lane."""
    folder.mkdir(parents=True)
    with (folder / HOST_LOG).open("wb") as log:
        sys.stderr.flush()
        os.dup2(log.fileno(), 2)
    faulthandler.enable()
    try:
        return _checked(story, folder)
    except Exception as error:  # of any kind, and some of them cannot be sent to another process
        traceback.print_exc()
        msg = (
            f"Round {story.number} of seed {story.seed} could not be played: {type(error).__name__}: {error}. "
            f"{folder / HOST_LOG} says where. Free memory and files if they ran out, and play it again."
        )
        raise CampaignError(msg) from error
    finally:
        sys.stderr.flush()


def _checked(story: Story, folder: Path) -> Result:
    played = playing.play(story, folder)
    sys.stderr.flush()
    over = replace(played.round, texts={**played.round.texts, HOST_LOG: (folder / HOST_LOG).read_bytes()})
    checked = checking.check(over)
    if checked.violations:
        keeping.keep(story, over, checked.violations)
    else:
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
    """What a campaign came to.

    Attributes:
        seed: None: one saved round was played, not what a seed draws.
        lost_hosts: How often a process that played rounds ended by itself. What it played was played again, and what
            went wrong in it stands in its log alone.
    """

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
    lost_hosts: int = 0

    @property
    def bound(self) -> float | None:
        """The largest share of incidents with a violation that seeing none permits, at 95 %: the rule of three.

        None where there is nothing to infer: of one round that was played again, its incidents are no sample.
        """
        if self.seed is None or self.violations or not self.incidents:
            return None
        return min(1.0, 3 / self.incidents)


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

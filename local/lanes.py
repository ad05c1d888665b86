"""Play many scenarios at once: each lane is a process with a stage of its own, and takes the next one as it gets free.

A scenario spends most of its time waiting, so two lanes take little more than half of the time of one.
"""

import multiprocessing
import queue
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from local.rehearsal import Report, Scenario, ScenarioError, Stage

_PATIENCE_S = 1.0
LOG = "demo.log"


class LaneError(ScenarioError):
    """A lane ended before its scenarios were played."""


def play(scenarios: Sequence[Scenario], store: Path, lanes: int) -> Iterator[tuple[int, Report, Path]]:
    """Give the number of each scenario, how it went, and the folder of its stage, in the order in which they end.

    Args:
        store: Where each stage has a folder, named by mode and lane.

    Raises:
        LaneError: a lane ended early; its log says why.
    """
    context = multiprocessing.get_context("spawn")
    work = {mode: context.Queue() for mode in dict.fromkeys(scenario.mode for scenario in scenarios)}
    for number, scenario in enumerate(scenarios):
        work[scenario.mode].put((number, scenario))
    done: Any = context.Queue()
    count = min(lanes, len(scenarios))
    for each in work.values():
        for _ in range(count):
            each.put(None)
    processes = [context.Process(target=_lane, args=(number + 1, work, done, store)) for number in range(count)]
    for process in processes:
        process.start()
    try:
        for _ in scenarios:
            yield _next(done, processes, store)
    finally:
        for process in processes:
            process.join()


def _next(done: Any, processes: Sequence[SpawnProcess], store: Path) -> tuple[int, Report, Path]:
    while True:
        try:
            ended: tuple[int, Report, Path] = done.get(timeout=_PATIENCE_S)
        except queue.Empty:
            if all(process.exitcode is not None for process in processes):
                raise LaneError(f"the scenarios were not all played. {store / LOG} says why.") from None
            continue
        return ended


def _lane(lane: int, work: dict[str, Any], done: Any, store: Path) -> None:
    """Play what is left of each mode, on one stage for each; every lane begins with another mode."""
    modes = list(work)
    with (store / LOG).open("a", encoding="utf-8") as log, redirect_stderr(log):
        for mode in modes[lane - 1 :] + modes[: lane - 1]:
            taken = work[mode].get()
            if taken is None:
                continue
            folder = store / f"{mode}-{lane}"
            with Stage(mode, folder, worker_output=log.fileno()) as stage:
                while taken is not None:
                    number, scenario = taken
                    done.put((number, stage.play(scenario), folder))
                    taken = work[mode].get()

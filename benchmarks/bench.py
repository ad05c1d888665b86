"""What a row is given: turns, processes, environments, and somebody to tell how far it is."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Self

from benchmarks import environments
from benchmarks.environments import ROOT, Unavailable
from benchmarks.row import Sample
from benchmarks.subjects import ours

type Subject = Callable[[], Sample]


class SubjectFailed(Exception):
    """A subject did not do what it is measured at."""


class Bench:
    """Measures subjects in turns.

    Attributes:
        folder: For whatever a row leaves; on a disk, not in memory.
        versions: By subject, what was installed of it; a row's own alone.
        left_out: Why a subject could not be measured; a row's own alone.
    """

    def __init__(self, folder: Path, rounds: int, say: Callable[[str], None]) -> None:
        self.folder, self.rounds, self.say = folder, rounds, say
        self.versions: dict[str, str] = {}
        self._resources = ExitStack()
        self.left_out: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def python(self, name: str) -> Path | None:
        """Give the interpreter of an environment; None if it cannot be made here, and the row says why."""
        try:
            return self.needed(name)
        except Unavailable as error:
            self.left_out.append(str(error))
            return None

    def needed(self, name: str) -> Path:
        """Give the interpreter of an environment without which a row tells nothing; raises Unavailable."""
        python = environments.python_of(name, self.say)
        self.versions[name] = environments.version_of(name)
        return python

    @property
    def own_python(self) -> Path:
        """The interpreter with all that the local host needs: this one."""
        return Path(sys.executable)

    @cached_property
    def memory(self) -> Path:
        """A folder in memory if there is one, where a sync costs nothing."""
        place = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else self.folder  # noqa: S108 - what Linux calls it
        made = tempfile.TemporaryDirectory(dir=place, prefix="medic-bench-")
        self._resources.enter_context(made)
        return Path(made.name)

    @cached_property
    def recorded(self) -> Path:
        """What the simulator answers about the failure that all subjects are given."""
        place = self.folder / "recorded.json"
        self.say("recording what Azure answers")
        self.run([sys.executable, "-m", "benchmarks.recording", str(place)])
        return place

    def in_turns(self, subjects: Mapping[str, Subject]) -> dict[str, list[Sample]]:
        """Give the samples of each subject: one a round, in turns, every second round backwards.

        A round before the first is thrown away: it fills caches.
        """
        samples: dict[str, list[Sample]] = {name: [] for name in subjects}
        for number in range(self.rounds + 1):
            for name in list(subjects) if number % 2 == 0 else reversed(list(subjects)):
                self.say(f"round {number} of {self.rounds}: {name}" if number else f"warming up: {name}")
                sample = subjects[name]()
                if number:
                    samples[name].append(sample)
        return samples

    def process(
        self,
        python: Path,
        module: str,
        *arguments: str,
        options: Sequence[str] = (),
        root: Path = ROOT,
        store: Path | None = None,
        place: Path | None = None,
    ) -> Sample:
        """Run a subject in a process of its own, and give what it measured.

        Args:
            root: Where it finds the project.
            store: Where ours keeps its trail: in a new folder there, which is gone afterwards.
            place: A folder for the trail that is kept, in place of such a one.
        """
        folder = place or (store or self.folder) / f"store-{time.monotonic_ns()}"
        command = [str(python), *options, "-m", f"benchmarks.subjects.{module}", *arguments]
        try:
            lines = self.run(command, root, **ours.environment(folder)).splitlines()
        finally:
            if place is None:
                shutil.rmtree(folder)
        measured: Sample = json.loads(lines[-1])
        return measured

    def run(self, command: Sequence[str], root: Path = ROOT, **environment: str) -> str:
        """Run a command from the root of the project, and give what it prints; raises SubjectFailed."""
        # Neither settings of ours nor of the interpreter: one of these keeps bytecode from being written.
        known = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIC_", "PYTHON"))}
        known |= {"PYTHONPATH": str(root), **environment, "BENCH_STARTED": repr(time.monotonic())}
        done = subprocess.run(command, cwd=root, env=known, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SubjectFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

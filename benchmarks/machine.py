"""On what a row was measured."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True):
    """This machine, and how busy others kept it before anything was measured.

    Attributes:
        load: Processes that wanted to run, mean of the last minute.
    """

    at: datetime
    cores: int
    memory_gib: float
    processor: str
    system: str
    python: str
    load: float

    @property
    def words(self) -> str:
        busy = "" if self.load <= self.cores / 2 else " (others were at work: take these figures as provisional)"
        return (
            f"{self.at:%Y-%m-%d %H:%M} UTC, {self.cores} cores of {self.processor}, {self.memory_gib:.0f} GiB, "
            f"{self.system}, Python {self.python}, load {self.load:.1f} at the beginning{busy}"
        )


def look() -> Machine:
    """Give this machine as it is now."""
    return Machine(
        at=datetime.now(UTC).replace(microsecond=0),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()

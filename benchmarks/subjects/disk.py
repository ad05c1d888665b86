"""What the disk can do: ``python -m benchmarks.subjects.disk FOLDER COUNT``."""

import os
import sys
import time
from pathlib import Path

from benchmarks.subjects import workload

CONTENT = b"x" * 700  # a record's size


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for number in range(count // 2):
        place = folder / f"{os.getpid()}-{number}"
        with place.open("xb") as file:
            file.write(CONTENT)
            file.flush()
            taken.append(_synced(file.fileno()))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        taken.append(_synced(descriptor))
        os.close(descriptor)
    workload.tell(**workload.percentiles(taken))


def _synced(descriptor: int) -> float:
    began = time.perf_counter()
    os.fsync(descriptor)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

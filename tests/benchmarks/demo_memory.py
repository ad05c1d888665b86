"""Wall clock and peak memory of ``medic demo``, summed over all of its processes (proportional set size)."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def memory_of(process: psutil.Process) -> int:
    """Give the bytes of a process and its children; pages that they share count once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    began = time.monotonic()
    demo = subprocess.Popen([sys.executable, "-m", "local.cli", "demo"], cwd=ROOT)
    watched, peak = psutil.Process(demo.pid), 0
    while demo.poll() is None:
        peak = max(peak, memory_of(watched))
        time.sleep(0.1)
    print(f"demo: {time.monotonic() - began:.1f} s, peak {peak / 2**20:.0f} MB in all, exit code {demo.returncode}")


if __name__ == "__main__":
    main()

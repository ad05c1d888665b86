"""The price of a cold start: importing and indexing the app, against importing its three libraries, in the same run.

Run it where only requirements.txt is installed, or pass ``--fresh`` and it makes such an environment first.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOOR = "import azure.functions, azure.durable_functions, structlog"
OURS = "import function_app; function_app.app.get_functions()"


def seconds(python: str, code: str) -> float:
    """Give the wall-clock seconds of one fresh process."""
    began = time.perf_counter()
    subprocess.run([python, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--fresh", action="store_true", help="measure with only requirements.txt installed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = sys.executable
        if options.fresh:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = f"{folder}/bin/python"
            install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", "requirements.txt"]
            subprocess.run(install, cwd=ROOT, check=True)
        pairs = [(seconds(python, FLOOR), seconds(python, OURS)) for _ in range(options.runs + 1)][1:]
    floor, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"floor {floor * 1000:.0f} ms, app {ours * 1000:.0f} ms, ratio {ours / floor:.3f} (medians of {options.runs})"
    )


if __name__ == "__main__":
    main()

"""The price of a cold start: importing and indexing the app, against importing its three libraries, in the same run.

Run it where only requirements.txt is installed, or pass ``--fresh`` and it makes such an environment first. With
``--package`` the app of a package is measured too, up to all that the first event needs, from its bytecode and from its
sources alone, in a folder to which nothing is written, as in Azure.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
FLOOR = "import azure.functions, azure.durable_functions, structlog"
OURS = "import function_app; function_app.app.get_functions()"
EVENT = f"""{OURS}
from functions import activities, events
from remediations import services
from remediations.adapters import arm, blobs, registry, roles
"""


def seconds(python: str, code: str, folder: Path = ROOT, **environment: str) -> float:
    """Give the wall-clock seconds of one fresh process."""
    began = time.perf_counter()
    subprocess.run([python, "-c", code], cwd=folder, env={**os.environ, **environment}, check=True)
    return time.perf_counter() - began


def unpacked(package: Path, folder: Path, *, with_bytecode: bool) -> Path:
    """Give the folder that a package is unpacked to."""
    with ZipFile(package) as opened:
        opened.extractall(folder)
    if not with_bytecode:
        for compiled in list(folder.rglob("__pycache__")):
            shutil.rmtree(compiled)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--fresh", action="store_true", help="measure with only requirements.txt installed")
    parser.add_argument("--package", type=Path, help="measure this package, too (`make package`)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = sys.executable
        if options.fresh:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = f"{folder}/bin/python"
            install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", "requirements.txt"]
            subprocess.run(install, cwd=ROOT, check=True)
        pairs = [(seconds(python, FLOOR), seconds(python, OURS)) for _ in range(options.runs + 1)][1:]
        if options.package:
            apps = [unpacked(options.package, Path(folder, name), with_bytecode=name == "b") for name in "ab"]
            read_only = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
            for name, code in (("index", OURS), ("first event", EVENT)):
                both = [[seconds(python, code, app, **read_only) for app in apps] for _ in range(options.runs + 1)][1:]
                sources, bytecode = (statistics.median(column) * 1000 for column in zip(*both, strict=True))
                print(f"package, {name}: from its sources {sources:.0f} ms, from its bytecode {bytecode:.0f} ms")
    floor, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"floor {floor * 1000:.0f} ms, app {ours * 1000:.0f} ms, ratio {ours / floor:.3f} (medians of {options.runs})"
    )


if __name__ == "__main__":
    main()

"""pytest in a process of its own, forked from one that has imported what every run imports and has run nothing."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple

import pytest

PRELOAD = [
    "pytest",
    "hypothesis",
    "structlog.dev",
    "structlog.testing",
    "remediations.enrichment",
    "remediations.adapters.arm",
]
PATIENCE_S = 240


class Ran(NamedTuple):
    """How a run ended, and what it printed."""

    returncode: int
    stdout: str


def run(arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> Ran:
    """Run pytest in a folder, with nothing but this environment."""
    with tempfile.TemporaryDirectory() as kept:
        printed = Path(kept) / "printed"
        process = _context().Process(target=_become_pytest, args=(list(arguments), dict(env), folder, printed))
        process.start()
        process.join(PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"pytest {' '.join(arguments)} took more than {PATIENCE_S} s")
        return Ran(process.exitcode, printed.read_text("utf-8"))


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _become_pytest(arguments: list[str], env: dict[str, str], folder: Path, printed: Path) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    output = os.open(printed, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # What is imported already is not asserted with.
    code = int(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments]))
    sys.stdout.flush()
    sys.exit(code)

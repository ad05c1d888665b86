"""A cold start pays for nothing that it does not use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = "import function_app\nfunctions = function_app.app.get_functions()\n"
FLOOR = "import azure.functions, azure.durable_functions, structlog\n"  # what any such app imports
MODULES_OF_OURS = 30  # beyond those; 26 on the day of writing
SHARE_OF_THE_FLOOR = 1.25  # of processor time: `make bench` measures 1.07 and asks for 1.15; a busy machine needs room
ROUNDS = 7
LAZY = ("azure.core", "requests", "azure.ai.ml", "azure.mgmt", "azure.storage", "azure.identity", "jinja2", "yaml")


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh process with these variables alone."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    done = run(f"{INDEX}import json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_indexing_the_app_imports_few_modules_beyond_those_of_any_such_app(loaded):
    floor = set(json.loads(run(f"{FLOOR}import json, sys\nprint(json.dumps(sorted(sys.modules)))").stdout))
    assert len(loaded - floor) <= MODULES_OF_OURS


def test_indexing_the_app_costs_little_beyond_what_any_such_app_imports():
    scripts = {"ours": INDEX, "the floor": FLOOR}
    seconds: dict[str, list[float]] = {name: [] for name in scripts}
    for _ in range(1 + ROUNDS):  # the first may write bytecode
        for name, script in scripts.items():
            seconds[name].append(float(run(f"{script}import time\nprint(time.process_time())").stdout.splitlines()[-1]))
    least = {name: min(taken[1:]) for name, taken in seconds.items()}
    assert least["ours"] <= SHARE_OF_THE_FLOOR * least["the floor"]


@pytest.mark.parametrize("name", LAZY)
def test_indexing_the_app_imports_no_heavy_library(loaded, name):
    assert [module for module in loaded if module == name or module.startswith(f"{name}.")] == []


def test_indexing_the_app_imports_neither_the_bench_nor_an_adapter(loaded):
    ours = ("local", "remediations.adapters", "remediations.services")
    assert [
        module for module in loaded if module in ours or module.startswith(tuple(f"{name}." for name in ours))
    ] == []


def test_the_app_is_indexed_whole(loaded):
    assert {"function_app", "functions.triggers", "functions.orchestrators"} <= loaded


def test_a_wrong_setting_is_refused_at_start_with_the_fix():
    done = run(INDEX, MEDIC_MODE="automatic")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "remediations.errors.SettingsError: "
        "MEDIC_MODE is 'automatic': no such mode. Use one of off, dry-run, ask, auto."
    )

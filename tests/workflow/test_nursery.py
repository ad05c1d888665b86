"""Forked workers are workers: processes that can be killed, with the environment and the output that they are given."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.backend import Backend
from local.nursery import Nursery
from tests.workflow.theatre import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="where else it forks, libraries do not stand it")
APP = "tests.workflow.sample_app"


@pytest.fixture
def nursery():
    with Nursery(APP) as opened:
        yield opened


@pytest.fixture
def backend():
    opened = Backend()
    opened.start()
    yield opened
    opened.stop()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start(nursery: Nursery, backend: Backend, output: Path, **env: str):
    with output.open("wb") as file:
        return nursery.start(["--app", APP, "--backend", backend.address], {**os.environ, **env}, file.fileno())


def test_a_worker_connects_has_its_environment_and_output_and_tells_how_it_ended(nursery, backend, tmp_path):
    child = start(nursery, backend, tmp_path / "one", PLANTED="here")
    eventually(lambda: backend.streams == 1, "it did not connect")
    assert child.pid != os.getpid()
    assert child.returncode is None
    child.kill()
    assert child.wait() == child.returncode == -signal.SIGKILL
    child.kill()  # it is gone, and whoever has its number now is left alone

    second = start(nursery, backend, tmp_path / "two")
    eventually(lambda: backend.streams == 1, "the next did not connect")
    second.terminate()
    assert second.wait() == 0


def test_a_worker_that_cannot_begin_ends_with_a_code_and_says_why(nursery, tmp_path):
    with (tmp_path / "said").open("wb") as file:
        child = nursery.start(["--app", "no_such_app", "--backend", "127.0.0.1:9"], os.environ, file.fileno())
    assert child.wait() == 1
    assert "no_such_app" in (tmp_path / "said").read_text()


def test_what_it_forked_ends_with_the_nursery(backend, tmp_path):
    with Nursery(APP) as nursery:
        child = start(nursery, backend, tmp_path / "said")
        eventually(lambda: backend.streams == 1, "it did not connect")
    assert child.wait() == -signal.SIGKILL
    eventually(lambda: not is_there(child.pid), "it is still there")


def test_what_it_forked_ends_with_the_process_that_made_the_nursery(tmp_path):
    program = f"""
import os, sys, time
from local.backend import Backend
from local.nursery import Nursery
backend = Backend(); backend.start()
child = Nursery({APP!r}).start(["--app", {APP!r}, "--backend", backend.address], os.environ, 2)
print(child.pid, flush=True)
time.sleep(60)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    eventually(lambda: not is_there(pid), "it is still there")

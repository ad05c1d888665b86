"""``medic serve`` asks, and a person on this machine answers with what ``medic approvals`` prints."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MEDIC = [sys.executable, "-m", "local.cli"]
WORLD = """
workspaces:
  - name: mlw-demo
    endpoints:
      - {name: credit-scoring, deployments: [{name: blue}]}
hazards:
  - {kind: higher-priority, remaining: 1}
operation_seconds: 0.2
happens:
  - {after: 0.5, who: ci, do: put, deployment: green}
"""


def environment(**changes: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIC_", "AZURE_"))}
    return {**clean, "PYTHONPATH": str(ROOT), **changes}


@pytest.fixture
def serving(tmp_path):
    """`medic serve`, without any key in its environment; gives what it prints about questions."""
    (tmp_path / "world.yaml").write_text(WORLD)
    command = [*MEDIC, "serve", "--port", "0", "--world", "world.yaml"]
    settings = environment(MEDIC_MODE="ask", PYTHONUNBUFFERED="1")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=settings, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            yield next(line.split(maxsplit=1)[1].strip() for line in process.stdout if line.startswith("questions"))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_a_question_of_serve_is_answered_with_what_is_printed(serving, tmp_path):
    setting, program, *arguments = shlex.split(serving)
    name, _, store = setting.partition("=")
    assert (name, store, program) == ("MEDIC_STORE", ".medic/serve", "medic")
    keys = tmp_path / store / "approval-keys.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600

    def questions() -> list[dict[str, str]]:
        command = [*MEDIC, *arguments, "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=environment(MEDIC_STORE=store), stdout=-1, check=True)
        return json.loads(done.stdout)["questions"]

    deadline = time.monotonic() + 40
    while not (asked := questions()):
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
    (one,) = asked
    assert one["effect"] == "deploy mlw-demo/credit-scoring/green again with the body that GET shows"
    _, _, _, url, _, body = shlex.split(one["reject"])
    answer = httpx.post(url, content=body)
    assert (answer.status_code, answer.json()) == (200, {"words": "rejected on this machine"})
    assert questions() == []
    assert httpx.post(url, content=body).status_code == 404

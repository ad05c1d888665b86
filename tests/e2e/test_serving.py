"""``medic serve`` asks, and whoever uses this machine answers with what it prints."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import pytest

from local.serving import WHOEVER, approval_keys, kept
from remediations import settings
from remediations.errors import SettingsError
from remediations.proof import checkpoint

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
    """`medic serve`, with neither a key nor a sign-in in its environment; gives what it prints about each place."""
    (tmp_path / "world.yaml").write_text(WORLD)
    command = [*MEDIC, "serve", "--port", "0", "--world", "world.yaml"]
    own = environment(MEDIC_MODE="ask", PYTHONUNBUFFERED="1")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=own, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            lines = takewhile(str.strip, process.stdout)
            yield {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_a_question_of_serve_is_answered_with_what_is_printed(serving, tmp_path):
    program, group, *there = shlex.split(serving["questions"])
    assert (program, group, there[0]) == ("medic", "approvals", "--to")
    assert serving["pages"] == f"{there[1]}/api/overview"

    def medic(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*MEDIC, "approvals", *arguments, *there]
        return subprocess.run(
            command, cwd=tmp_path / "elsewhere", env=environment(), capture_output=True, text=True, check=False
        )

    def questions() -> list[dict[str, str]]:
        done = medic("--json")
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()[-3000:]
        return json.loads(done.stdout)["questions"]

    (tmp_path / "elsewhere").mkdir()  # no store, no keys: all of it comes from the app
    deadline = time.monotonic() + 40
    while not (asked := questions()):
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
    (one,) = asked
    assert one["effect"] == "deploy mlw-demo/credit-scoring/green again with the body that GET shows"
    shown = medic("show", one["incident"])
    assert (shown.returncode, shown.stderr) == (0, "")
    for words in (one["effect"], *one["calls"], "nothing has changed", "no guard would refuse it", "may approve"):
        assert words in " ".join(shown.stdout.split())
    (reject,) = [line for line in shown.stdout.splitlines() if line.startswith("reject ")]
    typed = shlex.split(reject)
    assert typed[:4] == ["reject", "medic", "approvals", "reject"]
    done = subprocess.run(
        [*MEDIC, *typed[2:-1], "not tonight"], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(f": rejected by {WHOEVER}: not tonight")
    assert questions() == []
    assert medic("reject", one["incident"], "--reason", "again").returncode == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_key_of_serve_is_kept_for_its_user_alone(tmp_path):
    file = tmp_path / "store" / "approval-keys.json"
    made = kept("MEDIC_APPROVAL_KEYS", file, approval_keys)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kept("MEDIC_APPROVAL_KEYS", file, approval_keys) == made  # links outlive a restart
    assert list(settings.load({"MEDIC_APPROVAL_KEYS": made}).approval_keys) == ["serve"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_key_of_checkpoints_is_kept_as_well(tmp_path):
    made = kept("MEDIC_ANCHOR_KEY", tmp_path / "anchor-key", checkpoint.new_key)
    assert kept("MEDIC_ANCHOR_KEY", tmp_path / "anchor-key", checkpoint.new_key) == made
    assert settings.load({"MEDIC_ANCHOR_KEY": made}).anchor_key == made


@pytest.mark.parametrize("spoiled", [b"{", b"{}", b"\xff", b'{"serve": "short"}'])
def test_a_kept_key_that_cannot_be_used_gives_way_to_a_fresh_one(spoiled, tmp_path):
    file = tmp_path / "approval-keys.json"
    file.write_bytes(spoiled)
    made = kept("MEDIC_APPROVAL_KEYS", file, approval_keys)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (made, 0o600)
    assert settings.load({"MEDIC_APPROVAL_KEYS": made}).approval_keys


def test_a_store_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(SettingsError, match=r"MEDIC_STORE is '.*/store': File exists. Name a folder that can be"):
        kept("MEDIC_APPROVAL_KEYS", tmp_path / "store" / "approval-keys.json", approval_keys)

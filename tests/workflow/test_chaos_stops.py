"""A campaign that is interrupted, or whose round fails, ends soon, and with it all its processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from local.chaos import campaign
from local.chaos.campaign import CampaignError, Lanes
from local.chaos.drawing import draw
from local.chaos.story import Story, as_json

STORY = draw(5, 0)
PROGRAM = """
import pathlib, sys
from local.chaos import playing, story

class Breaks(playing.Round):
    def _until_calm(self, *_, **__):
        raise ValueError("it broke")

folder = pathlib.Path(sys.argv[1])
told = story.from_json((folder / "story.json").read_bytes())
with Breaks(told, folder) as stage:
    stage.play()
"""


def test_ctrl_c_ends_a_campaign_and_all_its_processes(tmp_path: Path) -> None:
    # Whoever runs the tests in the background may have it ignored, and a child inherits that.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heeds}; from local.cli import app; app()"
    command = [sys.executable, "-c", program, "chaos", "--seed", "5", "--lanes", "1", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as playing:
        try:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob("seed-5/round-0/trail/intake/*")) and time.monotonic() < deadline:
                time.sleep(0.1)
            processes = psutil.Process(playing.pid).children(recursive=True)
            os.killpg(playing.pid, signal.SIGINT)
            said, _ = playing.communicate(timeout=120)  # it removes what was played, from a disk that others use
        except BaseException:
            os.killpg(playing.pid, signal.SIGKILL)
            raise
    assert playing.returncode == 130
    assert said.splitlines()[1:] == ["Stopped after 0 rounds, 0 incidents and 0 violations."]
    assert len(processes) > 2
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_a_round_ends_it(tmp_path: Path) -> None:
    (tmp_path / "story.json").write_bytes(as_json(Story(seed=5, number=0, acts=STORY.acts[:1])))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "ValueError: it broke"


def test_a_round_that_fails_ends_the_campaign_with_an_error_and_keeps_its_log(tmp_path: Path) -> None:
    story = Story(seed=5, number=3, acts=(replace(STORY.acts[0], world={"workspaces": 5}),))
    words = r"Round 3 of seed 5 could not be played: .*round-3/host.log says where"
    with pytest.raises(CampaignError, match=words), Lanes(tmp_path, 1) as lanes:
        campaign.again(story, lanes)
    assert "Traceback" in (tmp_path / "round-3" / "host.log").read_text()

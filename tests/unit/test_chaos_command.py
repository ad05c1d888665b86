"""``medic chaos``: what it says of a campaign, and what bad input gets."""

import json
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from local.chaos import campaign
from local.chaos.campaign import Lanes, Result
from local.chaos.drawing import draw, kill_points
from local.chaos.played import Violation
from local.chaos.story import Story, as_json
from local.cli import app

STORY = draw(5, 0)
POINT = kill_points()[0].point
CLEAN = Result(
    story=STORY,
    folder=Path("5-0"),
    violations=(),
    figures={"incidents": 40, "deliveries": 90, "effects": 25, "end: repaired": 30, "end: advised": 10},
    laid={"reset": 2, "answer lost": 1},
    met={"reset": 5},
    kills={POINT: 2},
    crashes=1,
    seconds=20.0,
)
BROKEN = replace(
    CLEAN,
    violations=(Violation(invariant="one-send", words="it was sent twice", incident="inc-1", records=("ledger s 3",)),),
)


def medic(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["chaos", *arguments])


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let rounds come to what a test says, without playing them."""

    def plays(*results: Result) -> None:
        monkeypatch.setattr(campaign, "run", lambda *_: iter(results))

    return plays


def test_a_clean_campaign_prints_its_figures_and_the_bound(plays, tmp_path):
    plays(CLEAN, CLEAN)
    result = medic("--seed", "5", "--folder", str(tmp_path))
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "Seed 5:" in words
    assert "reset 4 10" in words  # laid, met
    assert "answer lost 2 0" in words
    assert (
        f"killed 4 times, at 1 of {len(kill_points())} kinds of points, and the worker ended 2 times by itself" in words
    )
    assert "by itself. --json lists those at which none ever was." in words
    assert "Never at" not in words
    assert "Incidents ended: advised 20, repaired 60." in words
    assert "No violation: at 95 %, at most 3.75% of such incidents have one." in words


def test_json_has_what_programs_ask_for(plays, tmp_path):
    plays(CLEAN, BROKEN)
    result = medic("--seed", "5", "--json", "--shrink", "0", "--folder", str(tmp_path))
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    figures = {
        name: found[name] for name in ("incidents", "events", "kills", "faults", "effects", "upper_bound", "seed")
    }
    assert figures == {
        "incidents": 80,
        "events": 180,
        "kills": 4,
        "faults": {"reset": 10},
        "effects": 50,
        "upper_bound": None,
        "seed": 5,
    }
    assert [(each["invariant"], each["words"], each["round"]) for each in found["violations"]] == [
        ("one-send", "it was sent twice", 0)
    ]
    assert found["kill_points"][POINT] == 4
    assert found["seconds"] >= 0


def test_a_host_that_was_lost_is_told_in_words_and_in_json(tmp_path, monkeypatch):
    def run(_seed: int, _incidents: int, lanes: Lanes) -> Iterator[Result]:
        lanes.renew()
        (lanes.folder / "round-0").mkdir()
        yield CLEAN

    monkeypatch.setattr(campaign, "run", run)
    told = " ".join(medic("--seed", "5", "--folder", str(tmp_path)).output.split())
    assert "But a process that played rounds ended 1 time by itself." in told
    assert f"lies in {tmp_path}/seed-5: see host.log there." in told
    assert json.loads(medic("--json", "--folder", str(tmp_path)).stdout)["lost_hosts"] == 1


def test_no_incident_at_all_proves_nothing(plays, tmp_path):
    plays()
    result = medic("--folder", str(tmp_path))
    assert "No incident was opened." in result.output


def test_a_fresh_seed_is_printed(plays, tmp_path):
    plays(CLEAN)
    seeds = {medic("--folder", str(tmp_path)).output.split()[1] for _ in range(2)}
    assert len(seeds) == 2


def test_what_breaks_a_promise_is_shortened_and_told(plays, tmp_path, monkeypatch):
    short = replace(BROKEN, story=replace(STORY, acts=STORY.acts[:1], kills=(), store=()))
    plays(BROKEN)
    monkeypatch.setattr("local.chaos.shrinking.shrink", lambda *_, **__: (short, 7))
    result = medic("--seed", "5", "--folder", str(tmp_path))
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "After 7 more rounds" in words
    assert "What shows it: 5-0 " in words
    assert "medic chaos --replay 5-0/story.json" in words
    assert STORY.acts[0].name in words
    assert "one-send: it was sent twice see ledger s 3" in words


def test_a_saved_story_is_played_again(tmp_path, monkeypatch):
    file = tmp_path / "story.json"
    file.write_bytes(as_json(STORY))
    played = []

    class Played:
        def result(self) -> Result:
            return CLEAN

    def play(_: Lanes, story: Story, name: str) -> Played:
        played.append((story, name))
        return Played()

    monkeypatch.setattr(Lanes, "play", play)
    result = medic("--replay", str(file), "--folder", str(tmp_path))
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "Workers and triggers were killed 2 times, at 1 kind of points, and the worker ended 1 time by" in words
    assert words.endswith("in 0 s. No violation.")
    assert json.loads(medic("--replay", str(file), "--folder", str(tmp_path), "--json").stdout)["upper_bound"] is None
    assert played == [(STORY, "round-0")] * 2


def test_what_an_earlier_campaign_kept_stays(plays, tmp_path):
    kept = tmp_path / "seed-5" / "round-1" / "met" / "plan.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    plays(CLEAN)
    medic("--seed", "5", "--folder", str(tmp_path))
    assert kept.read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["seed-5"]


def test_two_campaigns_of_one_seed_in_one_folder_have_each_their_own(tmp_path, monkeypatch):
    folders = []

    def run(seed: int, _incidents: int, lanes: Lanes) -> Iterator[Result]:
        folders.append(lanes.folder)
        assert lanes.folder.is_dir()
        if len(folders) == 1:
            medic("--seed", str(seed), "--folder", str(tmp_path))
        assert lanes.folder.is_dir()
        yield CLEAN

    monkeypatch.setattr(campaign, "run", run)
    medic("--seed", "5", "--folder", str(tmp_path))
    assert folders == [tmp_path / "seed-5", tmp_path / "seed-5-run-2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--incidents", "0"], "--incidents"),
        (["--incidents", "many"], "--incidents"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "seven"], "--seed"),
        (["--seed", str(2**32)], "--seed"),
        (["--lanes", "0"], "--lanes"),
        (
            ["--replay", "nowhere.json"],
            "nowhere.json: No such file or directory. Name a file that `medic chaos` has saved",
        ),
        (["--replay", "pyproject.toml"], "It is no round that `medic chaos` has saved."),
        (
            ["--folder", "/proc/nowhere"],
            "No folder can be made at /proc/nowhere (No such file or directory). Name another one: --folder.",
        ),
        (["--folder", "pyproject.toml"], "No folder can be made at pyproject.toml (File exists)."),
        (["--replay", "x.json", "--seed", "3"], "--seed is for a campaign; --replay plays one round"),
        (["--replay", "x.json", "--incidents", "100"], "--incidents is for a campaign; --replay plays one round"),
        (["--replay", "x.json", "--lanes", "2"], "--lanes is for a campaign; --replay plays one round"),
        (["--replay", "x.json", "--shrink", "9"], "--shrink is for a campaign; --replay plays one round"),
    ],
)
def test_bad_input_gets_a_clear_error(arguments, words):
    result = medic(*arguments)
    assert result.exit_code == 2
    shown = " ".join((result.output + result.stderr).replace("│", " ").split())
    assert words in shown
    assert "Traceback" not in shown


def with_act(**changes: Any) -> dict[str, Any]:
    plain = json.loads(as_json(STORY))
    plain["acts"][1] |= changes
    return cast("dict[str, Any]", plain)


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"seed": 1, "number": 0, "acts": []}, "it has no acts"),
        (with_act(world={"bogus": 1}), "act 1: This is no world: Object contains unknown field `bogus`"),
        (with_act(world={"workspaces": 5}), "act 1: This is no world: Expected `array`, got `int` - at `$.workspaces`"),
        (with_act(troubles=[{"kind": "x", "ahead_s": 1e300}]), "act 1: "),
        (with_act(troubles=[{"kind": "x", "happens": [{"bogus": 1}]}]), "act 1: "),
        ({**with_act(), "policy": {"actions": 5}}, "its policy: $.actions is 5."),
    ],
)
def test_a_damaged_round_gets_a_clear_error_that_names_the_file(plain, words, tmp_path):
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(plain))
    result = medic("--replay", str(file), "--folder", str(tmp_path / "chaos"))
    assert result.exit_code == 2
    shown = result.stderr.replace("\n", "")
    assert shown.startswith(f"medic: {file}: {words}")
    assert shown.endswith(". It is no round that `medic chaos` has saved.")
    assert not (tmp_path / "chaos").exists()


def test_rounds_of_a_process_that_ended_are_played_again_and_not_for_ever():
    class Dies:
        count, lost_hosts, played = 1, 0, 0

        def renew(self) -> None:
            self.lost_hosts += 1

        def play(self, story: Story, _name: str) -> "Future[Result]":
            self.played += 1
            future: Future[Result] = Future()
            if self.played <= self.dies:
                future.set_exception(BrokenProcessPool("it ended"))
            else:
                future.set_result(replace(CLEAN, story=story))
            return future

        def __init__(self, dies: int) -> None:
            self.dies = dies

    once, ever = Dies(1), Dies(99)
    results = list(campaign.run(1, 10, cast("Lanes", once)))
    assert ([result.story for result in results], once.lost_hosts) == ([draw(1, 0)], 1)
    with pytest.raises(campaign.CampaignError, match="it ended"):
        list(campaign.run(1, 10, cast("Lanes", ever)))
    assert ever.lost_hosts == campaign.MOST_LOST_HOSTS


def test_a_round_that_cannot_be_played_is_told():
    class Full:
        count = 1

        def play(self, _story: object, _name: str) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(campaign.CampaignError, match="No space left on device"):
        list(campaign.run(1, 10, cast("Lanes", Full())))

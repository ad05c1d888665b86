"""Scenarios in lanes: each is played once, and a lane that ends early is told."""

from pathlib import Path

import pytest

from local import lanes, rehearsal

STEMS = ("13-unknown-error", "14-paused-scope", "17-dry-run")


def load(stem: str) -> rehearsal.Scenario:
    return rehearsal.load(rehearsal.SCENARIOS / f"{stem}.yaml")


def test_every_scenario_is_played_once_on_a_stage_of_its_mode(tmp_path: Path) -> None:
    played = sorted(lanes.play([load(stem) for stem in STEMS], tmp_path, 2), key=lambda each: each[0])

    assert [(number, report.as_expected) for number, report, _ in played] == [(0, True), (1, True), (2, True)]
    assert [report.name for _, report, _ in played] == [load(stem).name for stem in STEMS]
    assert [folder.name.rpartition("-")[0] for *_, folder in played] == ["auto", "auto", "dry-run"]


def test_a_lane_that_ends_before_its_time_is_told(tmp_path: Path) -> None:
    with pytest.raises(lanes.LaneError, match="were not all played"):
        list(lanes.play([load("13-unknown-error")], tmp_path / "nowhere", 1))

"""Every shipped story, over HTTP, on the real function app: judged by the simulator's ledger and by the trail."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from local import demo, rehearsal
from local.cli import app
from local.rehearsal import Actual, Effect, Expected, Stage, differences
from remediations.model import Disposition, End

BUDGET = yaml.safe_load((Path(__file__).parent / "calls.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def stage_of(tmp_path_factory) -> Iterator[Callable[[str], Stage]]:
    """Gives the stage of a mode; one at a time in a process, so another mode ends the one before."""
    open_stages: dict[str, Stage] = {}

    def give(mode: str) -> Stage:
        if mode not in open_stages:
            while open_stages:
                open_stages.popitem()[1].__exit__(None, None, None)
            open_stages[mode] = Stage(mode, tmp_path_factory.mktemp(mode)).__enter__()
        return open_stages[mode]

    yield give
    for stage in open_stages.values():
        stage.__exit__(None, None, None)


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in rehearsal.shipped()])
def test_the_story_ends_as_expected(file: Path, stage_of):
    scenario = rehearsal.load(file)

    report = stage_of(scenario.mode).play(scenario)

    assert report.differences == ()
    assert report.as_expected
    most = BUDGET[file.stem]
    assert report.calls.write <= most["write"]
    assert report.calls.read <= most["read"]


RACES = sorted((Path(__file__).parent / "races").glob("*.yaml"))


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in RACES])
def test_what_others_do_at_the_worst_moment_leads_to_no_wrong_write(file: Path, stage_of):
    scenario = rehearsal.load(file)

    assert stage_of(scenario.mode).play(scenario).differences == ()


def test_every_story_has_a_budget_of_calls():
    assert list(BUDGET) == [file.stem for file in rehearsal.shipped()]


def test_every_shipped_story_fits_the_published_schema():
    schema = rehearsal.schema()

    for file in rehearsal.shipped():
        jsonschema.validate(yaml.safe_load(file.read_text("utf-8")), schema)

    assert len(rehearsal.shipped()) >= 10


def test_a_story_that_ends_otherwise_is_told_apart(stage_of):
    file = rehearsal.SCENARIOS / "13-unknown-error.yaml"
    plain = yaml.safe_load(file.read_text("utf-8"))
    plain["expect"]["ends"] = {"credit-scoring/green": "repaired"}
    rehearsal_patience, rehearsal.PATIENCE_S = rehearsal.PATIENCE_S, 2.0
    try:
        report = stage_of("auto").play(msgspec.convert(plain, rehearsal.Scenario, strict=False))
    finally:
        rehearsal.PATIENCE_S = rehearsal_patience

    assert not report.as_expected
    assert report.differences == (
        "incidents ended credit-scoring/green: advised, expected credit-scoring/green: repaired",
    )


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        pytest.param({"ends": {}}, "incidents ended nothing, expected e/d: repaired", id="an end is missing"),
        pytest.param({"effects": ()}, "effects were none, expected retry PUT e/d", id="an effect is missing"),
        pytest.param(
            {"effects": (Effect(action="not on the trail", call="PUT e/d"),)},
            "effects were not on the trail PUT e/d, expected retry PUT e/d",
            id="a write that no intent explains",
        ),
        pytest.param(
            {"dispositions": {Disposition.INCIDENT: 2}},
            "deliveries ended incident: 2, expected incident: 1",
            id="an incident too many",
        ),
        pytest.param({"states": {}}, "e/d is gone, expected Succeeded", id="the deployment is gone"),
        pytest.param({"trail": ""}, "the trail does not say 'taken'", id="the trail is silent"),
        pytest.param({"questions": 1}, "1 questions are open, expected 0", id="a question too many"),
        pytest.param({"cause": "unknown"}, "the cause was unknown, expected c", id="another cause"),
    ],
)
def test_each_kind_of_difference_is_seen(changes, difference):
    expect = Expected(
        ends={"e/d": End.REPAIRED},
        effects=(Effect(action="retry", call="PUT e/d"),),
        dispositions={Disposition.INCIDENT: 1},
        states={"e/d": "Succeeded"},
        says=("taken",),
        cause="c",
    )
    as_expected: dict[str, Any] = {
        "ends": {"e/d": End.REPAIRED},
        "effects": (Effect(action="retry", call="PUT e/d"),),
        "dispositions": {Disposition.INCIDENT: 1},
        "states": {"e/d": "Succeeded"},
        "questions": 0,
        "cause": "c",
        "trail": "taken",
    }

    assert differences(expect, Actual(**as_expected)) == ()
    assert differences(expect, Actual(**(as_expected | changes))) == (difference,)


def test_a_rehearsal_prints_the_documented_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    exit_code = demo.rehearse([rehearsal.SCENARIOS / "13-unknown-error.yaml"], as_json=True)

    printed = json.loads(capsys.readouterr().out)
    assert exit_code == 0
    assert printed["as_expected"] is True
    assert list(printed["scenarios"][0]) == ["name", "expected", "actual", "as_expected", "effects", "calls", "seconds"]
    assert printed["scenarios"][0]["effects"] == []
    assert printed["scenarios"][0]["actual"]["ends"] == {"credit-scoring/green": "advised"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("name: [", "Write valid YAML", id="no YAML"),
        pytest.param("name: x", "missing required field", id="a field is missing"),
        pytest.param(
            "name: x\nstory: y\nworld: {}\nexpect: {ends: {a: healed}}", "$.expect.ends[...]", id="no such end"
        ),
    ],
)
def test_a_file_that_is_no_story_is_refused_with_its_place(tmp_path, text, words):
    file = tmp_path / "story.yaml"
    file.write_text(text)

    with pytest.raises(rehearsal.ScenarioError, match=words.replace("$", r"\$").replace("[", r"\[")) as error:
        rehearsal.load(file)

    assert str(file) in str(error.value)


def test_the_schema_that_the_error_names_is_printed():
    result = CliRunner().invoke(app, ["rehearse", "--schema"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, json.loads(json.dumps(rehearsal.schema())))

"""``medic policy``."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from local.cli import app
from remediations import policy
from tests.commands import settle

SHIPPED = Path(__file__).parents[2] / "policy.yaml"


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path)


def medic(*arguments: str):
    return CliRunner().invoke(app, arguments)


def write(folder: Path, content: str) -> str:
    file = folder / "policy.yaml"
    file.write_text(content)
    return str(file)


# ----------------------------------------------------------------------------------------------- policy


def test_the_shipped_policy_is_fine() -> None:
    result = medic("policy", "check", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "file": str(SHIPPED),
        "version": policy.load(SHIPPED).version,
        "actions": {
            "retry": {"mode": "auto", "attempts": 3},
            "sync-keys": {"mode": "auto", "attempts": 1},
            "grant-roles": {"mode": "ask", "attempts": 1},
            "delete-idle": {"mode": "ask", "attempts": 1},
            "undo-delete": {"mode": "ask", "attempts": 2},
            "undo-grant": {"mode": "ask", "attempts": 4},
        },
        "warnings": [],
    }


def test_people_read_what_a_policy_says(tmp_path) -> None:
    lines = [" ".join(line.split()) for line in medic("policy", "check").stdout.splitlines()]
    assert lines[0] == f"{SHIPPED}: valid, version {policy.load(SHIPPED).version}"
    assert "retry auto 3 in 6 h 20 30 s 2 h" in lines
    assert "holds 1 protected tag" in lines


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("actions: {retyr: {mode: auto}}", "$.actions.retyr is 'retyr'"),
        ("actions: {}\nrules: [{actions: [retyr], mode: ask}]", "$.rules[0].actions is 'retyr'"),
    ],
)
def test_an_action_that_is_none_is_refused_as_the_app_refuses_it(content, place, tmp_path) -> None:
    file = write(tmp_path, content)
    result = medic("policy", "check", file)
    assert (result.exit_code, result.stdout) == (2, "")
    known = "delete-idle, grant-roles, retry, sync-keys, undo-delete, undo-grant"
    assert result.stderr == f"medic: {file}: {place}. There is no such action. Use one of {known}.\n"


def test_an_action_that_is_not_listed_is_told(tmp_path) -> None:
    result = medic("policy", "check", write(tmp_path, "actions: {}"), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["warnings"] == [
        f"actions: {name} is not listed, so it is off. List it as 'off' if that is meant."
        for name in ("retry", "sync-keys", "grant-roles", "delete-idle", "undo-delete", "undo-grant")
    ]


@pytest.mark.parametrize(
    "content",
    [
        "actions: {retry: {mode: maybe}}",
        "actions: {retry: {mode: auto, attempst: 3}}",
        "actions: [",
        "- 1",
        "",
        "pauses: []",
    ],
)
def test_a_policy_that_cannot_be_used_is_exit_2_and_names_the_file(content, tmp_path) -> None:
    file = write(tmp_path, content)
    result = medic("policy", "check", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"medic: {file}: $")
    assert "Traceback" not in result.output


def test_a_policy_that_is_not_there_is_exit_2(tmp_path) -> None:
    result = medic("policy", "check", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml" in result.stderr


def test_the_schema_takes_the_shipped_policy_and_refuses_another_word() -> None:
    result = medic("policy", "schema")
    schema = json.loads(result.stdout)
    assert (result.exit_code, schema["title"]) == (0, "Endpoint Medic policy")
    plain = yaml.safe_load(SHIPPED.read_text())
    jsonschema.validate(plain, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plain, "acitons": {}}, schema)

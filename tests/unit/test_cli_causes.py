"""``medic causes``: the table, one cause, the JSON of both."""

import json

import pytest
from typer.testing import CliRunner

from local.cli import app
from remediations.catalogue import CAUSES
from tests.commands import settle

GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"
IDS = [cause.id for cause in CAUSES]


@pytest.fixture(autouse=True)
def _settled(monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path)


def run(*arguments: str):
    return CliRunner().invoke(app, ["causes", *arguments])


def test_the_causes_are_listed_for_programs_with_all_that_is_known() -> None:
    result = run("--json")
    listed = json.loads(result.stdout)["causes"]
    assert (result.exit_code, [one["id"] for one in listed]) == (0, IDS)
    assert listed[0] == json.loads(run("canceled-higher-priority", "--json").stdout)
    assert listed[0] == {
        "id": "canceled-higher-priority",
        "code": "OperationCanceled",
        "also": [],
        "what": "Azure called the operation off in favor of one with a higher priority.",
        "action": "retry",
        "compute": None,
        "needs_support": False,
        "is_catch_all": False,
        "named_when": "Named by its text, unless a read of Azure speaks against it.",
        "advice": "Run the same deployment again; Azure preferred another operation.",
        "commands": ["az ml online-deployment show -e {endpoint} -n {deployment} -g {resource_group} -w {workspace}"],
        "limits": "Endpoint Medic can run retry, once reads of Azure confirm the cause and every guard agrees.",
        "tells": "the status of the operation itself",
        "refines": [],
        "refined_by": [],
        "rivals": ["canceled-by-deletion"],
        "reads": [],
        "examples": listed[0]["examples"],
        "source": f"{GUIDE}#error-operationcanceled",
    }
    assert listed[0]["examples"][0] == {
        "errors": [{"code": None, "message": "Operation was canceled by another operation that has a higher priority"}],
        "log": "",
        "phase": None,
        "statuses": [],
    }


@pytest.mark.parametrize("columns", ["80", "120"])
def test_every_cause_is_in_the_table_in_one_piece(columns, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = run()
    assert result.exit_code == 0
    words = result.stdout.split()
    assert [name for name in (*IDS, *(cause.code for cause in CAUSES)) if name not in words] == []
    assert max(map(len, result.stdout.splitlines())) <= int(columns)


def test_one_cause_is_told_with_what_to_do_and_what_is_done() -> None:
    result = run("quota-cpu")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert (result.exit_code, lines[0]) == (0, "quota-cpu  delete-idle")
    labels = [line.split()[0] for line in lines[3:] if line[:1].strip()]
    assert [one for one in labels if one not in {"refines", "refined", "rivals"}] == [
        *("code", "named", "advice", "type", "medic", "read", "examples", "source")
    ]
    assert f"source    {GUIDE}#cpu-quota" in lines


@pytest.mark.parametrize("name", IDS)
def test_each_cause_can_be_told(name) -> None:
    result = run(name.upper())
    assert (result.exit_code, result.stdout.split()[0]) == (0, name)
    assert json.loads(run(name, "--json").stdout)["id"] == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quota-cpi", "there is no cause 'quota-cpi'. Did you mean quota-cpu"),
        ("OperationCanceled", "It is a code, of canceled-higher-priority, canceled-lock-confirmation"),
        ("xyzzy", "there is no cause 'xyzzy'. `medic causes` lists them all."),
        ("", "there is no cause ''. `medic causes` lists them all."),
    ],
)
def test_an_unknown_cause_is_wrong_usage_with_what_may_be_meant(name, words) -> None:
    result = run(name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.parametrize("options", [["--markdown", "--json"], ["--markdown", "quota-cpu"]])
def test_the_page_is_of_all_causes(options) -> None:
    assert run(*options).exit_code == 2

"""``medic classify`` and ``medic causes``."""

import json

import pytest
from typer.testing import CliRunner

from local.cli import app
from remediations.catalogue import CAUSES

PRIORITY = "Operation was canceled by another operation that has a higher priority"
BUSY = "Cannot create a deployment in endpoint credit because it is in Updating provisioning state."
KUBERNETES = (
    "Failed to create Kubernetes deployment identity, Reason:ACRTokenExchangeForbidden. "
    "The role assignment takes some time, please wait a moment and try again."
)
GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"
UNKNOWN = "Read the error and the container logs; Endpoint Medic does not know this failure and does nothing."


def run(*arguments: str, text: str = ""):
    return CliRunner().invoke(app, ["classify", *arguments], input=text)


def test_a_known_text_is_named_for_programs() -> None:
    result = run("--json", text=f"(OperationCanceled) {PRIORITY}")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "code": "OperationCanceled",
        "cause": "canceled-higher-priority",
        "level": "text only",
        "action": "retry",
        "advice": "Run the same deployment again; Azure preferred another operation.",
        "source": f"{GUIDE}#error-operationcanceled",
        "message": PRIORITY,
        "facts": {},
        "rivals": [],
    }


def test_an_unknown_text_is_an_answer_and_not_an_error() -> None:
    result = run("--json", text="HttpResponseError: Operation failed or canceled")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "code": "Unknown",
        "cause": "unknown",
        "level": "text only",
        "action": None,
        "advice": UNKNOWN,
        "source": GUIDE,
        "message": "Operation failed or canceled",
        "facts": {},
        "rivals": [],
    }


def test_a_text_that_speaks_of_two_causes_nominates_none() -> None:
    answer = json.loads(run("--json", text=f"{PRIORITY}\n{BUSY}").stdout)
    assert (answer["cause"], answer["action"]) == ("unknown", None)
    assert answer["rivals"] == ["canceled-higher-priority", "conflict-in-progress"]


def test_a_cause_that_needs_a_read_does_not_stand_on_a_text() -> None:
    answer = json.loads(run("--json", text="(OperationCanceled) Operation was canceled.").stdout)
    assert (answer["cause"], answer["rivals"]) == ("unknown", [])


def test_people_read_the_error_its_facts_and_what_to_do(tmp_path) -> None:
    file = tmp_path / "error.txt"
    file.write_text(BUSY)
    result = run(str(file))
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0] == "conflict-in-progress  Conflict, by the text alone"
    assert "state   Updating" in lines
    assert "action  retry, once reads of Azure confirm the cause" in lines
    assert f"source  {GUIDE}#http-status-codes" in lines


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_nothing_to_classify_is_wrong_usage(text) -> None:
    result = run(text=text)
    assert result.exit_code == 2
    assert result.stderr == (
        "medic: there is no text to classify: the input is empty. Give a file, or pipe a text in.\n"
    )


@pytest.mark.parametrize("options", [[], ["--jsonl"]])
def test_a_file_that_is_not_there_is_named(options, tmp_path) -> None:
    result = run(str(tmp_path / "none.txt"), *options)
    assert result.exit_code == 2
    assert result.stderr.endswith("none.txt cannot be read: No such file or directory. Name a file, or - for stdin.\n")


def test_lines_are_answered_one_by_one() -> None:
    lines = (
        {"id": "a", "message": PRIORITY, "compute": "managed", "phase": "create", "further": ["ignored"]},
        {"id": 2, "message": "no idea"},
        {"id": "k", "message": KUBERNETES, "compute": "kubernetes"},
        {"id": "m", "message": KUBERNETES, "compute": "managed"},
    )
    result = run("--jsonl", text="\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert (result.exit_code, result.stderr) == (0, "")
    retry = {"level": "text only", "action": "retry"}
    nothing = {"code": "Unknown", "cause": "unknown", "level": "text only", "action": None}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"id": "a", "code": "OperationCanceled", "cause": "canceled-higher-priority", **retry},
        {"id": 2, **nothing},
        {"id": "k", "code": "ACRSecretError", "cause": "role-assignment-pending", **retry},
        {"id": "m", **nothing},
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{bad", "JSON is malformed"),
        ('{"id": "a"}', "Object missing required field `message`"),
        ('{"id": "a", "message": 7}', "Expected `str`, got `int`"),
        ("[]", "Expected `object`, got `array`"),
        ('{"id": "a", "message": ' + "[" * 5000 + "}", ""),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_answered(line, why) -> None:
    good = json.dumps({"id": "a", "message": PRIORITY})
    result = run("--jsonl", text=f"{good}\n{line}\n{good}\n")
    assert result.exit_code == 2
    assert [json.loads(answer)["cause"] for answer in result.stdout.splitlines()] == ["canceled-higher-priority"] * 2
    assert result.stderr.startswith("medic: line 2 is not answered: ")
    assert why in result.stderr
    assert "Traceback" not in result.output


def test_the_causes_are_listed_for_programs() -> None:
    result = CliRunner().invoke(app, ["causes", "--json"])
    listed = json.loads(result.stdout)["causes"]
    assert (result.exit_code, len(listed)) == (0, len(CAUSES))
    assert listed[0] == {
        "id": "canceled-higher-priority",
        "code": "OperationCanceled",
        "action": "retry",
        "advice": "Run the same deployment again; Azure preferred another operation.",
        "source": f"{GUIDE}#error-operationcanceled",
    }


@pytest.mark.parametrize("columns", ["80", "120"])
def test_every_cause_is_in_the_table_in_one_piece(columns, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = CliRunner().invoke(app, ["causes"])
    assert result.exit_code == 0
    assert [cause.id for cause in CAUSES if f" {cause.id} " not in result.stdout] == []
    assert max(map(len, result.stdout.splitlines())) <= int(columns) + len(GUIDE)

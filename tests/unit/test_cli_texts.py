"""``medic classify``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from local import cli
from local.cli import app
from local.commands.texts import PHASES, blocks_of, marked
from remediations.model import Phase
from tests.commands import settle

ROOT = Path(__file__).parents[2]

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
        "what": "Azure called the operation off in favor of one with a higher priority.",
        "advice": "Run the same deployment again; Azure preferred another operation.",
        "commands": ["az ml online-deployment show -e ENDPOINT -n DEPLOYMENT -g RESOURCE_GROUP -w WORKSPACE"],
        "notes": [],
        "limits": "Endpoint Medic can run retry, once reads of Azure confirm the cause and every guard agrees.",
        "source": f"{GUIDE}#error-operationcanceled",
        "message": PRIORITY,
        "facts": {},
        "rivals": [],
        "speaks_for": [
            {
                "cause": "canceled-higher-priority",
                "code": "OperationCanceled",
                "what": "Azure called the operation off in favor of one with a higher priority.",
                "words": ["canceled by another operation that has a higher priority"],
                "tells": "the status of the operation itself",
            }
        ],
    }


def test_an_unknown_text_is_an_answer_and_not_an_error() -> None:
    result = run("--json", text="HttpResponseError: Operation failed or canceled")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "code": "Unknown",
        "cause": "unknown",
        "level": "text only",
        "action": None,
        "what": "",
        "advice": UNKNOWN,
        "commands": [],
        "notes": [],
        "limits": "",
        "source": GUIDE,
        "message": "Operation failed or canceled",
        "facts": {},
        "rivals": [],
        "speaks_for": [],
    }


def test_a_text_that_speaks_of_two_causes_nominates_none() -> None:
    answer = json.loads(run("--json", text=f"{PRIORITY}\n{BUSY}").stdout)
    assert (answer["cause"], answer["action"]) == ("unknown", None)
    assert answer["rivals"] == ["canceled-higher-priority", "conflict-in-progress"]
    assert [(one["cause"], one["tells"]) for one in answer["speaks_for"]] == [
        ("canceled-higher-priority", "the status of the operation itself"),
        ("conflict-in-progress", "the state of the endpoint"),
    ]


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
    assert lines[1:3] == ["Another operation was in progress on the same endpoint or deployment.", ""]
    assert lines[3].startswith("error   Cannot create a »deployment in endpoint credit because it is in Updating")
    assert "facts   state Updating" in lines
    assert "advice  Wait until the running operation is over, then run the same deployment" in lines
    assert "type    az ml online-endpoint show -n ENDPOINT -g RESOURCE_GROUP -w WORKSPACE" in lines
    assert "medic   Endpoint Medic can run retry, once reads of Azure confirm the cause and" in lines
    assert "read    the state of the endpoint" in lines
    assert f"source  {GUIDE}#http-status-codes" in lines


def test_people_read_the_end_of_a_traceback() -> None:
    text = f"{PRIORITY}\nTraceback (most recent call last):\n  File \"/var/score.py\", line 4\nKeyError: 'x'\n"
    lines = [line.rstrip() for line in run(text=text).stdout.splitlines()]
    at = lines.index("note    the text ends with")
    assert lines[at + 1 : at + 3] == ['          File "/var/score.py", line 4', "          KeyError: 'x'"]


def test_people_read_what_would_tell_rivals_apart() -> None:
    shown = run(text=f"{PRIORITY}\n{BUSY}").stdout
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0] == "unknown  Unknown, by the text alone"
    assert "rivals  canceled-higher-priority  OperationCanceled" in lines
    assert "To tell, read the status of the operation itself." in lines
    assert "To tell, read the state of the endpoint." in lines


def test_the_words_that_matched_are_marked_in_the_error() -> None:
    told, unseen = marked("it was canceled by a\r\ncat", ["canceled by", "by a\r\ncat", "elsewhere"], is_plain=True)
    assert (told.plain, unseen) == ("it was »canceled by a\ncat«", ("elsewhere",))
    told, _ = marked("it was canceled", ["canceled"], is_plain=False)
    assert told.plain == "it was canceled"
    assert [(span.start, span.end, str(span.style)) for span in told.spans] == [(7, 15, "bold underline")]


def test_a_long_error_is_cut_around_the_words_that_matched() -> None:
    told, unseen = marked("a" * 5000 + "THERE" + "b" * 5000, ["THERE"], is_plain=True)
    assert told.plain == "…" + "a" * 200 + "»THERE«" + "b" * 995 + "…"
    assert unseen == ()


def test_words_that_matched_elsewhere_than_in_the_error_have_a_line_of_their_own() -> None:
    inner = {"code": "Gone", "message": "This is a deeper error than that."}
    shown = run(text=json.dumps({"error": {"code": "X", "message": PRIORITY, "innererror": inner}})).stdout
    lines = [line.strip() for line in shown.splitlines()]
    assert "error    This is a deeper error than that." in lines
    assert "matched  canceled by another operation that has a higher priority" in lines


@pytest.mark.parametrize(("compute", "cause"), [("kubernetes", "role-assignment-pending"), ("managed", "unknown")])
def test_a_compute_rules_out_what_happens_on_the_other(compute, cause) -> None:
    assert json.loads(run("--json", "--compute", compute, text=KUBERNETES).stdout)["cause"] == cause


def test_the_phases_of_the_option_are_those_of_the_model() -> None:
    (hint,) = (one for one in get_args(cli.classify.__annotations__["phase"])[0].__args__ if get_args(one))
    assert get_args(hint) == PHASES == get_args(Phase.__value__)


def test_a_phase_tells_a_traceback_of_a_container_from_any_other() -> None:
    text = "Traceback (most recent call last):\n  File \"/var/azureml-app/score.py\", line 9\nKeyError: 'x'"
    of_phase: dict[str, str] = {
        phase: json.loads(run("--json", "--phase", phase, text=text).stdout)["cause"] for phase in PHASES
    }
    assert of_phase["start"] != of_phase["build"]
    lines = "\n".join(json.dumps({"id": phase, "message": text, "phase": phase}) for phase in (*PHASES, "other"))
    answers = map(json.loads, run("--jsonl", text=lines).stdout.splitlines())
    without = json.loads(run("--json", text=text).stdout)["cause"]
    assert {one["id"]: one["cause"] for one in answers} == {**of_phase, "other": without}


@pytest.mark.parametrize("options", [["--compute", "mainframe"], ["--phase", "sleep"], ["--jsonl", "--phase", "start"]])
def test_options_that_mean_nothing_are_wrong_usage(options) -> None:
    result = run(*options, text=PRIORITY)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x01\x01" + bytes(64), PRIORITY.encode("utf-16"), b"\xff\xfe\xfd" * 40],
    ids=["a program", "UTF-16", "noise"],
)
def test_what_is_no_text_is_wrong_usage(content, tmp_path) -> None:
    file = tmp_path / "error.txt"
    file.write_bytes(content)
    result = run(str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"medic: {file} is not a text in UTF-8. Save it as one.\n"


@pytest.mark.parametrize("content", [b"caf\xe9: " + PRIORITY.encode(), b"\xef\xbb\xbf" + PRIORITY.encode()])
def test_a_few_bytes_that_are_no_utf_8_are_no_obstacle(content, tmp_path) -> None:
    file = tmp_path / "error.txt"
    file.write_bytes(content)
    result = run("--json", str(file))
    assert (result.exit_code, json.loads(result.stdout)["cause"]) == (0, "canceled-higher-priority")


def test_a_text_that_is_too_large_is_wrong_usage_and_not_cut(tmp_path) -> None:
    file = tmp_path / "build.log"
    file.write_bytes(b"a" * 10_000_000)
    for result, name in ((run(str(file)), str(file)), (run(text="a" * 10_000_000), "stdin")):
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"medic: {name} is larger than 4194304 bytes. Cut it to the error.\n"


@pytest.mark.parametrize("columns", ["80", "120"])
def test_nothing_but_commands_and_links_is_wider_than_the_terminal(columns, monkeypatch, tmp_path) -> None:
    settle(monkeypatch, tmp_path, COLUMNS=columns)
    lines = run(text=f"(OutOfQuota) Not enough quota available for Standard_DS3_v2 {'x' * 300}").stdout.splitlines()
    assert all(len(line) <= int(columns) or "az ml" in line or "https://" in line for line in lines)


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
        ('{"id": [1], "message": "a"}', "Expected `int | str`, got `array`"),
        ('{"id": 1, "message": "a", "phase": 7}', "Expected `str | null`, got `int`"),
        ('{"id": 1, "message": "a", "compute": {}}', "Expected `str | null`, got `object`"),
        ('{"id": 1, "message": "\\ud800"}', ""),
        ("\0\1\2", "JSON is malformed"),
        ('{"id": 1, "message": "' + "a" * 5_000_000 + '"}', "it is longer than 4194304 bytes"),
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


def test_bytes_that_are_no_utf_8_spoil_their_line_alone(tmp_path) -> None:
    good = json.dumps({"id": "a", "message": PRIORITY}).encode()
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + good + b'\r\n{"id": 2, "message": "caf\xe9"}\n' + good)
    result = run("--jsonl", str(file))
    assert (result.exit_code, len(result.stdout.splitlines())) == (2, 2)
    assert result.stderr.startswith("medic: line 2 is not answered: ")


def test_an_empty_message_in_a_line_is_unknown() -> None:
    result = run("--jsonl", text='{"id": 1, "message": ""}')
    assert (result.exit_code, json.loads(result.stdout)["cause"]) == (0, "unknown")


def test_lines_are_given_in_one_piece_however_they_come(tmp_path) -> None:
    lines = [b"x" * size for size in (0, 1, 65_535, 65_536, 65_537, 200_000, 0, 5)]
    lines[3:3] = [b"y" * 4_194_305]
    file = tmp_path / "lines"
    file.write_bytes(b"\n".join(lines))
    read = [line for block in blocks_of(str(file)) for line in block]
    assert read == [None if len(line) > 4_194_304 else line for line in lines]


def test_who_waits_for_each_answer_gets_it() -> None:
    command = [sys.executable, "-m", "local.cli", "classify", "--jsonl"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "message": PRIORITY}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(10) == 0

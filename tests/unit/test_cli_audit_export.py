"""``medic audit export``: the trail's own lines, or rows for a spreadsheet, in a file that is whole or not there."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local.cli import app
from remediations.model import Caller, End
from remediations.trail import Answered, Ended, Question, Trail, Vote
from tests.builders import DEPLOYMENT, make_diagnosis, make_incident, make_journal, make_plan
from tests.commands import settle

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 11, 23, 12, 30, 15, 250_000, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANNA = Caller(oid="00000000-0000-4000-8000-00000000000a", tid="00000000-0000-4000-9000-000000000000")
COLUMNS = [
    *("at", "incident", "seq", "resource", "workspace", "stage", "actor", "actor_tenant"),
    *("mode", "policy_version", "action", "plan", "words", "hash"),
]


def always(at: datetime) -> Callable[[], datetime]:
    return lambda: at


@pytest.fixture
def trail(monkeypatch, tmp_path) -> Trail:
    """Two incidents, the one with the later id opened first; Anna approved what the other asked."""
    made = settle(monkeypatch, tmp_path)
    for name, at, end in (("inc-b1", AT - HOUR, End.ADVISED), ("inc-a2", AT, End.REPAIRED)):
        incident = make_incident(id=name)
        made.open_incident(incident, f"nonce-{name}", at)
        journal = make_journal(made, always(at))
        journal.opened(incident)
        if end is End.REPAIRED:
            plan = make_plan(diagnosis=make_diagnosis(incident=incident))
            journal.planned(plan)
            question = Question(
                at=at, incident_id=name, plan=plan.digest, decision="d" * 64, policy_version="p", expires_at=at + HOUR
            )
            journal.asked(question)
            journal.voted(name, Vote(at=at, plan=plan.digest, by=ANNA, approves=True, comment="the contender is gone"))
        journal.ended(name, end, "so it ended")
        made.end_incident(Ended(at=at, end=end, words="so it ended", incident=incident, action="retry"))
    return made


def medic(*arguments: str):
    return CliRunner().invoke(app, ["audit", "export", *arguments])


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def say(trail: Trail, words: str) -> None:
    """Put a record on the trail whose words are written by anybody."""
    answered = Answered(at=AT, plan="f" * 64, approved=False, words=words, by=ANNA)
    make_journal(trail, lambda: AT).answered("inc-b1", answered)


def run(*arguments: str, **options) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "local.cli", "audit", "export", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, check=False, timeout=60, **options)


@pytest.mark.parametrize(("name", "words"), [(".", ". exists."), ("", "--output is empty."), ("/", "/ exists.")])
def test_a_name_that_is_no_file_is_refused(trail, name, words):
    told = medic("--output", name)
    assert told.exit_code == 2
    assert words in told.stderr


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_full_disk_behind_stdout_is_told_in_one_line(trail, form):
    with Path("/dev/full").open("wb") as full:
        told = run("--format", form, stdout=full, stderr=subprocess.PIPE)
    assert told.returncode == 2
    assert told.stderr == b"medic: the answer cannot be written: No space left on device.\n"


def test_a_dash_is_stdout(trail, tmp_path):
    assert medic("--output", "-").stdout_bytes == medic().stdout_bytes != b""
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("hidden", ["\u061c", "\u200b", "\u200d", "\u2060", "\ufeff"])
def test_a_formula_behind_what_cannot_be_seen_is_none(trail, hidden):
    say(trail, f"{hidden}=1+1")
    assert "'\ufffd=1+1" in [row["words"] for row in rows(medic("--format", "csv").stdout_bytes)]


# --------------------------------------------------------------------------------------------- JSON Lines


def test_json_lines_are_the_bytes_of_the_trail_the_oldest_incident_first(trail) -> None:
    result = medic()
    assert result.exit_code == 0
    assert result.stdout_bytes == trail.record_lines("inc-b1") + trail.record_lines("inc-a2")
    assert result.stderr == ""


def test_a_line_that_cannot_be_read_is_exported_as_it_lies_there(trail, tmp_path) -> None:
    (tmp_path / "store/trail/audit/inc-a2/0000.jsonl").write_bytes(b"torn\r\xff{\n")
    (tmp_path / "store/trail/audit/inc-a2/.0000.jsonl.length").unlink()
    assert medic("--incident", "a2").stdout_bytes == b"torn\r\xff{\n"
    for options in (("--format", "csv"), ("--stage", "vote")):
        result = medic("--incident", "a2", *options)
        assert result.exit_code == 2
        assert "record 0 of inc-a2 cannot be read" in result.stderr
        assert "`medic audit verify`" in result.stderr


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], [("inc-b1", 0), ("inc-b1", 1), ("inc-a2", 0), ("inc-a2", 1), ("inc-a2", 2), ("inc-a2", 3), ("inc-a2", 4)]),
        (["--since", "2026-11-23T12:00Z", "--stage", "end"], [("inc-a2", 4)]),
        (["--end", "advised"], [("inc-b1", 0), ("inc-b1", 1)]),
        (["--actor", "00000000-0000-4000-8000-00000000000A"], [("inc-a2", 3)]),
        (["--stage", "incident", "--stage", "vote"], [("inc-b1", 0), ("inc-a2", 0), ("inc-a2", 3)]),
        (["--actor", "medic", "--stage", "vote"], []),
        (["--workspace", "MLW-*", "--action", "retry", "--incident", "b"], [("inc-b1", 0), ("inc-b1", 1)]),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_both_formats_hold_the_records_that_are_asked_for(form, options, found, trail) -> None:
    result = medic("--format", form, *options)
    assert result.exit_code == 0
    read = rows(result.stdout_bytes) if form == "csv" else [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["incident"], int(one["seq"])) for one in read] == found


def test_an_export_of_nothing_says_which_filters_held(trail, tmp_path) -> None:
    result = medic("--actor", "medic", "--stage", "vote")
    words = f"The trail in {tmp_path / 'store'} holds no record for --actor medic, --stage vote.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", words)


# ---------------------------------------------------------------------------------------------------- CSV


def test_a_row_tells_a_record_with_who_made_it_and_what_it_says(trail) -> None:
    result = medic("--format", "csv")
    assert result.stdout_bytes.startswith(b'"at","incident","seq","resource",')
    assert result.stdout_bytes.count(b"\r\n") == result.stdout_bytes.count(b"\n") == 8
    found = rows(result.stdout_bytes)
    assert list(found[0]) == COLUMNS
    plan = make_plan(diagnosis=make_diagnosis(incident=make_incident(id="inc-a2"))).digest
    assert found[5] == {
        "at": "2026-11-23T12:30:15.250000Z",
        "incident": "inc-a2",
        "seq": "3",
        "resource": DEPLOYMENT,
        "workspace": "mlw-prod",
        "stage": "vote",
        "actor": "00000000-0000-4000-8000-00000000000a",
        "actor_tenant": "00000000-0000-4000-9000-000000000000",
        "mode": "auto",
        "policy_version": "0123456789ab",
        "action": "retry",
        "plan": plan,
        "words": "approved by 00000000-0000-4000-8000-00000000000a: the contender is gone",
        "hash": trail.records("inc-a2")[3].hash,
    }
    assert (found[0]["actor"], found[0]["action"], found[0]["plan"]) == ("medic", "", "")


@pytest.mark.parametrize(
    ("words", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1", "'+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\r=1", "'\N{REPLACEMENT CHARACTER}=1"),
        ("\x1b[2Jgone", "\N{REPLACEMENT CHARACTER}[2Jgone"),
        ("a\u202eb\x9bc\x00d", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}d"),
        ('one, "two"\nthree;=four', 'one, "two"\nthree;=four'),
        ("größer \N{GRINNING FACE}", "größer \N{GRINNING FACE}"),
    ],
)
def test_words_of_others_are_text_in_a_spreadsheet_and_on_a_terminal(words, cell, trail) -> None:
    say(trail, words)
    result = medic("--format", "csv", "--stage", "answer")
    (row,) = rows(result.stdout_bytes)
    assert row["words"] == cell


# --------------------------------------------------------------------------------------------- where it goes


def test_a_file_holds_what_stdout_would_and_says_how_much(trail, tmp_path) -> None:
    result = medic("--output", "out.jsonl")
    assert (result.exit_code, result.stdout) == (0, "7 records of 2 incidents written to out.jsonl.\n")
    assert (tmp_path / "out.jsonl").read_bytes() == medic().stdout_bytes
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["out.jsonl"]


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_there_is_never_written_over(kind, trail, tmp_path) -> None:
    target = tmp_path / "out"
    match kind:
        case "file":
            target.write_text("mine")
        case "link":
            target.symlink_to(tmp_path / "nowhere")
        case _:
            target.mkdir()
    result = medic("--output", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "medic: out exists. Name a file that does not.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    assert kind != "file" or target.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(trail) -> None:
    result = medic("--output", "nowhere/out")
    assert result.exit_code == 2
    assert result.stderr == (
        "medic: nowhere/out cannot be written: No such file or directory. Name a place that can.\n"
    )


def test_an_export_that_fails_in_the_middle_leaves_no_file(trail, tmp_path) -> None:
    (tmp_path / "store/trail/audit/inc-a2/0000.jsonl").write_bytes(b"{}\n")
    result = medic("--format", "csv", "--output", "out.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_process_that_dies_leaves_no_file_that_looks_whole(tmp_path) -> None:
    script = (
        "import os\nfrom local.commands import terminal\n"
        "with terminal.new_file('out') as opened:\n    opened.write(b'half')\n    opened.flush()\n    os._exit(9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False)
    (left,) = tmp_path.iterdir()
    assert (done.returncode, left.name.startswith("out."), left.suffix) == (9, True, ".part")


def test_a_reader_that_has_enough_ends_it_quietly(trail) -> None:
    for number in range(200):  # more than a pipe holds
        make_journal(trail, lambda: AT).waits(
            make_plan(diagnosis=make_diagnosis(incident=make_incident(id="inc-a2"))), number, "x" * 1_000
        )
    command = f"{sys.executable} -m local.cli audit export | head -c 10"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (b'{"actor":{', b"")


def test_on_a_terminal_nothing_that_steers_it_is_printed(trail) -> None:
    say(trail, "\x9b2J \u202e gone")
    ours, theirs = pty.openpty()
    assert run("--stage", "answer", stdout=theirs, stderr=subprocess.PIPE).returncode == 0
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert json.loads(shown)["facts"]["words"] == "\x9b2J \u202e gone"
    assert b"\\u009b2J \\u202e gone" in shown


def test_the_format_is_one_of_two(trail) -> None:
    result = medic("--format", "xml")
    assert result.exit_code == 2
    assert "'xml' is not one of 'jsonl'" in " ".join(result.stderr.split())

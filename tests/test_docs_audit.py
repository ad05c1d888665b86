"""docs/audit.md says what the trail holds, and its program checks a real one with the standard library alone."""

import ast
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from msgspec.structs import fields
from typer.core import TyperGroup

from local.cli import app
from local.commands.audit_export import COLUMNS
from remediations import audit, rolls
from remediations.adapters.folder import FolderStore
from remediations.audit import STAGES
from remediations.model import AuditRecord, Caller, End
from remediations.proof import anchoring, chain, checkpoint, merkle
from remediations.proof.checking import Kind
from remediations.proof.checkpoint import Head, Page
from remediations.trail import Trail, Vote
from tests.builders import NOON, make_incident, make_journal
from tests.pages import page, quoted, section, table

ROOT = Path(__file__).parent.parent
PAGE = page("docs/audit.md")
part = partial(section, PAGE)
PERSON = Caller(oid="00000000-0000-4000-8000-000000000001", tid="00000000-0000-4000-9000-000000000000")


def first_column(title: str) -> set[str]:
    """Give what the first column names of the table in which it has this title."""
    return {name for row in table(PAGE, title) for name in quoted(row[0])}


def block(language: str, text: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(found)


# ------------------------------------------------------------------------------------------------ the program


@pytest.fixture
def trail(tmp_path) -> Trail:
    made = Trail(FolderStore(tmp_path / "trail"))
    for name in ("inc-a1", "inc-b2"):
        incident = make_incident(id=name)
        made.open_incident(incident, name, NOON)
        journal = make_journal(made, lambda: NOON)
        journal.opened(incident)
        journal.voted(name, Vote(at=NOON, plan="p" * 64, by=PERSON, approves=True, comment='größer, \\ "so" \u2028'))
        journal.ended(name, End.REPAIRED, "so")
    return made


def check(tmp_path: Path, *files: bytes) -> subprocess.CompletedProcess[str]:
    """Run the program of the page on some files, without anything of ours."""
    program = tmp_path / "check.py"
    program.write_text(block("python", part("The chain")), encoding="utf-8")
    names = [f"{number}.jsonl" for number, _ in enumerate(files)]
    for name, content in zip(names, files, strict=True):
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-I", str(program), *names]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_the_program_is_short_and_imports_the_standard_library_alone():
    program = block("python", part("The chain"))
    assert len(program.splitlines()) <= 16
    assert [line for line in program.splitlines() if "import" in line] == ["import hashlib, json, sys"]


def test_the_program_finds_that_a_real_trail_holds(trail, tmp_path):
    done = check(tmp_path, trail.record_lines("inc-a1") + trail.record_lines("inc-b2"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 incidents hold\n", "")


def test_the_program_goes_on_from_one_file_to_the_next(trail, tmp_path):
    first, rest = trail.record_lines("inc-a1").split(b"\n", 1)
    assert check(tmp_path, first + b"\n", rest).stdout == "1 incidents hold\n"
    assert check(tmp_path, rest, first + b"\n").returncode == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(
            lambda lines: [lines[0], lines[1].replace(b"true", b"false"), lines[2]], "line 2 was changed", id="edit"
        ),
        pytest.param(
            lambda lines: [lines[0], lines[1].replace(b"4000-8", b"4000-9"), lines[2]], "line 2 was", id="person"
        ),
        pytest.param(lambda lines: [lines[0], lines[2]], "line 2 does not follow", id="taken out"),
        pytest.param(lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow", id="moved"),
        pytest.param(lambda lines: [lines[0], lines[0], lines[1]], "line 2 does not follow", id="twice"),
        pytest.param(lambda lines: lines[1:], "line 1 does not follow", id="beginning cut"),
        pytest.param(lambda lines: [*lines[:2], lines[2][:-3]], "line 3 was changed", id="half a line"),
        pytest.param(lambda lines: [*lines[:2], lines[2][:-2] + b" }"], "line 3 was changed", id="white space"),
        pytest.param(
            lambda lines: [
                chain.seal(msgspec.json.decode(lines[0], type=AuditRecord), "0" * 64)[0][:-1].replace(
                    b"write", b"Write"
                )
            ],
            "line 1 was changed",
            id="other words",
        ),
    ],
)
def test_the_program_finds_what_was_changed(damage, words, trail, tmp_path):
    lines = trail.record_lines("inc-a1").splitlines()
    done = check(tmp_path, b"".join(line + b"\n" for line in damage(lines)))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"0.jsonl: {words}")


# ----------------------------------------------------------------------------------------------- what it tells


def test_every_field_of_a_record_is_told():
    assert first_column("field") == {field.name for field in fields(AuditRecord)}


def test_every_stage_is_told_with_each_fact_that_it_adds():
    told = {stage: quoted(facts) for names, _, facts in table(PAGE, "stage") for stage in quoted(names)}
    assert set(told) == set(STAGES)
    source = ast.parse(Path(audit.__file__).read_text(encoding="utf-8"))
    for call in ast.walk(source):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "record":
            stage = call.args[1].value if isinstance(call.args[1], ast.Constant) else "told"
            assert {keyword.arg for keyword in call.keywords} - {None} <= told[str(stage)], stage


def test_the_printed_record_holds():
    line = block("json", part("A record")).strip().encode()
    link = chain.link(line)
    assert link is not None
    assert (link.seq, link.hash[:8]) == (7, "0cb8c984")


def test_the_printed_checkpoint_is_that_of_its_heads_as_the_page_says():
    page = msgspec.json.decode(block("json", part("Checkpoints and the tree")), type=Page)
    tree = merkle.Tree()
    for head in page.heads:
        tree.add(merkle.leaf(msgspec.json.encode(dict(sorted(msgspec.to_builtins(head).items())))))
    assert tree.root().hex() == page.checkpoint.root
    assert checkpoint.is_signed(page.checkpoint)
    assert f"(`{'`, `'.join(sorted(field.name for field in fields(Head)))}`)" in PAGE


def test_every_finding_is_told():
    assert first_column("finding") == {str(kind) for kind in Kind}


def commands() -> dict[str, Any]:
    """Give the commands of `medic audit`."""
    medic = typer.main.get_command(app)
    assert isinstance(medic, TyperGroup)
    audit_group = medic.commands["audit"]
    assert isinstance(audit_group, TyperGroup)
    return dict(audit_group.commands)


def test_the_filters_and_the_columns_are_those_of_the_command():
    command = commands()["export"]
    options = {option for parameter in command.params for option in parameter.opts}
    filters = first_column("filter")
    assert filters <= options
    assert options - filters >= {"--format", "--output"}
    assert ",".join(f'"{name}"' for name in COLUMNS) in PAGE


def test_every_command_of_the_page_is_one_with_such_options():
    known_commands = commands()
    typed = re.findall(r"^\$ medic audit (\w+)([^\n#>]*)", PAGE, re.MULTILINE)
    assert {name for name, _ in typed} >= {"list", "show", "export", "verify", "anchor", "prove", "key"}
    for name, rest in typed:
        known = {option for parameter in known_commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z]+", rest)) <= known, name


def test_the_limits_are_those_of_the_code():
    assert f"A file of {rolls.MOST_LINES:,} lines is full" in PAGE
    assert f"at most {checkpoint.MOST_LINES:,} a file" in PAGE
    assert f"at most {anchoring._MOST_HEADS:,}:" in PAGE

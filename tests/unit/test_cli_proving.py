"""``medic audit verify|anchor|prove|key``, and the timer that anchors, on a trail in a folder."""

import base64
import json
import os
import re
import shutil

import pytest
from azure.core.messaging import CloudEvent
from typer.testing import CliRunner

from functions import timers
from local.cli import app
from remediations import codec
from remediations.adapters.folder import FolderStore
from remediations.adapters.topic import event_of_checkpoint
from remediations.proof import anchoring
from remediations.trail import Trail
from tests.builders import NOON, make_incident
from tests.commands import settle
from tests.trails import (
    CHECKPOINTS,
    KEY,
    OTHER_KEY,
    OTHER_PUBLIC,
    PUBLIC,
    QUARTER,
    Attacker,
    everything,
    fill,
    make_record,
    sealed,
)

A = "audit/inc-a/0000.jsonl"


@pytest.fixture
def trail(monkeypatch, tmp_path):
    return settle(monkeypatch, tmp_path, MEDIC_ANCHOR_KEY=KEY)


@pytest.fixture
def notes(trail):
    return fill(trail.store)


@pytest.fixture
def root(trail):
    return trail.store.root


def medic(*arguments: str, code: int = 0, stdin: str | None = None):
    done = CliRunner().invoke(app, ["audit", *arguments], input=stdin)
    assert done.exit_code == code, (done.exit_code, done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def told(*arguments: str, code: int = 0):
    return json.loads(medic(*arguments, "--json", code=code).stdout)


def tampered(root):
    path = root / A
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":9'))


# ---------------------------------------------------------------------------------------------------- verify


@pytest.mark.usefixtures("notes")
def test_a_trail_that_holds_is_said_to_and_how_far():
    said = medic("verify").stdout
    assert said.startswith("The trail holds in ")
    assert "12 in 3 incidents" in said
    assert "11, by 3 checkpoints, the last of 2026-11-22 12:31:00 UTC" in said
    assert "1: chained, and proved by the next checkpoint" in said
    assert re.search(rf"signed by +{re.escape(PUBLIC)} *\n", said)


@pytest.mark.usefixtures("notes")
def test_programs_get_the_promised_members():
    found = told("verify")
    promised = ("ok", "incidents", "records", "anchored", "after_anchor", "first_bad")
    assert [found[name] for name in promised] == [True, 3, 12, 11, 1, None]
    assert (found["pinned"], found["keys"], found["last"]["number"]) == (True, [PUBLIC], 3)


@pytest.mark.usefixtures("notes")
def test_a_record_that_was_changed_is_named_and_the_exit_code_is_1(root):
    tampered(root)
    before = everything(root)
    found = told("verify", code=1)
    assert (found["ok"], found["records"], found["anchored"], found["after_anchor"]) == (False, 12, 6, 1)
    assert found["first_bad"] == {
        "what": "changed",
        "words": "its bytes are not those of its hash: it was changed after it was written",
        "file": A,
        "incident": "inc-a",
        "record": 2,
    }
    said = medic("verify", code=1).stdout
    assert said.startswith("The trail does not hold in ")
    assert f"changed  {A}, record 2\n  its bytes are not those of its hash" in said
    assert everything(root) == before


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("form", ["the store", "its trail", "a bare copy", "a link to it"])
def test_a_store_a_trail_or_a_copy_is_verified(root, tmp_path, form):
    bare = shutil.copytree(root, tmp_path / "bare", ignore=shutil.ignore_patterns(".*"))
    (tmp_path / "link").symlink_to(root)
    where = {"the store": root.parent, "its trail": root, "a bare copy": bare, "a link to it": tmp_path / "link"}[form]
    assert told("verify", "--store", str(where))["ok"]


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize("where", ["none", "file", "empty", "other"])
def test_what_is_no_trail_is_said_and_not_called_whole(tmp_path, where):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/audit").write_text("x")
    said = medic("verify", "--store", str(tmp_path / where), code=2).stderr
    assert "no trail lies in" in said
    assert "Name the folder that MEDIC_STORE names, or a copy of the container trail." in " ".join(said.split())


@pytest.mark.usefixtures("notes")
def test_without_a_key_it_says_that_none_was_compared(monkeypatch):
    monkeypatch.delenv("MEDIC_ANCHOR_KEY")
    assert f"{PUBLIC}: no key was given to compare it with" in " ".join(medic("verify").stdout.split())
    assert told("verify")["pinned"] is False


@pytest.mark.usefixtures("notes")
def test_a_key_is_given_as_it_is_or_in_a_file_and_more_than_one(tmp_path):
    (tmp_path / "key.txt").write_text(f"{PUBLIC}\n")
    assert told("verify", "--key", PUBLIC)["ok"]
    assert told("verify", "--key", str(tmp_path / "key.txt"))["ok"]
    assert told("verify", "--key", OTHER_PUBLIC, "--key", PUBLIC)["ok"]
    found = told("verify", "--key", OTHER_PUBLIC, code=1)
    assert (found["first_bad"]["what"], found["anchored"]) == ("key", 0)
    assert "give the public part of each key that was ever used" in found["first_bad"]["words"]


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("key", ["", "x", "nowhere.txt", PUBLIC[:-4], f"{PUBLIC} ", "Ünïcode", f"{PUBLIC[:-2]}F="])
def test_what_is_no_key_is_refused(key):
    assert "is neither a public key (32 bytes in base64) nor a file of one" in " ".join(
        medic("verify", "--key", key, code=2).stderr.split()
    )


def log_line(note):
    return json.dumps({**codec.dump(note), "event": "checkpoint.written", "level": "info", "timestamp": "2026-11-22"})


def event(note):
    made: CloudEvent = event_of_checkpoint(note)
    return json.dumps({"id": made.id, "type": made.type, "specversion": "1.0", "data": made.data})


FORMS = {
    "plain": lambda note: codec.encode(note).decode(),
    "log line": log_line,
    "event": event,
    "anchor --json": lambda note: json.dumps({"is_new": True, "checkpoint": codec.dump(note), "findings": []}),
    "page": lambda note: json.dumps({"checkpoint": codec.dump(note), "heads": []}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_from_outside_is_read_in_each_form_that_it_left_the_house_in(notes, root, tmp_path, form):
    file = tmp_path / "kept.json"
    file.write_text(FORMS[form](notes[0]))
    assert told("verify", "--checkpoint", str(file))["ok"]
    assert "it goes on from the checkpoint that was kept outside" in medic("verify", "--checkpoint", str(file)).stdout
    shutil.rmtree(root)
    fill(FolderStore(root), said="forged")
    assert told("verify")["ok"]
    found = told("verify", "--checkpoint", str(file), code=1)
    assert (found["first_bad"]["what"], found["first_bad"]["record"]) == ("rewritten", 1)


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON"),
        (b"no json", "is no JSON"),
        (b"[" * 200_000, "is no JSON"),
        (b"[]", "is no checkpoint"),
        (b"null", "is no checkpoint"),
        (b'{"data":null}', "is no checkpoint"),
        (b'{"data":{"number":1}}', "is no checkpoint"),
        (b"\xff\xfe", "is no JSON"),
        (b"x" * 5_000_000, "is larger than"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, words):
    file = tmp_path / "kept.json"
    file.write_bytes(content)
    assert words in " ".join(medic("verify", "--checkpoint", str(file), code=2).stderr.split())


@pytest.mark.usefixtures("notes")
def test_a_checkpoint_file_that_is_not_there_is_said(tmp_path):
    assert "cannot be read" in medic("verify", "--checkpoint", str(tmp_path / "none"), code=2).stderr


def test_a_checkpoint_with_a_huge_number_or_a_time_without_a_zone_is_one_that_was_not_signed(notes, tmp_path):
    file = tmp_path / "kept.json"
    for change in ({"number": 2**70}, {"leaves": -1}, {"at": "2026-11-22T12:00:00"}, {"key": "", "signature": "é"}):
        file.write_text(json.dumps({**codec.dump(notes[0]), **change}))
        assert told("verify", "--checkpoint", str(file), code=1)["first_bad"]["what"] == "signature"


@pytest.mark.usefixtures("notes")
def test_hostile_names_neither_steer_the_terminal_nor_look_like_an_answer(root):
    (root / "a\x1b[2J\x1b]0;x\x07b").touch()
    (root / "x\nThe trail holds in store").touch()
    (root / os.fsdecode(b"bad-\xff")).touch()
    (root / "audit/[bold]inc").mkdir()
    (root / "audit/[bold]inc/0000.jsonl").touch()
    said = medic("verify", code=1).stdout
    assert "\x1b" not in said
    assert "\x07" not in said
    assert [line for line in said.splitlines() if line.startswith("The trail holds")] == []
    assert "foreign  audit/[bold]inc/0000.jsonl" in said
    assert "foreign  bad-\\xff" in said
    found = told("verify", code=1)
    assert found["found"] == 4


@pytest.mark.usefixtures("notes")
def test_more_than_a_hundred_findings_are_counted(root):
    for number in range(130):
        (root / f"x{number}").touch()
    assert medic("verify", code=1).stdout.endswith("and 30 more\n")


@pytest.mark.usefixtures("notes")
def test_a_trail_without_checkpoints_says_that_nothing_is_proved(root):
    Attacker(root).remove(CHECKPOINTS)
    said = " ".join(medic("verify").stdout.split())
    assert "none: there is no checkpoint, and a chain alone can be rewritten whole" in said


# ---------------------------------------------------------------------------------------------------- anchor


def test_anchor_signs_what_is_new_once(trail, notes):
    found = told("anchor")
    assert (found["is_new"], found["checkpoint"]["number"], found["findings"]) == (True, 4, [])
    assert found["checkpoint"]["records"] == notes[2].records + 1
    assert told("verify")["after_anchor"] == 0
    again = told("anchor")
    assert (again["is_new"], again["checkpoint"]) == (False, found["checkpoint"])
    assert "Nothing has been added since: checkpoint 4 of " in medic("anchor").stdout
    trail.append_record(make_record(0, key="new"))
    assert medic("anchor", code=1).stdout.startswith("Signed: checkpoint 5 of ")  # its time is long ago: it is told


@pytest.mark.usefixtures("trail")
def test_anchor_of_nothing_says_so():
    assert medic("anchor").stdout == "The trail holds no record that could be signed.\n"


@pytest.mark.usefixtures("notes")
def test_anchor_without_a_key_says_how_to_make_one(monkeypatch):
    monkeypatch.delenv("MEDIC_ANCHOR_KEY")
    assert "`medic audit key --new` makes one" in medic("anchor", code=2).stderr


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("key", ["x", KEY[:-4], f"{KEY[:-2]}F="])
def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("MEDIC_ANCHOR_KEY", key)
    said = " ".join(medic("anchor", code=2).stderr.split())
    assert "MEDIC_ANCHOR_KEY is '(hidden)': it is not 32 bytes in base64" in said
    assert len(key) < 9 or key not in said


@pytest.mark.usefixtures("notes")
def test_anchor_tells_of_what_does_not_hold_and_signs_the_rest(root, trail):
    tampered(root)
    trail.append_record(make_record(0, "inc-b", key="new", at=NOON + 4 * QUARTER))
    found = told("anchor", code=1)
    assert (found["is_new"], [one["incident"] for one in found["findings"]]) == (True, ["inc-a"])
    assert "changed  audit/inc-a/0000.jsonl, record 2" in medic("anchor", code=1).stdout


# ----------------------------------------------------------------------------------------------------- prove


def proved(root, tmp_path, *, record="1"):
    """Write a proof of inc-a's record, as the command does."""
    file = tmp_path / f"proof-{record}.json"
    medic("prove", "inc-a", "--record", record, "--output", str(file))
    return file


@pytest.fixture
def known(trail, notes):
    """inc-a as an incident that can be named."""
    trail.open_incident(make_incident(id="inc-a"), "nonce", NOON)
    return notes


@pytest.mark.usefixtures("known")
def test_a_proof_holds_without_the_trail(root, tmp_path):
    files = [proved(root, tmp_path, record=str(number)) for number in range(5)]
    shutil.rmtree(root.parent)
    for number, file in enumerate(files):
        found = told("verify", "--proof", str(file))
        assert (found["ok"], found["why"], found["incident"]) == (True, None, "inc-a")
        said = medic("verify", "--proof", str(file)).stdout
        assert f"Proved: record {number} of inc-a, written 2026-11-22 12:" in said
        assert "was there when checkpoint 3 was taken, 2026-11-22 12:31:00 UTC." in said


@pytest.mark.usefixtures("known")
def test_a_proof_is_of_the_right_key(root, tmp_path):
    file = proved(root, tmp_path)
    assert told("verify", "--proof", str(file), "--key", PUBLIC)["ok"]
    found = told("verify", "--proof", str(file), "--key", OTHER_PUBLIC, code=1)
    assert "which is none of those given" in found["why"]


@pytest.mark.usefixtures("known")
def test_a_proof_that_was_changed_anywhere_proves_nothing(root, tmp_path):
    file = proved(root, tmp_path)
    proof = json.loads(file.read_bytes())
    (forged,) = sealed([make_record(1, facts={"cause": "forged"})], json.loads(proof["lines"][0])["previous"])
    changes = [
        ("lines", [forged.decode().rstrip(), *proof["lines"][1:]]),
        ("lines", [proof["lines"][0].replace("quota-cpu", "quota-gpu"), *proof["lines"][1:]]),
        ("lines", proof["lines"][:-1]),
        ("lines", proof["lines"][::-1]),
        ("lines", []),
        ("lines", [proof["lines"][0], *proof["lines"]]),
        ("lines", ["[" * 200_000]),
        ("lines", ["\x1b[2J"]),
        ("head", {**proof["head"], "incident": "inc-b"}),
        ("head", {**proof["head"], "records": 4}),
        ("head", {**proof["head"], "length": 1}),
        ("head", {**proof["head"], "hash": "e" * 64}),
        ("leaf", proof["leaf"] + 1),
        ("leaf", -1),
        ("leaf", 2**70),
        ("path", proof["path"][:-1]),
        ("path", [*proof["path"], "e" * 64]),
        ("path", proof["path"][::-1]),
        ("path", ["no hex"]),
        ("checkpoint", {**proof["checkpoint"], "leaves": 4}),
        ("checkpoint", {**proof["checkpoint"], "root": "e" * 64}),
    ]
    for name, value in changes:
        file.write_text(json.dumps({**proof, name: value}))
        found = told("verify", "--proof", str(file), code=1)
        assert (found["ok"], bool(found["why"])) == (False, True), (name, value)
        assert "proves nothing" in medic("verify", "--proof", str(file), code=1).stderr


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 200_000, b"\xff", b'{"lines":"x"}'])
def test_what_is_no_proof_is_refused(tmp_path, content):
    file = tmp_path / "proof.json"
    file.write_bytes(content)
    assert "is no proof" in medic("verify", "--proof", str(file), code=2).stderr


@pytest.mark.usefixtures("known")
def test_a_record_that_no_checkpoint_knows_of_has_no_proof(root, tmp_path):
    said = " ".join(medic("prove", "inc-a", "--record", "5", code=2).stderr.split())
    assert "checkpoint 3 knows of records 0 to 4 of inc-a alone" in said
    tampered(root)
    said = " ".join(medic("prove", "inc-a", "--record", "1", code=2).stderr.split())
    assert "the records of inc-a do not hold" in said
    Attacker(root).write(CHECKPOINTS, [b"{}\n"])
    assert "the checkpoints do not hold" in medic("prove", "inc-a", "--record", "1", code=2).stderr


@pytest.mark.usefixtures("known")
def test_a_proof_is_not_written_over_another_file(root, tmp_path):
    file = proved(root, tmp_path)
    assert "exists" in medic("prove", "inc-a", "--record", "1", "--output", str(file), code=2).stderr


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize("option", ["--store", "--checkpoint"])
def test_a_proof_needs_no_trail(option):
    assert "--proof needs neither" in medic("verify", "--proof", "x", option, "y", code=2).stderr


# ------------------------------------------------------------------------------------------------------- key


def test_a_new_pair_signs_and_verifies(monkeypatch, trail, tmp_path):
    done = medic("key", "--new")
    private = done.stdout.splitlines()[0].removeprefix("MEDIC_ANCHOR_KEY=")
    public = done.stdout.splitlines()[1].removeprefix("public key").strip()
    assert (len(base64.b64decode(private)), len(base64.b64decode(public))) == (32, 32)
    assert medic("key", "--new").stdout != done.stdout
    settle(monkeypatch, tmp_path, MEDIC_ANCHOR_KEY=private)
    assert medic("key").stdout == f"{public}\n"
    trail.append_record(make_record(0))
    assert told("anchor")["checkpoint"]["key"] == public
    assert told("verify", "--key", public)["ok"]


@pytest.mark.usefixtures("trail")
def test_without_a_key_there_is_none_to_print(monkeypatch):
    monkeypatch.delenv("MEDIC_ANCHOR_KEY")
    assert "MEDIC_ANCHOR_KEY is not set" in medic("key", code=2).stderr


# ------------------------------------------------------------------------------------------------- the timer


@pytest.mark.usefixtures("notes")
def test_the_timer_signs_and_the_log_is_a_checkpoint_from_outside(logged, tmp_path):
    timers.anchor()
    timers.anchor()
    assert [line["event"] for line in logged] == ["checkpoint.written"]
    (tmp_path / "line.json").write_text(json.dumps(logged[0]))
    assert told("verify", "--checkpoint", str(tmp_path / "line.json"))["last"]["number"] == 4


@pytest.mark.usefixtures("notes")
def test_the_timer_without_a_key_warns(logged, monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path)
    timers.anchor()
    assert [(line["event"], line["log_level"]) for line in logged] == [("checkpoint.skipped", "warning")]


@pytest.mark.usefixtures("notes")
def test_the_timer_tells_of_what_does_not_hold_as_an_error(logged, root):
    tampered(root)
    timers.anchor()
    assert [(line["event"], line["log_level"]) for line in logged] == [("trail.broken", "error")]
    assert (logged[0]["what"], logged[0]["incident"], logged[0]["record"]) == ("changed", "inc-a", 2)


def test_another_key_goes_on_from_the_first(monkeypatch, trail, notes, tmp_path):
    settle(monkeypatch, tmp_path, MEDIC_ANCHOR_KEY=OTHER_KEY)
    assert told("anchor")["checkpoint"]["previous"] == codec.digest_of(notes[2])
    assert told("verify", code=1)["first_bad"]["what"] == "key"
    assert told("verify", "--key", PUBLIC, "--key", OTHER_PUBLIC)["ok"]


@pytest.mark.usefixtures("notes")
def test_a_proof_of_an_old_record_of_a_long_incident_can_be_read(root, tmp_path):
    store = FolderStore(root)
    lines = sealed(make_record(number, "inc-big", at=NOON, facts={"words": "x" * 1_000}) for number in range(4_500))
    store.append("audit/inc-big/0000.jsonl", b"".join(lines), 0)
    Trail(store).open_incident(make_incident(id="inc-big"), "nonce", NOON)
    anchoring.anchor(store, KEY, NOON + QUARTER)
    file = tmp_path / "proof.json"
    assert medic("prove", "inc-big", "--record", "0", "--output", str(file)).exit_code == 0
    assert file.stat().st_size > 4 * 1024 * 1024
    assert "Proved: record 0 of inc-big" in medic("verify", "--proof", str(file)).stdout

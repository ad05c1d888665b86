"""``medic approvals``, on a trail in a folder."""

import json
import shlex
import stat
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from local.cli import app
from local.commands import approvals
from remediations.adapters.folder import FolderStore
from remediations.approval import token
from remediations.model import Decision, End, Mode, Verdict
from remediations.services import EvidenceStore
from remediations.trail import Answered, Ended, Question
from tests.builders import DEPLOYMENT, make_diagnosis, make_incident, make_plan
from tests.commands import settle

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
KEYS = {"k1": "0123456789abcdef0123456789abcdef"}


@pytest.fixture
def trail(monkeypatch, tmp_path):
    return settle(monkeypatch, tmp_path)


def medic(*arguments: str):
    return CliRunner().invoke(app, ["approvals", *arguments])


def listed(*arguments: str):
    result = medic("--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["questions"]


def ask(trail, folder, name="inc-aaa1", **changes) -> Question:
    """Put a question on the trail, and what it is about into the evidence store."""
    incident = make_incident(id=name)
    plan = make_plan(diagnosis=make_diagnosis(incident=incident))
    decision = Decision(
        plan=plan,
        verdict=Verdict.ASK,
        would=Verdict.ASK,
        mode=Mode.ASK,
        mode_words="policy says ask for retry",
        answers=(),
        situation="s" * 64,
    )
    trail.open_incident(incident, "n", NOW)
    question = Question(
        at=NOW,
        incident_id=name,
        plan=changes.pop("plan", plan.digest),
        decision=EvidenceStore(FolderStore(folder / "store/evidence")).put(decision),
        policy_version="v1",
        expires_at=changes.pop("expires_at", NOW + HOUR),
    )
    trail.ask(question)
    return question


def posted(call: str) -> tuple[str, str]:
    """What a shell would send: the signed token, and the decision."""
    program, _, method, url, _, body = shlex.split(call)
    assert (program, method) == ("curl", "POST")
    return url, json.loads(body)["decision"]


def test_a_question_is_listed_with_what_would_be_done_and_how_to_answer(trail, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_APPROVAL_KEYS", json.dumps(KEYS))
    question = ask(trail, tmp_path)
    (one,) = listed("--to", "http://localhost:9/")
    assert one["calls"] == [f"PUT {DEPLOYMENT}?api-version=2024-10-01"]
    assert (one["incident"], one["resource"], one["why"]) == ("inc-aaa1", DEPLOYMENT, "policy says ask for retry")
    assert datetime.fromisoformat(one["expires_at"]) == question.expires_at
    for answer in ("approve", "reject"):
        url, decision = posted(one[answer])
        base, _, signed = url.rpartition("/")
        assert (base, decision) == ("http://localhost:9/api/approvals", answer)
        asked = token.Token(incident_id="inc-aaa1", plan=question.plan, policy_version="v1")
        assert token.read(signed, KEYS, HOUR) == asked


def test_people_read_calls_that_they_can_copy(trail, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_APPROVAL_KEYS", json.dumps(KEYS))
    ask(trail, tmp_path)
    lines = medic().stdout.splitlines()
    assert lines[0] == "inc-aaa1"
    (approve,) = [line.removeprefix("approve").strip() for line in lines if line.startswith("approve")]
    url, decision = posted(approve)
    assert url.startswith("http://127.0.0.1:7071/api/approvals/k1.")
    assert decision == "approve"
    assert lines[-1] == "1 open question."


def test_without_a_key_it_says_what_to_set(trail, tmp_path) -> None:
    ask(trail, tmp_path)
    (one,) = listed()
    assert (one["approve"], one["reject"]) == (None, None)
    result = medic()
    assert "approve" not in result.stdout
    assert result.stderr.startswith("medic: no key signs links here: set MEDIC_APPROVAL_KEYS")


def test_the_keys_that_serve_keeps_sign_when_the_environment_has_none(trail, monkeypatch, tmp_path) -> None:
    question = ask(trail, tmp_path)
    file = approvals.keys_file(str(tmp_path / "store"))
    assert file is not None
    assert file == tmp_path / "store/approval-keys.json"
    made = []
    for _ in range(2):  # the second takes the place of the first
        made.append(json.loads(approvals.new_keys()))
        approvals.keep_keys(file, json.dumps(made[-1]))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.glob("approval*")] == [file.name]
    signed = posted(listed()[0]["approve"])[0].rpartition("/")[2]
    assert token.read(signed, made[0], HOUR) is None
    asked = token.read(signed, made[1], HOUR)
    assert asked is not None
    assert asked.plan == question.plan


def test_kept_keys_that_cannot_be_used_are_told(trail, tmp_path) -> None:
    ask(trail, tmp_path)
    (tmp_path / "store/approval-keys.json").write_text("{")
    result = medic()
    assert result.exit_code == 2
    assert "approval-keys.json cannot be used: " in result.stderr
    assert result.stderr.endswith("Start `medic serve` again: it makes fresh ones.\n")


def test_a_store_in_blobs_has_no_file_of_keys() -> None:
    assert approvals.keys_file("https://st.blob.core.windows.net") is None


@pytest.mark.parametrize("why", ["gone", "changed", "another plan"])
def test_what_cannot_be_shown_can_only_be_rejected(why, trail, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_APPROVAL_KEYS", json.dumps(KEYS))
    ask(trail, tmp_path, **({"plan": "f" * 64} if why == "another plan" else {}))
    for file in (tmp_path / "store/evidence").rglob("*"):
        if file.is_file() and why == "gone":
            file.unlink()
        elif file.is_file() and why == "changed":
            file.write_bytes(file.read_bytes().replace(b"retry", b"other"))
    (one,) = listed()
    assert (one["effect"], one["calls"], one["approve"]) == (None, [], None)
    assert posted(one["reject"])[1] == "reject"
    assert "do not approve it" in " ".join(medic().stdout.split())


def test_only_questions_that_an_answer_would_still_settle_are_listed(trail, tmp_path) -> None:
    ask(trail, tmp_path, "inc-late", plan="1" * 64, expires_at=NOW - HOUR)
    answered = ask(trail, tmp_path, "inc-told", plan="2" * 64)
    trail.answer(Answered(at=NOW, plan=answered.plan, approved=True, words="approved"))
    ask(trail, tmp_path, "inc-over", plan="3" * 64)
    ended = Ended(at=NOW, end=End.NOTHING_TO_DO, words="", incident=make_incident(id="inc-over"))
    trail.end_incident(ended)
    assert listed() == []
    assert medic().stdout == "No question is open.\n"


def test_a_base_that_a_link_must_not_be_sent_to_is_refused(trail) -> None:
    result = medic("--to", "http://elsewhere.example")
    assert result.exit_code == 2
    assert "is plain http to another machine" in result.stderr

"""What records tell of - claims, intents, outcomes, questions, votes, answers - is proved by them."""

import pytest

from remediations import codec
from remediations.adapters.folder import FolderCopy, FolderStore
from remediations.model import Caller
from remediations.proof import anchoring, checking
from remediations.proof.checking import Kind
from remediations.trail import Answered, Question, Trail, Vote
from tests.builders import (
    DEPLOYMENT,
    NOON,
    SOMEBODY,
    make_effect,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
)
from tests.trails import KEY

PLAN = "p" * 64
INCIDENT = make_incident().id
BESIDE = {
    "incident": f"incidents/{INCIDENT}/opened",
    "question": f"approvals/{PLAN}/asked",
    "vote": None,
    "answer": f"approvals/{PLAN}/decided",
    "intent": f"effects/{PLAN}/0/1/intent",
    "outcome": f"effects/{PLAN}/0/1/outcome",
}


@pytest.fixture
def root(tmp_path):
    """A trail on which something was asked, answered, intended and done, and which was signed."""
    trail = Trail(FolderStore(tmp_path / "trail"))
    journal = make_journal(trail)
    trail.open_incident(make_incident(), "nonce", NOON)
    journal.opened(make_incident())
    question = Question(
        at=NOON, incident_id=INCIDENT, plan=PLAN, decision="d", policy_version="v", expires_at=NOON, touches=()
    )
    trail.ask(question)
    journal.asked(question)
    vote = Vote(at=NOON, plan=PLAN, by=Caller(oid=SOMEBODY.oid, tid=SOMEBODY.tid), approves=True)
    trail.vote(vote)
    journal.voted(INCIDENT, vote)
    answered = Answered(at=NOON, plan=PLAN, approved=True, words="approved", by=vote.by)
    trail.answer(answered)
    journal.answered(INCIDENT, answered)
    trail.open_intent(make_effect(), make_intent(), (DEPLOYMENT.lower(),))
    journal.intended(make_intent())
    trail.close_intent(PLAN, 0, 1, make_outcome())
    journal.came_of(make_intent(), make_outcome())
    anchoring.anchor(trail.store, KEY, NOON)
    return tmp_path / "trail"


def verdict(root):
    copy = FolderCopy(root)
    return checking.verify(copy, torn=copy.torn())


def told(root, stage):
    """Which record is of a stage, and what it says stands beside it."""
    records = Trail(FolderStore(root)).records(INCIDENT)
    (record,) = [one for one in records if one.stage == stage]
    beside = record.facts["beside"]
    assert isinstance(beside, dict)
    return record.seq, beside


@pytest.mark.parametrize("stage", BESIDE)
def test_each_record_names_what_was_created_before_it_and_its_digest(root, stage):
    _, beside = told(root, stage)
    assert verdict(root).ok
    assert BESIDE[stage] in {None, beside["name"]}
    assert beside["sha256"] == codec.digest((root / str(beside["name"])).read_bytes())


@pytest.mark.parametrize("stage", BESIDE)
def test_what_stands_beside_a_record_and_was_changed_is_named(root, stage):
    number, beside = told(root, stage)
    file = root / str(beside["name"])
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    found = verdict(root).first_bad
    assert found is not None
    assert (found.what, found.file, found.incident, found.record) == (Kind.CHANGED, beside["name"], INCIDENT, number)
    assert found.words == f"it is not what record {number} tells of: it was changed after it was written"


@pytest.mark.parametrize("stage", BESIDE)
def test_what_stands_beside_a_record_and_was_taken_out_is_named(root, stage):
    number, beside = told(root, stage)
    (root / str(beside["name"])).unlink()
    found = verdict(root).first_bad
    assert found is not None
    assert (found.what, found.file, found.record) == (Kind.REMOVED, beside["name"], number)


def test_an_incident_beside_whose_records_something_was_changed_is_not_signed(root):
    trail = Trail(FolderStore(root))
    make_journal(trail).linked(INCIDENT, "event-2", "Microsoft.Resources.ResourceWriteFailure")
    (root / BESIDE["intent"]).write_bytes(b"{}")
    anchored = anchoring.anchor(trail.store, KEY, NOON)
    assert not anchored.is_new
    assert [finding.what for finding in anchored.findings] == [Kind.CHANGED]


@pytest.mark.parametrize("name", ["/etc/hostname", "../../secret", "effects/../x", "notes.txt", ""])
def test_a_forged_name_leads_nowhere(tmp_path, name):
    (tmp_path / "secret").write_bytes(b"x")
    trail = Trail(FolderStore(tmp_path / "trail"))
    beside = {"name": name, "sha256": codec.digest(b"x")}
    make_journal(trail).record("inc-a", "intent", "forged", beside=beside)
    found = verdict(tmp_path / "trail").first_bad
    assert found is not None
    assert (found.what, found.file) == (Kind.REMOVED, name)

"""``medic replay``, on a store in a folder."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from local.cli import app
from remediations import codec, planning
from remediations.actions import ACTIONS
from remediations.adapters.folder import FolderStore
from remediations.guards import decide
from remediations.model import AuditRecord, Found, Mode, Plan
from remediations.policy import ActionPolicy, Policy
from remediations.proof import chain
from remediations.services import EvidenceStore
from remediations.situation import survey
from tests.builders import US, make_diagnosis, make_evidence, make_incident, make_journal, make_state
from tests.commands import settle

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
SAME = "actions: {retry: {mode: auto, backoff: PT0S}}\n"
STRICTER = "actions: {retry: {mode: ask, backoff: PT0S, ceiling: PT1M}}\n"


@pytest.fixture
def store(monkeypatch, tmp_path):
    """A folder whose trail holds a retry that was decided on an hour ago, and one that was two months ago."""
    trail = settle(monkeypatch, tmp_path)
    evidence_store = EvidenceStore(FolderStore(tmp_path / "store" / "evidence"))
    policy = Policy(actions={"retry": ActionPolicy(mode=Mode.AUTO, backoff=timedelta())})
    for name, at in (("inc-new", NOW - 60 * MINUTE), ("inc-old", NOW - timedelta(days=60))):
        incident = make_incident(id=name, failed_at=at - 5 * MINUTE)
        written = at - 8 * MINUTE
        evidence = make_evidence(
            incident=incident,
            collected_at=at,
            resource=Found(make_state(created_at=written, last_modified_at=written)),
            history=Found(()),
        )
        journal = make_journal(trail, iter([at] * 9).__next__)
        trail.open_incident(incident, f"nonce-{name}", at)
        journal.opened(incident)
        diagnosis = make_diagnosis(incident=incident, evidence=evidence_store.put(evidence))
        journal.diagnosed(diagnosis)
        plan = planning.propose(diagnosis, evidence, ACTIONS, policy)
        assert isinstance(plan, Plan)
        journal.planned(plan)
        action = ACTIONS["retry"]
        seen = survey(
            plan,
            evidence,
            action.fingerprint(plan.steps, evidence),
            policy=policy,
            ceiling=Mode.AUTO,
            trail=trail,
            own=US,
            now=at,
        )
        decision = decide(plan, seen, action.guards, situation_digest=evidence_store.put(seen))
        journal.decided(decision, when="deciding", kept=evidence_store.put(decision))
    (tmp_path / "same.yaml").write_text(SAME)
    (tmp_path / "stricter.yaml").write_text(STRICTER)
    return tmp_path / "store"


def medic(*arguments: str):
    return CliRunner().invoke(app, ["replay", *arguments])


def files(store):
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_the_same_policy_changes_nothing_and_exits_0(store):
    told = medic("--policy", "same.yaml")
    assert told.exit_code == 0
    assert "0 of 1 decision in 1 incident would change" in told.stdout
    assert "1 to the letter" in told.stdout
    assert "inc-new" not in told.stdout


def test_what_changes_is_told_with_its_guard_and_exits_1(store):
    told = medic("--policy", "stricter.yaml")
    assert told.exit_code == 1
    words = " ".join(told.stdout.split())
    assert "1 of 1 decision in 1 incident would change" in words
    assert "retry: run → refuse" in words
    assert "deny (the failure is 5 min old; the ceiling is 1 min)" in words
    assert all(len(line) <= 80 for line in told.stdout.splitlines())


def test_programs_get_every_change_with_both_sides(store):
    told = medic("--policy", "stricter.yaml", "--json")
    answer = json.loads(told.stdout)
    assert told.exit_code == 1
    assert (answer["mode"], answer["totals"]["kinds"]["changed"]) == (None, 1)
    assert answer["totals"]["by"] == {"in-time": 1, "mode": 1}
    (decision,) = answer["decisions"]
    assert (decision["incident"], decision["by"]) == ("inc-new", ["in-time", "mode"])
    assert (decision["before"]["verdict"], decision["after"]["verdict"]) == ("run", "refuse")


def test_all_shows_what_stays_too(store):
    answer = json.loads(medic("--policy", "same.yaml", "--json", "--all", "--since", "90d").stdout)
    assert [one["incident"] for one in answer["decisions"]] == ["inc-old", "inc-new"]
    assert "What stays" in medic("--policy", "same.yaml", "--all").stdout


def test_only_the_time_that_was_asked_for_is_replayed(store):
    told = medic("--policy", "stricter.yaml", "--since", "90d", "--until", "30d")
    assert "inc-old" in told.stdout
    assert "inc-new" not in told.stdout


def test_another_ceiling_can_be_tried(store):
    told = medic("--policy", "same.yaml", "--mode", "dry-run")
    assert "retry: run → dry run, would run" in told.stdout
    assert told.exit_code == 1


def test_evidence_that_has_expired_is_told_and_exits_1(store):
    for path in (store / "evidence").rglob("*"):
        if path.is_file() and b'"collected_at"' in path.read_bytes():
            path.unlink()
    told = medic("--policy", "same.yaml")
    assert told.exit_code == 1
    assert "1 expired" in told.stdout
    assert "has expired" in told.stdout


def test_nothing_in_the_store_is_touched(store):
    before = files(store)
    medic("--policy", "stricter.yaml", "--all")
    assert files(store) == before


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_time_without_decisions_proves_nothing_and_exits_1(store, options):
    told = medic("--policy", "same.yaml", "--since", "5m", *options)
    assert told.exit_code == 1
    assert '"decisions": []' in told.stdout if options else "holds no decision from" in told.stdout


@pytest.mark.parametrize("name", ["other", "empty"])
def test_a_folder_without_a_trail_is_refused(store, tmp_path, name):
    (tmp_path / "other" / "notes").mkdir(parents=True)
    (tmp_path / "empty" / "trail").mkdir(parents=True)
    told = medic("--policy", "same.yaml", "--store", name)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"no trail lies in {name}. Name the folder that MEDIC_STORE names" in told.stderr


def test_a_trail_without_its_evidence_is_refused(store):
    told = medic("--policy", "same.yaml", "--store", str(store / "trail"))
    assert (told.exit_code, told.stdout) == (2, "")
    assert "is a copy of the container trail, and the evidence that its decisions rest on is missing" in told.stderr


def test_a_policy_that_is_not_there_is_named_with_its_option(store):
    told = medic("--policy", "nope.yaml")
    assert told.exit_code == 2
    assert "Name a readable file with --policy." in told.stderr
    assert "MEDIC_POLICY" not in told.stderr


def test_another_store_can_be_named(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIC_STORE", str(tmp_path / "gone"))
    assert medic("--policy", "same.yaml").exit_code == 2
    assert "1 to the letter" in medic("--policy", "same.yaml", "--store", str(store)).stdout


def test_a_store_that_is_not_there_is_refused(store):
    told = medic("--policy", "same.yaml", "--store", "nowhere")
    assert told.exit_code == 2
    assert "--store 'nowhere' is no folder." in told.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("actions: {retry: {mode: always}}", "$.actions.retry.mode"),
        ("actions: {reboot: {mode: auto}}", "There is no such action."),
    ],
)
def test_a_policy_that_cannot_be_used_is_named_as_the_check_does(store, tmp_path, content, words):
    (tmp_path / "bad.yaml").write_text(content)
    told = medic("--policy", "bad.yaml")
    assert told.exit_code == 2
    assert words in told.stderr


def test_a_resource_name_cannot_steer_the_terminal(store):
    audit = store / "trail" / "audit" / "inc-new" / "0000.jsonl"
    hostile, previous = b"", chain.FIRST
    for line in audit.read_bytes().replace(b"mlw-prod", b"\\u001b[2J").splitlines():
        sealed, previous = chain.seal(codec.decode(AuditRecord, line), previous)
        hostile += sealed
    audit.write_bytes(hostile)
    audit.with_name(".0000.jsonl.length").unlink()
    told = medic("--policy", "stricter.yaml").stdout
    assert "\N{REPLACEMENT CHARACTER}[2J" in told
    assert "\x1b[2J" not in told


def test_an_incident_whose_record_was_changed_is_told_and_exits_1(store):
    audit = store / "trail" / "audit" / "inc-new" / "0000.jsonl"
    audit.write_bytes(audit.read_bytes().replace(b'"verdict":"run"', b'"verdict":"ask"'))
    told = medic("--policy", "same.yaml")
    assert told.exit_code == 1
    words = " ".join(told.stdout.split())
    assert "1 unreadable" in words
    assert "record 3 of inc-new was changed: `medic audit verify` tells what else was changed" in words

"""``medic report``, ``medic audit`` and ``medic pause``, on a trail in a folder."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from local.cli import app
from local.commands.terminal import own_services
from remediations.model import (
    Answer,
    Answers,
    Caller,
    Decision,
    End,
    ErrorDetail,
    Found,
    GuardAnswer,
    Load,
    Mode,
    Operation,
    Scoring,
    Verdict,
)
from remediations.policy import Scope
from remediations.trail import Answered, Ended, Vote
from tests.builders import (
    DEPLOYMENT,
    make_diagnosis,
    make_evidence,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_plan,
)
from tests.commands import settle

CALL = f"PUT {DEPLOYMENT}?api-version=2024-10-01"
NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def trail(monkeypatch, tmp_path):
    return settle(monkeypatch, tmp_path)


def medic(*arguments: str):
    return CliRunner().invoke(app, arguments)


def walk(trail, name: str, *, at: datetime, would=Verdict.RUN, end=End.DRY_RUN) -> None:
    """Put one incident on the trail that ended in a dry run, or was refused."""
    incident = make_incident(id=name, failed_at=at)
    trail.open_incident(incident, f"nonce-{name}", at)
    journal = make_journal(trail, lambda: at)
    journal.opened(incident)
    plan = make_plan(diagnosis=make_diagnosis(incident=incident))
    journal.planned(plan)
    answers = [GuardAnswer(guard="not-paused", answer=Answer.ALLOW, words="no pause holds")]
    if would is Verdict.REFUSE:
        words = "the failure is 3 h old; the ceiling is 2 h"
        answers.append(GuardAnswer(guard="in-time", answer=Answer.DENY, words=words))
    decision = Decision(
        plan=plan,
        verdict=Verdict.REFUSE if would is Verdict.REFUSE else Verdict.DRY_RUN,
        would=would,
        mode=Mode.DRY_RUN,
        mode_words="policy says auto for retry; MEDIC_MODE permits dry-run at most",
        answers=tuple(answers),
        situation="s" * 64,
    )
    journal.decided(decision, when="deciding")
    journal.ended(name, end, "so it ended")
    cause = "canceled-higher-priority"
    trail.end_incident(Ended(at=at, end=end, words="so it ended", incident=incident, cause_id=cause, action="retry"))


# ------------------------------------------------------------------------------------ what cannot be read

DEEP = b'{"x":' + b"[" * 100_000


def spoil(trail, name: str, number: int) -> None:
    """Put something that is no record in the place of one."""
    audit = trail.store.root / "audit" / name / "0000.jsonl"
    lines = audit.read_bytes().splitlines(keepends=True)
    lines[number] = DEEP + b"\n"
    audit.write_bytes(b"".join(lines))
    audit.with_name(".0000.jsonl.length").unlink()


@pytest.mark.parametrize(
    "command", [("audit", "show", "inc-aaa1"), ("audit", "export", "--scenario", "inc-aaa1")], ids=["show", "scenario"]
)
def test_a_record_that_cannot_be_read_is_named_with_what_to_do(trail, command) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    spoil(trail, "inc-aaa1", 2)
    told = medic(*command)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "record 2 of inc-aaa1 cannot be read (the JSON is nested too deep): `medic audit verify`" in told.stderr


def test_a_report_goes_on_past_an_incident_that_cannot_be_read(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    walk(trail, "inc-bbb2", at=NOW - MINUTE)
    spoil(trail, "inc-aaa1", 2)
    told = medic("report", "--json")
    report = json.loads(told.stdout)
    assert told.exit_code == 1
    assert [one["incidents"] for one in report["decisions"]] == [["inc-bbb2"]]
    ((name, words),) = ((one["incident"], one["words"]) for one in report["unreadable"])
    assert name == "inc-aaa1"
    assert words.startswith("record 2 of inc-aaa1 cannot be read (the JSON is nested too deep)")
    shown = medic("report")
    assert shown.exit_code == 1
    assert "left out: record 2 of inc-aaa1 cannot be read" in " ".join(shown.stdout.split())


def test_a_report_goes_on_past_an_end_that_cannot_be_read(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    (trail.store.root / "incidents" / "inc-aaa1" / "ended").write_bytes(DEEP)
    (one,) = json.loads(medic("report", "--json").stdout)["unreadable"]
    assert one["incident"] == "inc-aaa1"
    assert one["words"] == (
        "how inc-aaa1 opened or ended cannot be read (the JSON is nested too deep): "
        "`medic audit verify` tells what was changed"
    )


@pytest.mark.parametrize("name", ["", " ", "inc", "inc-", "INC-"])
def test_a_name_that_names_no_incident_is_refused(trail, name) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    told = medic("audit", "show", name)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{name!r} names no incident. Give its id, or its beginning with a character or more" in told.stderr


def test_one_character_of_an_id_is_enough(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    assert medic("audit", "show", "inc-a").stdout.startswith("inc-aaa1")
    assert medic("audit", "show", "a").stdout.startswith("inc-aaa1")


# ----------------------------------------------------------------------------------------------- report


def test_the_report_counts_what_would_have_been_done_with_the_exact_calls(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    walk(trail, "inc-bbb2", at=NOW - 2 * MINUTE, would=Verdict.REFUSE, end=End.REFUSED)
    walk(trail, "inc-old1", at=NOW - timedelta(days=8))
    result = medic("report", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert sorted(report) == ["decisions", "done", "ends", "events", "since", "unfinished", "unreadable", "until"]
    kind = {"cause": "canceled-higher-priority", "action": "retry", "count": 1, "calls": [CALL]}
    assert report["decisions"] == [
        {"would": "run", "verdict": "dry-run", "incidents": ["inc-aaa1"], "guards": {}, **kind},
        {"would": "refuse", "verdict": "refuse", "incidents": ["inc-bbb2"], "guards": {"in-time": 1}, **kind},
    ]
    ended = {"cause": "canceled-higher-priority", "action": "retry", "count": 1}
    assert report["ends"] == [{"end": "dry-run", **ended}, {"end": "refused", **ended}]
    assert (report["done"], report["unfinished"], report["events"]) == ([], [], {})


def test_people_read_the_same_report(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW - MINUTE)
    walk(trail, "inc-bbb2", at=NOW - 2 * MINUTE, would=Verdict.REFUSE, end=End.REFUSED)
    result = medic("report")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "1 would have acted canceled-higher-priority retry -" in lines
    assert "1 refuse canceled-higher-priority retry in-time (1)" in lines
    assert f"would have acted: {CALL}" in lines
    assert "Nothing was sent to Azure." in lines


def test_what_was_really_sent_stands_with_its_outcome(trail) -> None:
    incident = make_incident(id="inc-aaa1", failed_at=NOW)
    trail.open_incident(incident, "nonce", NOW)
    journal = make_journal(trail, lambda: NOW)
    plan = make_plan(diagnosis=make_diagnosis(incident=incident))
    intent = make_intent(incident_id="inc-aaa1", plan=plan.digest, attempt=1, decision="d" * 64)
    journal.intended(intent)
    journal.came_of(intent, make_outcome())
    result = medic("report")
    assert "retry for inc-aaa1: accepted, Azure took the call (201)" in result.stdout
    assert f"  {CALL}\n" in result.stdout
    assert "not ended: inc-aaa1" in result.stdout
    assert json.loads(medic("report", "--json").stdout)["done"][0]["status"] == "accepted"


def test_an_empty_trail_is_told_with_its_place(trail, tmp_path) -> None:
    for command in (("report",), ("audit", "list")):
        result = medic(*command)
        assert result.exit_code == 0
        assert f"The trail in {tmp_path / 'store'} holds no" in result.stdout


@pytest.mark.parametrize("command", [("report",), ("audit", "list")])
def test_a_time_that_is_none_is_wrong_usage(command, trail) -> None:
    result = medic(*command, "--since", "7x")
    assert result.exit_code == 2
    assert "'7x' is no duration. Write 7d, 24h, 30m or 1h30m." in " ".join(result.stderr.split())


# ------------------------------------------------------------------------------------------------ audit


def test_incidents_are_listed_the_newest_first(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW - 120 * MINUTE)
    walk(trail, "inc-bbb2", at=NOW - 60 * MINUTE, would=Verdict.REFUSE, end=End.REFUSED)
    listed = json.loads(medic("audit", "list", "--json").stdout)["incidents"]
    at = (NOW - 60 * MINUTE).isoformat().replace("+00:00", "Z")
    assert [one["incident"] for one in listed] == ["inc-bbb2", "inc-aaa1"]
    assert listed[0] == {
        "incident": "inc-bbb2",
        "resource": DEPLOYMENT,
        "workspace": "mlw-prod",
        "operation": "write",
        "scoring": None,
        "source": "event-grid",
        "failed_at": at,
        "opened_at": at,
        "ended_at": at,
        "end": "refused",
        "words": "so it ended",
        "cause": "canceled-higher-priority",
        "action": "retry",
        "effects": 0,
    }
    recent = json.loads(medic("audit", "list", "--since", "90m", "--json").stdout)["incidents"]
    assert [one["incident"] for one in recent] == ["inc-bbb2"]
    assert "2 incidents. `medic audit show INCIDENT` tells one in full." in medic("audit", "list").stdout


@pytest.mark.parametrize("name", ["inc-aaa1", "inc-a", "aaa", "AAA1"])
def test_an_incident_is_told_by_the_beginning_of_its_id(name, trail) -> None:
    walk(trail, "inc-aaa1", at=NOW)
    walk(trail, "inc-bbb2", at=NOW)
    shown = json.loads(medic("audit", "show", name, "--json").stdout)
    assert shown["incident"] == "inc-aaa1"
    assert [(record["seq"], record["stage"]) for record in shown["records"]] == [
        (0, "incident"),
        (1, "plan"),
        (2, "decision"),
        (3, "end"),
    ]


def test_people_read_an_incident_in_order_with_every_guards_answer(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW, would=Verdict.REFUSE, end=End.REFUSED)
    result = medic("audit", "show", "aaa")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[:2] == ["inc-aaa1", DEPLOYMENT]
    assert CALL in lines
    assert "\N{CHECK MARK} not-paused: no pause holds" in lines
    assert "\N{BALLOT X} in-time: the failure is 3 h old; the ceiling is 2 h" in lines
    digest = trail.records("inc-aaa1")[3].hash
    assert f"3  {NOW:%m-%d %H:%M:%S}  end          refused: so it ended  {digest[:8]}" in lines
    assert "Proof of a record, by its number: medic audit prove inc-aaa1 --record 3" in lines


def test_an_incident_names_who_made_its_records(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW)
    person = Caller(oid="00000000-0000-4000-8000-000000000001", tid="00000000-0000-4000-9000-000000000000")
    make_journal(trail, lambda: NOW).voted("inc-aaa1", Vote(at=NOW, plan="p" * 64, by=person, approves=True))
    make_journal(trail, lambda: NOW).answer_refused("inc-aaa1", "p" * 64, "no sign-in", Caller(), "n")
    shown = " ".join(medic("audit", "show", "aaa1").stdout.split())
    assert "by medic dddddddd-1111-4222-8333-eeeeeeeeeeee client id ffffffff-1111-4222-8333-eeeeeeeeeeee" in shown
    assert "vote approved by 00000000-0000-4000-8000-000000000001" in shown
    named = "by person 00000000-0000-4000-8000-000000000001 of tenant 00000000-0000-4000-9000-000000000000"
    assert shown.count(named) == 1
    assert shown.count("by person, whose id is not known") == 1


def test_no_words_of_others_steer_the_terminal(trail) -> None:
    incident = make_incident(id="inc-aaa1")
    trail.open_incident(incident, "nonce", NOW)
    words = "\x1b[2J\x9b1A \u202egone [red]x[/red]"
    by = Caller(oid="\x1b]0;x\x07", appid="\u2066", tid="\x9b")
    answered = Answered(at=NOW, plan="p" * 64, approved=False, words=words, by=by)
    make_journal(trail, lambda: NOW).answered("inc-aaa1", answered)
    trail.end_incident(Ended(at=NOW, end=End.REJECTED, words=words, incident=incident, cause_id="\x1b[8m"))
    for command in (("audit", "list"), ("audit", "show", "aaa1"), ("audit", "list", "--json")):
        result = medic(*command)
        assert result.exit_code == 0
        assert "gone [red]x[/red]" in " ".join(result.stdout.split())
        assert not set(result.stdout) & set("\x1b\x9b\x07\u202e\u2066")


def test_a_list_folds_no_name_at_80_columns(trail) -> None:
    walk(trail, "inc-1a36baff33a40c88c8fd9fd6", at=NOW)
    lines = [line.rstrip() for line in medic("audit", "list").stdout.splitlines()]
    assert f" {NOW:%Y-%m-%d %H:%M}   inc-1a36baff33a40c88c8fd9fd6  dry-run" in lines
    assert f"{' ' * 20}mlw-prod/credit-scoring/green" in lines
    assert f"{' ' * 20}canceled-higher-priority: so it ended" in lines


def test_a_list_that_a_filter_emptied_names_the_filters(trail, tmp_path) -> None:
    walk(trail, "inc-aaa1", at=NOW)
    result = medic("audit", "list", "--workspace", "mlw-\x1b[2J*", "--end", "open", "--since", "2026-01-01")
    held = "--since 2026-01-01 00:00:00 UTC, --workspace mlw-\N{REPLACEMENT CHARACTER}[2J*, --end open"
    words = f"The trail in {tmp_path / 'store'} holds no incident for {held}.\n"
    assert (result.exit_code, result.stdout) == (0, words)


def test_a_full_id_is_itself_also_when_others_begin_with_it(trail) -> None:
    walk(trail, "inc-aaa1", at=NOW)
    walk(trail, "inc-aaa12", at=NOW)
    assert json.loads(medic("audit", "show", "inc-aaa1", "--json").stdout)["incident"] == "inc-aaa1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zzz", "no incident on the trail begins with 'zzz'. `medic audit list` shows them."),
        ("inc-c", "'inc-c' is the beginning of 2 incidents: inc-ccc1, inc-ccc2. Write more of it."),
        ("../x", "no incident on the trail begins with '../x'. `medic audit list` shows them."),
    ],
)
def test_what_names_no_one_incident_is_wrong_usage(name, words, trail) -> None:
    walk(trail, "inc-aaa1", at=NOW)
    walk(trail, "inc-ccc1", at=NOW)
    walk(trail, "inc-ccc2", at=NOW)
    result = medic("audit", "show", name)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"medic: {words}\n")


@pytest.mark.parametrize("content", [b"{", DEEP], ids=["malformed", "deep"])
def test_a_damaged_record_is_told_without_a_traceback(trail, tmp_path, content) -> None:
    walk(trail, "inc-aaa1", at=NOW)
    (tmp_path / "store/trail/incidents/inc-aaa1/opened").write_bytes(content)
    result = medic("audit", "list")
    assert result.exit_code == 2
    assert "a record on the trail cannot be read" in result.stderr
    assert "Traceback" not in result.output


# ------------------------------------------------------------------------------------------------ pause


def test_a_pause_is_on_the_trail_with_its_scope(trail) -> None:
    before = datetime.now(UTC)
    result = medic(
        "pause", "--until", "+2h", "--reason", "game day", "--workspace", "mlw-prod*", "--endpoint", "credit-*"
    )
    assert result.exit_code == 0
    (pause,) = trail.pauses(datetime.now(UTC))
    assert (pause.reason, pause.scope) == ("game day", Scope(workspace="mlw-prod*", endpoint="credit-*"))
    assert before <= pause.until - timedelta(hours=2) <= datetime.now(UTC)
    assert f"Paused until {pause.until:%Y-%m-%d %H:%M:%S} UTC: workspace mlw-prod*, endpoint credit-*." in result.stdout


def test_the_pauses_that_hold_are_listed(trail) -> None:
    assert medic("pause", "--list").stdout == "No pause holds.\n"
    medic("pause", "--until", "2999-01-01T00:00Z", "--reason", "for [red]ever[/red]")
    everything = {"subscription": "*", "resource_group": "*", "workspace": "*", "endpoint": "*", "tags": {}}
    assert json.loads(medic("pause", "--list", "--json").stdout) == {
        "pauses": [
            {
                "from": "trail",
                "until": "2999-01-01T00:00:00Z",
                "reason": "for [red]ever[/red]",
                "scope": everything,
            }
        ]
    }
    lines = [" ".join(line.split()) for line in medic("pause", "--list").stdout.splitlines()]
    assert "2999-01-01 00:00 everything for [red]ever[/red] trail" in lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "a pause needs --until and --reason"),
        (["--until", "+2h"], "a pause needs --until and --reason"),
        (["--until", "yesterday", "--reason", "x"], "'yesterday' is no time"),
        (["--until", "2020-01-01T00:00Z", "--reason", "x"], "is over"),
        (["--until", "+2h", "--reason", " "], "--reason is empty or longer than 500 characters"),
    ],
)
def test_a_pause_that_cannot_be_meant_is_not_written(options, words, trail) -> None:
    result = medic("pause", *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert list(trail.store.list("pauses/")) == []


# ------------------------------------------------------------------------------------------ requests that fail


def score(trail) -> None:
    told = Scoring(rule="oe-424", status="424", model_status="500", value=42.0, threshold=10.0)
    incident = make_incident(id="inc-ccc3", failed_at=NOW, operation=Operation.SCORE, source="alert", scoring=told)
    trail.open_incident(incident, "nonce", NOW)
    journal = make_journal(trail, lambda: NOW)
    journal.opened(incident)
    answers = (Answers(status="424", model_status="500", per_minute=4.2, most=9.0),)
    journal.collected(make_evidence(incident=incident, load=Found(Load(answers=answers))), "e" * 64, 1)
    journal.ended("inc-ccc3", End.ADVISED, "Read the log.")
    trail.end_incident(Ended(at=NOW, end=End.ADVISED, words="Read the log.", incident=incident, cause_id="model-error"))


def test_requests_that_fail_are_shown_with_what_the_alert_and_the_metrics_say(trail) -> None:
    score(trail)
    shown = " ".join(medic("audit", "show", "ccc3").stdout.split())
    alert = "alert rule 'oe-424': answers 424 (the model's own: 500), counted 42, threshold 10"
    assert f"requests to mlw-prod/credit-scoring/green fail, says {alert}" in shown
    assert "answers 424 (500): 4.2 a minute" in shown
    assert "Activity Log" not in shown


def test_requests_that_fail_stand_in_the_list_and_in_the_report(trail) -> None:
    score(trail)
    assert "requests to" in medic("audit", "list").stdout
    (told,) = json.loads(medic("audit", "list", "--json").stdout)["incidents"]
    assert (told["operation"], told["scoring"]["status"], told["scoring"]["value"]) == ("score", "424", 42.0)
    assert json.loads(medic("report", "--json").stdout)["ends"] == [
        {"end": "advised", "cause": "model-error", "action": None, "count": 1}
    ]


def test_what_a_person_should_type_is_shown_as_long_as_the_evidence_is_kept(trail) -> None:
    incident = make_incident(id="inc-ddd4")
    trail.open_incident(incident, "nonce", NOW)
    crash = ErrorDetail(code="ResourceNotReady", message="User container has crashed.", depth=0)
    log = "File \"/var/azureml-app/score.py\", line 3\nModuleNotFoundError: No module named 'xgboost'"
    evidence = make_evidence(incident=incident, report=(crash,), logs={"InferenceServer": Found(log)})
    digest = own_services().evidence.put(evidence)
    make_journal(trail, lambda: NOW).diagnosed(make_diagnosis(incident=incident, evidence=digest))
    shown = " ".join(medic("audit", "show", "ddd4").stdout.split())
    assert "az ml online-deployment get-logs -e credit-scoring -n green -g rg-ml-prod" in shown
    assert "No module named 'xgboost'" in shown
    assert "xgboost" not in medic("audit", "show", "ddd4", "--json").stdout

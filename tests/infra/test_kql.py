"""The queries of infra/kql: Kusto understands them, and each answers what its first lines ask."""

from datetime import timedelta

import pytest

from tests.infra.queries import Workspace, complaints, texts

QUERIES = texts()
HOUR = timedelta(hours=1)
MUTATIONS = {
    "a table that is not there": ("no-sweep", "AppTraces", "AppTrace"),
    "a column in the wrong case": ("no-sweep", "Message", "message"),
    "a column of another name": ("log-volume", "IsBillable", "Billable"),
    "a function that is not there": ("no-sweep", "parse_json(", "parsejson2("),
    "an aggregate that is not there": ("incidents", "count()", "counted()"),
    "an operator that is not there": ("no-sweep", "| where sweeps", "| were sweeps"),
    "an open bracket": ("missed-events", "toint(line.started) > 0", "toint(line.started > 0"),
    "an open quote": ("needs-person", '"alarm")', '"alarm)'),
    "a name that is not declared": ("no-checkpoint", "union broken, unsigned", "union broken, signed"),
    "a division by text": ("time-to-repair", "/ 60.0", '/ "60"'),
    "a join of no kind": ("approval-latency", "kind=inner", "kind=within"),
    "a type that is not there": ("lacking-permissions", "to typeof(string)", "to typeof(text)"),
    "a column that the query did not make": ("approvals-waiting", "by incident_id", "by incident"),
    "an order by nothing": ("incidents", "order by incidents desc", "order by count desc"),
}


@pytest.fixture(scope="module")
def said():
    mutants = {wrong: QUERIES[name].replace(old, new, 1) for wrong, (name, old, new) in MUTATIONS.items()}
    return complaints(QUERIES | mutants)


@pytest.mark.parametrize("name", QUERIES)
def test_kusto_reads_the_query_and_knows_every_name_in_it(said, name):
    assert said[name] == []


@pytest.mark.parametrize("wrong", MUTATIONS)
def test_kusto_finds_what_is_wrong(said, wrong):
    name, old, _ = MUTATIONS[wrong]
    assert old in QUERIES[name]
    assert said[wrong] != []


@pytest.mark.parametrize("name", QUERIES)
def test_the_query_says_what_it_answers(name):
    first, *_ = QUERIES[name].splitlines()
    assert first.startswith("// ")
    assert "?" in first


@pytest.fixture
def workspace():
    with Workspace() as opened:
        yield opened.log("Executing 'Functions.sweep'", "not {JSON}", '{"event": 7}')


def answer(workspace, name):
    return workspace.rows(QUERIES[name])


@pytest.mark.parametrize("name", sorted(set(QUERIES) - {"no-sweep"}))
def test_a_log_without_lines_of_ours_gives_nothing(workspace, name):
    assert answer(workspace, name) == []


def test_incidents_are_counted_by_how_they_ended(workspace):
    for number in range(3):
        keys = {"cause": "quota-cpu", "action": "delete-idle", "mode": "ask", "escalated": False}
        workspace.tell("incident.ended", end="repaired" if number else "expired", **keys)
    assert answer(workspace, "incidents") == [
        {"cause": "quota-cpu", "action": "delete-idle", "end": "repaired", "mode": "ask", "incidents": 2},
        {"cause": "quota-cpu", "action": "delete-idle", "end": "expired", "mode": "ask", "incidents": 1},
    ]
    assert {(row["end"], row["incidents"]) for row in answer(workspace, "incidents-per-day")} == {
        ("repaired", 2),
        ("expired", 1),
    }


def test_the_time_to_repair_is_that_of_repairs_in_minutes(workspace):
    for end, took_s in (("repaired", 60), ("repaired", 180), ("repaired", 120), ("advised", 9000)):
        workspace.tell("incident.ended", end=end, action="retry", took_s=took_s)
    (row,) = answer(workspace, "time-to-repair")
    assert (row["action"], row["repairs"], row["half_within"]) == ("retry", 3, 2.0)


def test_a_question_waits_until_it_is_answered_void_or_over(workspace):
    soon, past = "2099-01-01T00:00:00+00:00", "2020-01-01T00:00:00+00:00"
    for incident in ("inc-open", "inc-half", "inc-answered", "inc-void", "inc-ended"):
        workspace.tell("approval.requested", ago=HOUR, incident_id=incident, plan=f"of {incident}", expires_at=soon)
    workspace.tell("approval.requested", ago=HOUR, incident_id="inc-late", plan="p", expires_at=past)
    workspace.tell("approval.answered", incident_id="inc-half", plan="p", approves=True, is_final=False)
    workspace.tell("approval.answered", incident_id="inc-answered", plan="p", approves=True, is_final=True)
    workspace.tell("approval.void", incident_id="inc-void")
    workspace.tell("incident.ended", incident_id="inc-ended", end="expired")
    assert {row["incident_id"] for row in answer(workspace, "approvals-waiting")} == {"inc-open", "inc-half"}


def test_the_latency_of_answers_is_told_by_what_they_were(workspace):
    for plan, hours, approves in (("p1", 3, True), ("p2", 1, True), ("p3", 2, False)):
        workspace.tell("approval.requested", ago=hours * HOUR, incident_id="inc", plan=plan, expires_at="2099-01-01")
        workspace.tell("approval.answered", incident_id="inc", plan=plan, approves=approves, is_final=True)
    rows = {row["approved"]: (row["answers"], row["most_within"]) for row in answer(workspace, "approval-latency")}
    assert rows == {True: (2, 180), False: (1, 120)}


def test_deliveries_are_counted_by_what_became_of_them(workspace):
    for disposition in ("incident", "duplicate", "duplicate"):
        workspace.tell("event.handled", disposition=disposition, event_id="e")
    rows = {row["disposition"]: row["events"] for row in answer(workspace, "deliveries")}
    assert rows == {"incident": 1, "duplicate": 2}


def test_checkpoints_are_listed_newest_first(workspace):
    for number in (1, 2):
        workspace.tell("checkpoint.written", number=number, records=10 * number, root=f"{number:064x}")
    assert [(row["number"], row["records"]) for row in answer(workspace, "checkpoints")] == [(2, 20), (1, 10)]


def test_one_incident_is_told_in_order_by_the_beginning_of_its_id(workspace):
    workspace.tell("incident.ended", incident_id="inc-1a36", words="repaired")
    workspace.tell("incident.opened", ago=HOUR, incident_id="inc-1a36")
    workspace.tell("incident.opened", incident_id="inc-2b")
    assert answer(workspace, "one-incident") == []
    asked = QUERIES["one-incident"].replace('wanted = ""', 'wanted = "inc-1a"')
    assert [row["event"] for row in workspace.rows(asked)] == ["incident.opened", "incident.ended"]


def test_the_volume_of_the_log_is_what_is_billed(workspace):
    workspace.use([("AppTraces", 1.5, True), ("AppTraces", 2.5, True), ("Usage", 9.0, False)])
    assert answer(workspace, "log-volume") == [{"DataType": "AppTraces", "megabytes": 4.0}]

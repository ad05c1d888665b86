"""The alerts: each fires on what it is for and on nothing else, and is told of in docs/monitoring.md as it is."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.infra.deployment import HOME, Deployment, Scope, deploy
from tests.infra.queries import ROOT, Workspace, texts
from tests.pages import page, quoted, table

TOPIC, ELSEWHERE = (
    f"/subscriptions/{one}/resourceGroups/rg/providers/Microsoft.EventGrid/systemTopics/topic"
    for one in (HOME, "00000000-0000-0000-0000-00000000000b")
)
LOG, METRIC = "Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/metricAlerts"


def deployed(email: str) -> Deployment:
    given: Any = {
        "location": "westeurope",
        "tags": {},
        "workspaceId": "/workspace",
        "topicIds": [TOPIC, ELSEWHERE],
        "alertEmail": email,
    }
    return deploy(ROOT / "infra", "modules/alerts.bicep", given, Scope(HOME, "rg-medic"))


def alerts(made: Deployment, kind: str) -> dict[str, Any]:
    """Give the properties of each alert of a kind, by its name without prefix and topic."""
    return {
        one.body["name"].removeprefix("medic-").partition("-topic-")[0]: one.properties
        for one in made.resources
        if one.type == kind
    }


MAILED, UNMAILED = deployed("operators@example.com"), deployed("")
RULES, METRICS = alerts(MAILED, LOG), alerts(MAILED, METRIC)
QUERIES = texts()
PAGE = page("docs/monitoring.md")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ENDED = ("incident.ended", {"end": "repaired", "escalated": False, "incident_id": "inc-1"})
SIGNED = ("checkpoint.written", {"number": 1})
LACKS = "/subscriptions/0 cannot be listed: 403: our identity lacks Microsoft.X/read"

FIRES = [
    ("missed-events", [(MINUTE, "sweep.done", {"started": 1})]),
    ("stuck-incidents", [(MINUTE, "incident.stuck", {"incident_id": "inc-1", "open_minutes": 700})]),
    (
        "lacking-permissions",
        [(MINUTE, "permissions.missing", {"permissions": ["X/read"], "seen": "reading"})],
    ),
    ("lacking-permissions", [(MINUTE, "sweep.incomplete", {"why": LACKS})]),
    ("breaker-open", [(MINUTE, "breaker.tripped", {"action": "retry", "subscription": "0"})]),
    ("no-sweep", []),
    ("no-sweep", [(MINUTE, *ENDED)]),
    ("no-checkpoint", [(MINUTE, "trail.broken", {"what": "cut"})]),
    ("no-checkpoint", [(MINUTE, "checkpoint.untold", {"number": 3})]),
    ("no-checkpoint", [(MINUTE, "checkpoint.skipped", {})]),
    ("no-checkpoint", [(2 * HOUR, *ENDED)]),
    ("no-checkpoint", [(3 * HOUR, *SIGNED), (2 * HOUR, *ENDED)]),
    ("needs-person", [(MINUTE, "incident.ended", {"end": "not-repaired", "escalated": True})]),
    ("needs-person", [(MINUTE, "message.untold", {"channel": "teams"})]),
    ("needs-person", [(MINUTE, "event.handled", {"disposition": "alarm"})]),
    ("impaired", [(MINUTE, "policy.refused", {"error": "no such mode"})]),
    ("impaired", [(MINUTE, "intake.unreadable", {"name": "intake/x", "why": "no JSON"})]),
    ("impaired", [(MINUTE, "sweep.incomplete", {"why": "/subscriptions/0 cannot be listed: no answer"})]),
]
STAYS = [
    ("missed-events", [(MINUTE, "sweep.done", {"started": 0, "restarted": 4, "told": 2})]),
    ("stuck-incidents", [(MINUTE, "incident.opened", {"incident_id": "inc-1"})]),
    ("lacking-permissions", [(MINUTE, "sweep.incomplete", {"why": "/subscriptions/0 cannot be listed: no answer"})]),
    ("breaker-open", [(MINUTE, "plan.decided", {"action": "retry", "verdict": "ask"})]),
    ("no-sweep", [(MINUTE, "sweep.done", {"started": 0})]),
    ("no-checkpoint", []),
    ("no-checkpoint", [(MINUTE, *ENDED)]),  # the timer has not been round yet
    ("no-checkpoint", [(3 * HOUR, *ENDED), (2 * HOUR, *SIGNED), (MINUTE, *ENDED)]),
    ("needs-person", [(MINUTE, *ENDED), (MINUTE, "message.told", {}), (MINUTE, "event.handled", {"disposition": "x"})]),
    ("impaired", [(MINUTE, "sweep.incomplete", {"why": LACKS})]),
    ("impaired", [(MINUTE, "approval.refused", {"why": "it is closed"})]),
]


def span(text: str) -> timedelta:
    found = re.fullmatch(r"PT(\d+)([MH])", text)
    assert found is not None, text
    return int(found[1]) * (HOUR if found[2] == "H" else MINUTE)


def rows(name, lines):
    """What an alert's query gives of these lines, as far as its window reaches."""
    with Workspace() as workspace:
        for ago, event, keys in lines:
            if ago < span(RULES[name]["windowSize"]):
                workspace.tell(event, ago=ago, **keys)
        return workspace.rows(QUERIES[name])


@pytest.mark.parametrize(("name", "lines"), FIRES, ids=lambda one: one if isinstance(one, str) else str(len(one)))
def test_an_alert_fires(name, lines):
    assert rows(name, lines) != []


@pytest.mark.parametrize(("name", "lines"), STAYS, ids=lambda one: one if isinstance(one, str) else str(len(one)))
def test_an_alert_does_not_fire(name, lines):
    assert rows(name, lines) == []


def test_every_alert_is_tried_both_ways():
    assert {name for name, _ in FIRES} == {name for name, _ in STAYS} == set(RULES)


def test_the_sweep_that_ended_before_the_window_does_not_count():
    assert rows("no-sweep", [(2 * HOUR + MINUTE, "sweep.done", {"started": 0})]) == [{"sweeps": 0}]


def test_the_query_says_which_permission_and_how_often():
    seen = (
        MINUTE,
        "permissions.missing",
        {"permissions": ["X/read", "Y/write"], "seen": "calling"},
    )
    found = {(row["permission"], row["seen"], row["times"]) for row in rows("lacking-permissions", [seen, seen])}
    assert found == {("X/read", "calling", 2), ("Y/write", "calling", 2)}


# ------------------------------------------------------------------------------------------------ as deployed


@pytest.mark.parametrize("name", RULES)
def test_a_log_alert_runs_the_query_of_its_name(name):
    (criterion,) = RULES[name]["criteria"]["allOf"]
    assert criterion["query"] == QUERIES[name]
    assert RULES[name]["scopes"] == ["/workspace"]


@pytest.mark.parametrize("name", RULES)
def test_a_log_alert_looks_at_all_that_was_logged_since_it_last_looked(name):
    every, within = span(RULES[name]["evaluationFrequency"]), span(RULES[name]["windowSize"])
    assert timedelta(minutes=15) <= every <= within  # more often is dearer


def test_any_row_fires_and_the_alert_resolves_by_itself():
    for properties in RULES.values():
        (criterion,) = properties["criteria"]["allOf"]
        fires = (criterion["timeAggregation"], criterion["operator"], criterion["threshold"])
        assert fires == ("Count", "GreaterThan", 0)
    for properties in (*RULES.values(), *METRICS.values()):
        assert (properties["enabled"], properties["autoMitigate"]) == (True, True)


def test_every_alert_is_mailed_to_whom_the_deployment_names():
    (group,) = MAILED.of("Microsoft.Insights/actionGroups")
    assert group.properties["enabled"] is True
    assert [one["emailAddress"] for one in group.properties["emailReceivers"]] == ["operators@example.com"]
    assert [name for name, one in RULES.items() if one["actions"] != {"actionGroups": [group.id]}] == []
    assert [name for name, one in METRICS.items() if one["actions"] != [{"actionGroupId": group.id}]] == []


def test_without_an_address_every_alert_is_there_and_none_is_mailed():
    assert UNMAILED.of("Microsoft.Insights/actionGroups") == []
    assert alerts(UNMAILED, LOG) == {name: {**one, "actions": {"actionGroups": []}} for name, one in RULES.items()}
    assert alerts(UNMAILED, METRIC) == {name: {**one, "actions": []} for name, one in METRICS.items()}


def test_a_metric_alert_watches_each_topic_of_its_own_subscription():
    assert [one["scopes"] for one in METRICS.values()] == [[TOPIC]] * len(METRICS)
    assert len(MAILED.of(METRIC)) == len(METRICS)


def test_event_grid_s_metrics_are_those_of_lost_events():
    told = {name: [one["metricName"] for one in alert["criteria"]["allOf"]] for name, alert in METRICS.items()}
    assert told == {"dead-letters": ["DeadLetteredCount"], "dropped-events": ["DroppedEventCount"]}


def test_the_page_tells_every_alert_as_it_is():
    told = {row[0].strip("`"): row[1:4] for row in table(PAGE, "alert")}
    assert told == {
        name: [str(one["severity"]), one["evaluationFrequency"], one["windowSize"]]
        for name, one in {**RULES, **METRICS}.items()
    }


@pytest.mark.parametrize("name", RULES)
def test_the_page_names_the_events_on_which_an_alert_fires(name):
    (fires,) = [row[4] for row in table(PAGE, "alert") if row[0] == f"`{name}`"]
    asked = set(re.findall(r'"([a-z]+\.[a-z]+)"', QUERIES[name])) - {"sweep.done", "sweep.incomplete"}
    assert asked - {"incident.ended", "checkpoint.written"} <= quoted(fires)


def test_the_page_says_what_they_cost():
    log, metric = len(RULES), len(METRICS)
    told = f"{log} log alerts and {metric} metric alerts, {log * 0.5 + metric * 0.1:.2f}"
    assert told in " ".join(PAGE.split())


@pytest.mark.parametrize("name", [*RULES, *METRICS])
def test_a_description_says_what_to_do_and_where_it_is_told_in_full(name):
    description = {**RULES, **METRICS}[name]["description"]
    assert description.endswith(f'docs/runbook.md, "Alert: {name}".')
    assert 80 < len(description) < 400


def test_the_runbook_has_a_section_for_every_alert():
    headings = re.findall(r"^#+ Alert: (.*)$", (ROOT / "docs/runbook.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted([*RULES, *METRICS])


def test_the_app_s_settings_keep_the_whole_log():
    app = (ROOT / "infra/modules/function_app.bicep").read_text("utf-8")
    sampler = dict(re.findall(r"^\s*(OTEL_TRACES_SAMPLER(?:_ARG)?): '([^']*)'", app, re.MULTILINE))
    assert sampler == {"OTEL_TRACES_SAMPLER": "microsoft.fixed_percentage", "OTEL_TRACES_SAMPLER_ARG": "1.0"}
    assert "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY" not in app
    assert "PYTHON_ENABLE_OPENTELEMETRY" not in app


def test_the_host_file_keeps_what_the_page_says():
    assert json.loads((ROOT / "host.json").read_text("utf-8"))["logging"]["logLevel"]["Function"] == "Information"
